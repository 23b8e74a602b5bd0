"""The life of a cluster's PKI: first deployment, nothing to do, renewal by year, another authority, with a client asking all the
time; servers that do not come back and nodes that are lost half-way; agents with certificates of others.

The same on the lab's nodes (lab.py) and in virtual machines (../pki.nix). A driver gives the surroundings:
- `cluster`, `servers`, `clients`, `nodes` (names), `addresses`; `folder`, a path on the operator's machine, and `asker`, that of asker.py
- `nomad_pki`: the folder of Nomad's files, which Nomad reads as root, or as another user through the group nomad-pki
- `desk(script)`: runs a shell script on the operator's machine, and gives exit code and standard output
- `command(operation, *argv)`: the words that run an operation of the tool there, with JSON for output
- `root(node, script)`: runs a shell script as root on a node, which must succeed, and gives what it prints
- `fault(node, what)`: fill-disk, free-disk, kill, start
"""

import base64
import datetime
import json
import shlex
import time

passed = 0
failed = 0
# The factor on the lab's time limits: emulated machines are slow.
patience = 1


class Failed(Exception):
    """A step failed that others depend on."""

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


def until(seconds, what, condition):
    """Waits for a result, and returns it."""
    end = time.monotonic() + seconds * patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"never: {what}")
        time.sleep(0.3)


# The operator's machine.


def desk(driver, script):
    code, out = driver.desk(script)
    if code != 0:
        raise Failed(f"{script}: {code}\n{out}")
    return out


def events_of(out):
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def tool(driver, operation, *argv, wanted=0):
    """Runs an operation on the cluster, and returns its events. With None any exit code will do."""
    said = f"{driver.folder}/said"
    code, out = driver.desk(f"{shlex.join(driver.command(operation, *argv))} 2>{said}")
    if wanted is not None and code != wanted:
        raise Failed(f"{operation} {argv}: {code}, not {wanted}\n{out}\n{desk(driver, f'cat {said}')}")
    return events_of(out)


class Background:
    """An operation in the background."""

    def __init__(self, driver, operation, *argv):
        self.driver, self.file = driver, f"{driver.folder}/background"
        run = f"{shlex.join(driver.command(operation, *argv))}; echo $? >{self.file}.code"
        desk(driver, f"rm -f {self.file}*; setsid sh -c {shlex.quote(run)} </dev/null >{self.file} 2>{self.file}.said &")

    def events(self):
        return events_of(desk(self.driver, f"cat {self.file}"))

    def end(self, wanted):
        code = until(300, "the end of what runs in the background", lambda: self.driver.desk(f"cat {self.file}.code 2>&1")[1].strip().isdigit())
        code = int(desk(self.driver, f"cat {self.file}.code"))
        if code != wanted:
            raise Failed(f"it ended with {code}, not {wanted}\n{desk(self.driver, f'cat {self.file} {self.file}.said')}")
        return self.events()


def summary(events):
    return [event for event in events if event["event"] == "summary"][-1]


def done(events):
    return {event["node"]: event for event in events if event["event"] == "done"}


def entry(driver, name):
    return f"pass show example/cluster/{driver.cluster}/{name}"


def show(driver, name):
    return desk(driver, entry(driver, name))


class Operator:
    """An operator with certificates in files, who asks agents once, or Consul all the time."""

    def __init__(self, driver, year):
        self.driver, self.folder = driver, f"{driver.folder}/asker"
        desk(driver, f"mkdir -m 700 -p {self.folder}")
        self.take(year)

    def take(self, year):
        """Takes the store's certificates, like an operator after a pull."""
        lines = ["set -e"]
        for app in ["consul", "nomad"]:
            pair = f"{app}{year}-client"
            new = {f"{app}-ca.crt": [f"{app}-ca.crt"], f"{app}.pem": [f"{pair}.crt", f"{pair}.key"]}
            for file, entries in new.items():
                path = f"{self.folder}/{file}"
                shown = "; ".join(entry(self.driver, name) for name in entries)
                lines.append(f"{{ {shown}; }} >{path}.new; mv {path}.new {path}")
        desk(self.driver, "\n".join(lines))

    def get(self, app, node, port, path):
        """The answer, or the error."""
        address = f"{self.driver.addresses[node]}:{port}"
        code, out = self.driver.desk(f"python3 {self.driver.asker} --get {self.folder} {app} {address} {shlex.quote(path)} 2>&1")
        return (code == 0, out)

    def ask_always(self):
        hosts = " ".join(self.driver.addresses[node] for node in self.driver.nodes)
        command = f"python3 {self.driver.asker} {self.folder} {hosts} >{self.folder}/asked 2>&1"
        desk(self.driver, f"setsid sh -c {shlex.quote(command)} </dev/null >/dev/null 2>&1 &")

    def stop(self):
        desk(self.driver, f"touch {self.folder}/stop")
        counted = lambda: self.driver.desk(f"tail -n 1 {self.folder}/asked | grep -xE '[0-9]+ [0-9]+'")[0] == 0
        until(30, "the count of what was asked", counted)
        told = desk(self.driver, f"cat {self.folder}/asked")
        asked, wrong = map(int, told.splitlines()[-1].split())
        check(asked > 100 and wrong == 0, f"the client asked {asked} times, and failed {wrong} times: {told}")


# The nodes.


def pids(driver, *apps):
    """The process IDs, by app and node."""
    units = " ".join(f"{app}.service" for app in apps)
    told = {node: driver.root(node, f"systemctl show -p MainPID --value {units}").split() for node in driver.nodes}
    return {(app, node): told[node][number] for number, app in enumerate(apps) for node in driver.nodes}


def logins(driver):
    """The number of logins that each node's sshd has accepted."""
    count = "journalctl --sync; journalctl -o cat --no-pager | grep -c 'Accepted publickey' || true"
    return {node: int(driver.root(node, count)) for node in driver.nodes}


def leader(driver, operator, app):
    """The node that leads an app's servers."""
    port, path = {"consul": 8501, "nomad": 4646}[app], "/v1/operator/autopilot/health"

    def found():
        ok, told = operator.get(app, driver.servers[0], port, path)
        servers = json.loads(told)["Servers"] if ok else []
        return [server["Name"].split(".")[0] for server in servers if server["Leader"]]

    return until(60, f"{app} has a leader", found)[0]


def breaks_at_its_start(driver, node, app):
    """Makes a unit's program exit at each start."""
    folder = f"/run/systemd/system/{app}.service.d"
    lines = "[Service]\\nRestart=no\\nExecStart=\\nExecStart=/bin/sh -c \"exit 1\"\\n"
    driver.root(node, f"mkdir -p {folder}; printf '{lines}' >{folder}/broken.conf; systemctl daemon-reload")


def mended(driver, node, app):
    driver.root(node, f"rm -f /run/systemd/system/{app}.service.d/broken.conf; systemctl daemon-reload; systemctl reset-failed")


# The steps, in this order.


def first_deployment(driver, year):
    tool(driver, "deploy-pki", wanted=2)
    check(driver.root("alder", f"find /var/lib/consul {driver.nomad_pki} -type f 2>&1 || true").count(".crt") == 0, "nothing is deployed before it is made")
    tool(driver, "gen-pki")
    # Like a first run that ended after one server: alone it has no leader, and is not healthy before the others run.
    first = driver.servers[0]
    tool(driver, "deploy-pki", first)
    check(driver.root(first, "systemctl is-active consul.service || true").strip() == "active", f"Consul runs on {first} alone")
    events = tool(driver, "deploy-pki")
    check(all(event["ok"] for event in done(events).values()), "the first deployment reaches every node, and waits on none for the others")
    stats = driver.root("alder", "cd /var/lib/consul/pki; stat -c '%n %U %a' .; stat -c '%n %U %a %N' *").strip()
    check(f"consul{year}.key consul 400" in stats and ". consul 700" in stats, f"keys are for Consul alone: {stats}")
    check(f"'consul.crt' -> 'consul{year}.crt'" in stats, "links name the year's files")
    nomad, key = driver.root("alder", f"cd {driver.nomad_pki}; stat -c '%U %G %a' . nomad{year}.key").splitlines()
    own = driver.root("alder", "systemctl show -p DynamicUser --value nomad").strip() == "no"
    wanted = ("root root 700", "root root 400") if own else ("root nomad-pki 750", "root nomad-pki 440")
    check((nomad, key) == wanted, f"Nomad's are for the user that it runs as: {nomad}, {key}")
    user = driver.root("alder", "ps -o user= -p $(systemctl show -p MainPID --value nomad)").strip()
    check((user == "root") == own, f"which is {user}")
    # Requests count only after the servers have elected a leader.
    for _ in range(200):
        code, out = driver.desk(shlex.join(driver.command("pki-status", "--live")) + " 2>&1")
        if code == 0:
            break
    operator = Operator(driver, year)
    for node in driver.nodes:
        until(90, f"{node} knows a leader", lambda node=node: len(operator.get("consul", node, 8501, "/v1/status/leader")[1]) > 4)
    until(90, "the servers can spare one", lambda: spare(operator, driver.servers[0]))
    return operator


def spare(operator, node):
    ok, told = operator.get("consul", node, 8501, "/v1/operator/autopilot/health")
    return ok and json.loads(told)["FailureTolerance"] == 1


def nothing_to_do(driver):
    before, known = pids(driver, "consul", "nomad"), logins(driver)
    events = tool(driver, "deploy-pki")
    check(all(event["outcome"] == "unchanged" for event in done(events).values()), "a second deployment changes nothing")
    check(pids(driver, "consul", "nomad") == before, "and restarts nothing")
    after = logins(driver)
    check(all(after[node] == known[node] + 1 for node in driver.nodes), f"and logs in once a node: {known} {after}")


def in_other_store(driver, operation, *argv, wanted):
    """Runs an operation with the store of another cluster of the same name, and returns its output."""
    command = f"PASSWORD_STORE_DIR={driver.folder}/other {shlex.join(driver.command(operation, *argv))} 2>&1"
    code, out = driver.desk(command)
    if wanted is not None and code != wanted:
        raise Failed(f"{operation} {argv} with another store: {code}, not {wanted}\n{out}")
    return out


def deployed(driver):
    """The files on the disks, by node."""
    script = f"cd /; find var/lib/consul/pki {driver.nomad_pki[1:]} -name '*.*' | sort | xargs stat -c '%n %i %Z' --; cat {driver.nomad_pki}/*.* | sha256sum"
    return {node: driver.root(node, script) for node in driver.nodes}


def another_store(driver):
    """The complete PKI of another cluster goes to no node."""
    ids = '$(cat "${PASSWORD_STORE_DIR:-$HOME/.password-store}/.gpg-id")'
    desk(driver, f"PASSWORD_STORE_DIR={driver.folder}/other pass init {ids}")
    in_other_store(driver, "gen-pki", wanted=0)
    before, known = pids(driver, "consul", "nomad"), deployed(driver)
    for nodes in [[], ["dogwood"], ["alder", "birch"]]:
        told = in_other_store(driver, "deploy-pki", *nodes, wanted=2)
        count = told.count("trusts another authority of Consul than the store")
        check(count == len(nodes or driver.nodes), f"each of {nodes or 'all nodes'} is told of: {count}")
        check('"event":"done"' not in told, "and none is said to be as wanted")
    check(deployed(driver) == known, "nothing is written on any node")
    check(pids(driver, "consul", "nomad") == before, "and no program is told anything")


def replaced_at_once(driver, year, operator):
    """An explicit option replaces the authorities by those of the other store."""
    told = in_other_store(driver, "deploy-pki", "--replace", "--unhealthy", wanted=2)
    check("unexpected argument" in told, "a part of the option's name is no option")
    in_other_store(driver, "gen-pki", "--year", str(year), wanted=0)
    in_other_store(driver, "deploy-pki", "--year", str(year), "--replace-authority", "--unhealthy", wanted=0)
    in_other_store(driver, "deploy-pki", "--year", str(year), wanted=0)
    code, out = driver.desk(shlex.join(driver.command("deploy-pki", "--year", str(year))) + " 2>&1")
    check(code == 2 and "trusts another authority of Nomad" in out, "and the first store is the foreign one now")
    tool(driver, "deploy-pki", "--year", str(year), "--replace-authority", "--unhealthy")
    until(90, "the servers can spare one again", lambda: spare(operator, driver.servers[0]))


def status(driver, year):
    events = tool(driver, "pki-status", "--live", "--year", str(year))
    for node, event in done(events).items():
        for app in ["consul", "nomad"]:
            kinds = {port["port"]["kind"]: port["served"] for port in event["ports"] if port["port"]["app"] == app}
            wanted = {"https", "rpc"} if node in driver.servers else {"https"}
            ok = set(kinds) == wanted and all(kinds.values())
            check(ok, f"{app} on {node} serves the certificate of {year} on {sorted(wanted)}")
            names = kinds["https"]["names"]
            check((f"server.{driver.cluster}.{app}" in names) == (node in driver.servers), f"it has the names of its role: {names}")


def renewal(driver, year):
    before, nomads = pids(driver, "consul"), pids(driver, "nomad")
    events = tool(driver, "gen-pki", "--year", str(year + 1))
    check("consul-ca" in summary(events)["unchanged"], "next year's certificates are by the same authority")
    tool(driver, "pki-status", "--live", "--year", str(year + 1), wanted=5)
    # The run reports a node with a full disk, which stays as it is, and continues with the others.
    driver.fault("dogwood", "fill-disk")
    outcomes = done(tool(driver, "deploy-pki", "dogwood", "--year", str(year + 1), wanted=5))
    check(not outcomes["dogwood"]["ok"], f"a full disk is told of: {outcomes['dogwood']['outcome']}")
    driver.fault("dogwood", "free-disk")
    tool(driver, "pki-status", "--live", "--year", str(year))
    events = tool(driver, "deploy-pki", "--year", str(year + 1))
    check(all("Consul reloaded" in event["outcome"] for event in done(events).values()), "a renewal reloads every Consul")
    check(pids(driver, "consul") == before, "and restarts none")
    restarted = [pid != nomads[where] for where, pid in pids(driver, "nomad").items()]
    check(all(restarted), "Nomad, which reads its pair for Consul at its start only, is restarted everywhere")


def rotation(driver, year, operator):
    """All steps. Between them the client takes the store's certificates, like operators after a pull."""
    before = pids(driver, "consul")
    old = show(driver, "consul-ca.crt")
    at = ["--app", "consul", "--year", str(year)]
    tool(driver, "rotate-ca", *at, "--step", "leaves", wanted=2)
    tool(driver, "rotate-ca", *at, "--step", "drop", wanted=2)
    check(show(driver, "consul-ca.crt") == old, "a step that is not due changes nothing")
    tool(driver, "rotate-ca", *at, "--step", "trust")
    both = show(driver, "consul-ca.crt")
    check(both.startswith(old) and both.count("BEGIN CERTIFICATE") == 2, "both authorities are trusted, the old one signs")
    operator.take(year)
    # A node that is behind blocks the next step.
    driver.root("dogwood", "cp /var/lib/consul/pki/consul-ca.crt /root/; head -c 100 /root/consul-ca.crt >/var/lib/consul/pki/consul-ca.crt")
    tool(driver, "rotate-ca", *at, "--step", "leaves", wanted=5)
    check(show(driver, "consul-ca.crt") == both, "no certificate is replaced while a node is behind")
    driver.root("dogwood", "cp /root/consul-ca.crt /var/lib/consul/pki/consul-ca.crt")
    tool(driver, "rotate-ca", *at, "--step", "trust")
    tool(driver, "rotate-ca", *at, "--step", "leaves")
    tool(driver, "rotate-ca", *at, "--step", "leaves")
    operator.take(year)
    tool(driver, "rotate-ca", *at, "--step", "drop")
    new = show(driver, "consul-ca.crt")
    check(new.count("BEGIN CERTIFICATE") == 1 and new != old, "the new authority is the only one")
    check(show(driver, "consul-ca.key").count("BEGIN PRIVATE KEY") == 1, "the old one's key is gone")
    operator.take(year)
    check(not summary(tool(driver, "rotate-ca", *at))["rotating"], "the rotation is over")
    check(pids(driver, "consul") == before, "a rotation restarts no agent")


def rotation_of_nomad(driver, year, operator):
    before, old = pids(driver, "nomad"), show(driver, "nomad-ca.crt")
    for step in ["trust", "leaves", "drop"]:
        tool(driver, "rotate-ca", "--app", "nomad", "--year", str(year), "--step", step)
    operator.take(year)
    check(show(driver, "nomad-ca.crt") != old, "Nomad's authority is replaced too")
    check(pids(driver, "nomad") == before, "by signals alone")


def published(driver, year, operator):
    tool(driver, "deploy-pki", "--year", str(year), "--publish-kv")
    for name, of in [("consul-ca.crt", "consul-ca.crt"), ("consul-client.key", f"consul{year}-client.key")]:
        _, value = operator.get("consul", "alder", 8501, f"/v1/kv/secrets/consul/{name}?raw")
        check(value == show(driver, of), f"secrets/consul/{name} is in Consul's KV")


def told(events, node):
    """The error of a node, and the summary of the stopped run."""
    failures = [event["what"] for event in events if event["event"] == "failure" and event.get("node") == node]
    stops = [event["what"] for event in events if event["event"] == "warning" and "stopped half-way" in event["what"]]
    return "; ".join(failures), "; ".join(stops)


def in_turn(driver, operator, app):
    """The servers in the order of a rollout: the leader last."""
    last = leader(driver, operator, app)
    return [node for node in driver.servers if node != last] + [last]


def stopped_half_way(driver, year, operator):
    """A run ends at a second server that does not accept its files. The servers after it stay as they are, and the next run continues."""
    rotate = ["rotate-ca", "--app", "consul", "--year", str(year), "--step", "trust", "--patience", "4"]
    first, second, last = in_turn(driver, operator, "consul")
    # On a signal Consul reads its whole configuration, and keeps the old one if that is damaged.
    driver.root(second, "mkdir -p /etc/consul.d; echo '{' >/etc/consul.d/damaged.json")
    events = tool(driver, *rotate, wanted=5)
    check(done(events)[first]["outcome"].count("Consul reloaded") == 1, f"{first}, which came first, has its files")
    why, state = told(events, second)
    check("after reloading" in why, f"{second} is told not to take them: {why}")
    for node in [last, *driver.clients]:
        check("Consul was left as it was" in told(events, node)[0], f"{node} is left as it was")
    check("Nomad was left as it was" in told(events, first)[0], "and so is every Nomad")
    check(f"certificates: {first}; without: " in state and "healthy, and 1 of them may fail" in state, f"it is told how the cluster is: {state}")
    driver.root(second, "rm /etc/consul.d/damaged.json")

    first, second, last = in_turn(driver, operator, "nomad")
    before = pids(driver, "nomad")
    breaks_at_its_start(driver, second, "nomad")
    events = tool(driver, *rotate, wanted=5)
    check(all("Consul was left" not in told(events, node)[0] for node in driver.nodes), "the next run goes on where Consul was left")
    check("Nomad restarted" in done(events)[first]["outcome"], f"{first}'s Nomad, which came first, is restarted")
    why, state = told(events, second)
    check("does not run after restarting" in why, f"{second}'s does not come back: {why}")
    said = [event["output"] for event in events if event["event"] == "failure" and event.get("node") == second and event.get("output")]
    check(len(said) == 1 and "exited" in said[0] and said[0].count("Started ") <= 1, f"its log is shown since that start: {said}")
    check(f"certificates: {first}; without: " in state, f"it is told how the cluster is: {state}")
    after = pids(driver, "nomad")
    for node in [last, *driver.clients]:
        check(after["nomad", node] == before["nomad", node], f"{node}'s Nomad is left as it was")
    mended(driver, second, "nomad")


def lost_half_way(driver, year, operator):
    """A node loses power during a run, and a server's Consul has stopped before one."""
    at = ["--year", str(year)]
    rotate = ["rotate-ca", "--app", "consul", *at, "--step"]
    running = Background(driver, "deploy-pki", *at)
    steps = lambda: [event for event in running.events() if event["event"] == "step"]
    until(60, "the run comes to its first server", steps)
    driver.fault("dogwood", "kill")
    events = running.end(5)
    check(not done(events)["dogwood"]["ok"], f"a node that is lost half-way is told of: {told(events, 'dogwood')[0]}")
    check(all(done(events)[node]["ok"] for node in driver.servers), "the others are as wanted")
    driver.fault("dogwood", "start")
    tool(driver, *rotate, "trust")

    driver.root("birch", "systemctl stop consul.service")
    breaks_at_its_start(driver, "birch", "consul")
    events = tool(driver, *rotate, "leaves", wanted=5)
    check(told(events, "birch")[0] != "", f"a node that does not serve is named: {told(events, 'birch')[0]}")
    events = tool(driver, "deploy-pki", *at, "--patience", "4", wanted=5)
    check("does not start" in told(events, "birch")[0], f"a Consul that does not come back is told of: {told(events, 'birch')}")
    driver.fault("birch", "kill")
    tool(driver, "deploy-pki", *at, wanted=3)
    driver.fault("birch", "start")
    tool(driver, "deploy-pki", *at)
    tool(driver, *rotate, "leaves")
    tool(driver, *rotate, "drop")
    operator.take(year)
    status(driver, year)


def intruder(driver, pair):
    """Starts an agent on dogwood as a server, with the certificate and key in two files there."""
    base = json.loads(driver.root("dogwood", "cat /etc/consul.json"))
    own = {"cert_file": "/run/intruder/crt", "key_file": "/run/intruder/key"}
    # Ports that no agent uses and that nodes open to each other.
    ports = {"https": 28501, "server": 28300, "serf_lan": 28301, "dns": -1}
    if "tls" in base:
        base["tls"]["defaults"] |= own
        ports["grpc_tls"] = -1
    else:
        base |= own
    base |= {"node_name": "intruder", "server": True, "data_dir": "/run/intruder/data", "leave_on_terminate": True}
    # An address without a port would mean the intruder's own port.
    base["retry_join"] = [f"{driver.addresses[server]}:8301" for server in driver.servers]
    base["ports"] |= ports
    text = base64.b64encode(json.dumps(base).encode()).decode()
    crt, key = pair
    driver.root("dogwood", f"""
        rm -rf /run/intruder; mkdir -m 700 /run/intruder; cp {crt} /run/intruder/crt; cp {key} /run/intruder/key
        echo {text} | base64 -d >/run/intruder/intruder.json
        program=$(readlink /proc/$(systemctl show -p MainPID --value consul.service)/exe)
        set --; for file in /run/intruder/intruder.json /run/consul/gossip.json; do [ ! -e $file ] || set -- "$@" -config-file $file; done
        systemd-run --quiet --unit=intruder "$program" agent "$@"
    """)


def intruders(driver, operator):
    """An agent's certificate decides its role, whatever the agent claims."""
    votes = lambda: [server["Node"] for server in json.loads(operator.get("consul", "alder", 8501, "/v1/operator/raft/configuration")[1])["Servers"] if server["Voter"]]
    serves = lambda: operator.get("consul", "dogwood", 28501, "/v1/agent/self")
    refused = lambda words: any(
        driver.root(node, f"journalctl -o cat --no-pager -u consul.service --since=-60s | grep -cF -- {shlex.quote(words)} || true").strip() != "0"
        for node in driver.servers
    )
    log = lambda: driver.root("dogwood", "journalctl -o cat --no-pager -n 20 -u intruder.service")

    def started():
        ok, said = serves()
        return ok or "CERTIFICATE_VERIFY_FAILED" in said

    def gone():
        driver.root("dogwood", "systemctl stop intruder.service; systemctl reset-failed intruder.service 2>/dev/null || true")
        until(60, "the intruder is gone", lambda: sorted(votes()) == sorted(driver.servers) and spare(operator, "alder"))

    here = "/var/lib/consul/pki"
    for name in ["crt", "key"]:
        text = base64.b64encode(driver.root("alder", f"cat {here}/consul.{name}").encode()).decode()
        driver.root("dogwood", f"mkdir -p -m 700 /run/stolen; echo {text} | base64 -d >/run/stolen/{name}")

    intruder(driver, (f"{here}/consul.crt", f"{here}/consul.key"))
    until(30, f"the intruder listens: {log()}", started)
    check(serves()[0], "an agent's certificate is taken as an agent's")
    until(60, "a server refuses it", lambda: refused(f"client.{driver.cluster}.consul, localhost, not server.{driver.cluster}.consul"))
    check("intruder" not in votes(), "a node's certificate is refused as a server's")
    gone()

    intruder(driver, (f"{driver.nomad_pki}/consul-client.crt", f"{driver.nomad_pki}/consul-client.key"))
    until(30, f"the intruder listens: {log()}", started)
    ok, said = serves()
    check(not ok and "unsuitable certificate purpose" in said, f"an operator's certificate is refused as an agent's: {said.splitlines()[-1]}")
    until(60, "a server refuses it", lambda: refused(f"cli.{driver.cluster}.consul, not server.{driver.cluster}.consul"))
    check("intruder" not in votes(), "and as a server's")
    gone()

    intruder(driver, ("/run/stolen/crt", "/run/stolen/key"))
    until(60, f"the intruder votes: {log()}", lambda: "intruder" in votes())
    check(serves()[0], "the certificate alone is what made the difference: a server's is taken")
    gone()
    driver.root("dogwood", "rm -rf /run/intruder /run/stolen")


def run(driver):
    year = datetime.datetime.now(datetime.timezone.utc).year
    operator = first_deployment(driver, year)
    status(driver, year)
    operator.ask_always()
    nothing_to_do(driver)
    another_store(driver)
    renewal(driver, year)
    status(driver, year + 1)
    operator.take(year + 1)
    rotation(driver, year + 1, operator)
    status(driver, year + 1)
    rotation_of_nomad(driver, year + 1, operator)
    published(driver, year + 1, operator)
    stopped_half_way(driver, year + 1, operator)
    operator.stop()
    lost_half_way(driver, year + 1, operator)
    intruders(driver, operator)
    replaced_at_once(driver, year + 1, operator)
