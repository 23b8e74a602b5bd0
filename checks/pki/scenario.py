"""The life of a cluster's PKI: first deployment, nothing to do, renewal by year, another authority, with a client asking all the
time; then a server that dies half-way.

A driver gives the surroundings: `servers`, `clients`, `nodes` (names), `addresses`, `folder` (for files), `tool(operation,
*argv, wanted=exit code)` (its events), `root(node, script)`, `show(entry)`, `logins(node)`, `fault(node, *what)`.
"""

import datetime
import os
import pathlib
import subprocess
import sys
import time

import asker

HERE = pathlib.Path(__file__).resolve().parent

passed = 0
failed = 0


class Failed(Exception):
    """A step that others build on failed."""

    def __init__(self, what):
        global failed
        failed += 1
        super().__init__(what)


def check(ok, what):
    global passed, failed
    print(("ok: " if ok else "FAILED: ") + what, flush=True)
    if ok:
        passed += 1
    else:
        failed += 1


def summary(events):
    return [event for event in events if event["event"] == "summary"][-1]


def done(events):
    return {event["node"]: event for event in events if event["event"] == "done"}


class Asker:
    """The client that asks for the leader all the time."""

    def __init__(self, driver, year):
        self.driver = driver
        self.folder = driver.folder / "asker"
        self.folder.mkdir()
        self.take(year)
        hosts = [driver.addresses[node] for node in driver.nodes]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "asker.py"), str(self.folder), *hosts], stdout=subprocess.PIPE, text=True
        )

    def take(self, year):
        """Takes the store's certificates, as an operator who pulled it."""
        pair = self.driver.show(f"consul{year}-client.crt") + self.driver.show(f"consul{year}-client.key")
        for name, text in [("ca.crt", self.driver.show("consul-ca.crt")), ("client.pem", pair)]:
            new = self.folder / f"{name}.new"
            new.write_text(text)
            os.replace(new, self.folder / name)

    def stop(self):
        (self.folder / "stop").touch()
        told = self.process.communicate(timeout=60)[0]
        return told


def pids(driver, *apps):
    """The processes, by app and node."""
    told = lambda app, node: driver.root(node, f"systemctl show -p MainPID --value {app}.service").strip()
    return {(app, node): told(app, node) for app in apps for node in driver.nodes}


def first_deployment(driver, year):
    driver.tool("deploy-pki", wanted=2)
    check(driver.root("alder", "ls /var/lib/consul").strip() == "", "nothing is deployed before it is made")
    driver.tool("gen-pki")
    events = driver.tool("deploy-pki")
    check(all(event["ok"] for event in done(events).values()), "the first deployment reaches every node")
    stats = driver.root("alder", "cd /var/lib/consul/pki; stat -c '%n %U %a' .; stat -c '%n %U %a %N' *").strip()
    check(f"consul{year}.key consul 400" in stats and ". consul 700" in stats, f"keys are for Consul alone: {stats}")
    check(f"'consul.crt' -> 'consul{year}.crt'" in stats, "links name the year's files")


def nothing_to_do(driver):
    before, logins = pids(driver, "consul", "nomad"), {node: driver.logins(node) for node in driver.nodes}
    events = driver.tool("deploy-pki")
    check(all(event["outcome"] == "unchanged" for event in done(events).values()), "a second deployment changes nothing")
    check(pids(driver, "consul", "nomad") == before, "and restarts nothing")
    after = {node: driver.logins(node) for node in driver.nodes}
    check(all(after[node] == logins[node] + 1 for node in driver.nodes), f"and logs in once a node: {logins} {after}")


def status(driver, year):
    events = driver.tool("pki-status", "--live", "--year", str(year))
    for node, event in done(events).items():
        for app in ["consul", "nomad"]:
            kinds = {port["port"]["kind"]: port["served"] for port in event["ports"] if port["port"]["app"] == app}
            wanted = {"https", "rpc"} if node in driver.servers else {"https"}
            ok = set(kinds) == wanted and all(kinds.values())
            check(ok, f"{app} on {node} serves the certificate of {year} on {sorted(wanted)}")
            names = kinds["https"]["names"]
            check((f"server.prod.{app}" in names) == (node in driver.servers), f"it has the names of its role: {names}")


def renewal(driver, year):
    before, nomads = pids(driver, "consul"), pids(driver, "nomad")
    events = driver.tool("gen-pki", "--year", str(year + 1))
    check("consul-ca" in summary(events)["unchanged"], "next year's certificates are by the same authority")
    driver.tool("pki-status", "--live", "--year", str(year + 1), wanted=5)
    # A node whose disk is full is told of, and goes on as it is; the others are served.
    driver.fault("dogwood", "fill-disk")
    outcomes = done(driver.tool("deploy-pki", "dogwood", "--year", str(year + 1), wanted=5))
    check(not outcomes["dogwood"]["ok"], f"a full disk is told of: {outcomes['dogwood']['outcome']}")
    driver.fault("dogwood", "free-disk")
    driver.tool("pki-status", "--live", "--year", str(year))
    events = driver.tool("deploy-pki", "--year", str(year + 1))
    check(all("Consul reloaded" in event["outcome"] for event in done(events).values()), "a renewal reloads every Consul")
    check(pids(driver, "consul") == before, "and restarts none")
    restarted = [pid != nomads[where] for where, pid in pids(driver, "nomad").items()]
    check(all(restarted), "Nomad, which reads its pair for Consul at its start only, is restarted everywhere")


def rotation(driver, year, asker):
    """Each step; the client takes the store's certificates between them, as operators do who pull it."""
    before = pids(driver, "consul")
    old = driver.show("consul-ca.crt")
    at = ["--app", "consul", "--year", str(year)]
    driver.tool("rotate-ca", *at, "--step", "leaves", wanted=2)
    driver.tool("rotate-ca", *at, "--step", "drop", wanted=2)
    check(driver.show("consul-ca.crt") == old, "a step that is not due changes nothing")
    driver.tool("rotate-ca", *at, "--step", "trust")
    both = driver.show("consul-ca.crt")
    check(both.startswith(old) and both.count("BEGIN CERTIFICATE") == 2, "both authorities are trusted, the old one signs")
    asker.take(year)
    # Whatever is behind on one node keeps the next step from beginning.
    driver.root("dogwood", "cp /var/lib/consul/pki/consul-ca.crt /root/; head -c 100 /root/consul-ca.crt >/var/lib/consul/pki/consul-ca.crt")
    driver.tool("rotate-ca", *at, "--step", "leaves", wanted=5)
    check(driver.show("consul-ca.crt") == both, "no certificate is replaced while a node is behind")
    driver.root("dogwood", "cp /root/consul-ca.crt /var/lib/consul/pki/consul-ca.crt")
    driver.tool("rotate-ca", *at, "--step", "trust")
    driver.tool("rotate-ca", *at, "--step", "leaves")
    driver.tool("rotate-ca", *at, "--step", "leaves")
    asker.take(year)
    driver.tool("rotate-ca", *at, "--step", "drop")
    new = driver.show("consul-ca.crt")
    check(new.count("BEGIN CERTIFICATE") == 1 and new != old, "the new authority is the only one")
    check(driver.show("consul-ca.key").count("BEGIN PRIVATE KEY") == 1, "the old one's key is gone")
    asker.take(year)
    check(not summary(driver.tool("rotate-ca", *at))["rotating"], "the rotation is over")
    check(pids(driver, "consul") == before, "a rotation restarts no agent")


def rotation_of_nomad(driver, year):
    before, old = pids(driver, "nomad"), driver.show("nomad-ca.crt")
    for step in ["trust", "leaves", "drop"]:
        driver.tool("rotate-ca", "--app", "nomad", "--year", str(year), "--step", step)
    check(driver.show("nomad-ca.crt") != old, "Nomad's authority is replaced too")
    check(pids(driver, "nomad") == before, "by signals alone")


def lost_half_way(driver, year):
    """A server that dies in the middle: the others are left as they are, and the next run goes on."""
    driver.tool("rotate-ca", "--app", "consul", "--year", str(year), "--step", "trust")
    driver.root("birch", "systemctl stop consul.service; mv /usr/local/bin/consul /root/consul")
    events = driver.tool("rotate-ca", "--app", "consul", "--year", str(year), "--step", "leaves", wanted=5)
    told = [event["what"] for event in events if event["event"] == "failure" and event.get("node") == "birch"]
    check(bool(told), f"a node that does not serve is named: {told}")
    driver.fault("birch", "kill")
    driver.tool("deploy-pki", "--year", str(year), wanted=3)
    driver.fault("birch", "start")
    driver.root("birch", "mv /root/consul /usr/local/bin/consul")
    driver.tool("deploy-pki", "--year", str(year))
    driver.tool("rotate-ca", "--app", "consul", "--year", str(year), "--step", "leaves")
    driver.tool("rotate-ca", "--app", "consul", "--year", str(year), "--step", "drop")
    status(driver, year)


def published(driver, year):
    driver.tool("deploy-pki", "--year", str(year), "--publish-kv")
    key = driver.folder / "operator.pem"
    key.write_text(driver.show(f"consul{year}-client.crt") + driver.show(f"consul{year}-client.key"))
    authority = driver.folder / "authority.pem"
    authority.write_text(driver.show("consul-ca.crt"))
    for name, entry in [("consul-ca.crt", "consul-ca.crt"), ("consul-client.key", f"consul{year}-client.key")]:
        value = asker.get(driver.addresses["alder"], f"/v1/kv/secrets/consul/{name}?raw", authority, key)
        check(value.decode() == driver.show(entry), f"secrets/consul/{name} is in Consul's KV")


def wait_for_leader(driver):
    """Until the servers have voted each other in: what is asked for before is no failed request."""
    for _ in range(200):
        events = driver.tool("pki-status", "--live", wanted=0)
        if all(event["ok"] for event in done(events).values()):
            break
    time.sleep(15)


def run(driver):
    year = datetime.datetime.now(datetime.timezone.utc).year
    first_deployment(driver, year)
    wait_for_leader(driver)
    status(driver, year)
    client = Asker(driver, year)
    nothing_to_do(driver)
    renewal(driver, year)
    status(driver, year + 1)
    client.take(year + 1)
    rotation(driver, year + 1, client)
    status(driver, year + 1)
    told = client.stop()
    asked, wrong = map(int, told.splitlines()[-1].split())
    check(asked > 100 and wrong == 0, f"the client asked {asked} times, and failed {wrong} times: {told}")
    rotation_of_nomad(driver, year + 1)
    published(driver, year + 1)
    lost_half_way(driver, year + 1)
