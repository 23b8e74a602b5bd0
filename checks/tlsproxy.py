"""tlsproxy to three servers of Consul and Nomad, one of which fails, on the lab's nodes (pki/lab.py) and in virtual machines
(tlsproxy.nix).

The driver is that of pki/scenario.py, and has two more fields: `offset`, which is added to the ports on the operator's machine, and
`desk_address`, the address of that machine for nodes.
"""

import json
import shlex
import time

import scenario  # type: ignore


class Proxy:
    """A running tlsproxy, and requests through it on the operator's machine."""

    def __init__(self, driver):
        self.driver, self.file = driver, f"{driver.folder}/proxy"
        run = f"{self.words()} >{self.file} 2>&1 & echo $! >{self.file}.pid; wait $!; echo $? >{self.file}.code"
        scenario.desk(driver, f"rm -f {self.file}*; setsid sh -c {shlex.quote(run)} </dev/null >/dev/null 2>&1 &")

    def words(self, *argv):
        return shlex.join([*self.driver.command("tlsproxy"), "--port-offset", str(self.driver.offset), *argv])

    def port(self, app):
        return {"nomad": 4646, "consul": 8500}[app] + self.driver.offset

    def get(self, app, path, options=""):
        """The answer to a request; empty if there is none."""
        url = shlex.quote(f"http://localhost:{self.port(app)}{path}")
        return self.driver.desk(f"curl --silent --fail --max-time 20 {options} {url}")[1]

    def who(self):
        """The node whose Consul answers."""
        told = self.get("consul", "/v1/agent/self")
        return told and json.loads(told)["Config"]["NodeName"]

    def end(self):
        """Interrupts the proxy, and returns its exit code."""
        scenario.desk(self.driver, f"kill -INT $(cat {self.file}.pid)")
        scenario.until(30, "the end of tlsproxy", lambda: self.driver.desk(f"test -s {self.file}.code")[0] == 0)
        return int(scenario.desk(self.driver, f"cat {self.file}.code"))


def commands_inside(proxy):
    """Runs tlsproxy for the duration of a command."""
    asked = "curl --silent --fail $NOMAD_ADDR/v1/status/leader && curl --silent --fail $CONSUL_HTTP_ADDR/v1/status/leader"
    told = scenario.desk(proxy.driver, proxy.words("--", "sh", "-c", asked))
    scenario.check(":4647" in told and ":8300" in told, f"a command inside finds both services: {told}")
    code, _ = proxy.driver.desk(proxy.words("--", "sh", "-c", "exit 7"))
    scenario.check(code == 7, f"its exit code is the proxy's: {code}")


def what_it_lets_in(proxy):
    driver, port = proxy.driver, proxy.port("nomad")
    scenario.check(":8300" in proxy.get("consul", "/v1/status/leader"), "Consul is plain HTTP on the operator's machine")
    code = scenario.desk(driver, f"curl -s -o {driver.folder}/refused -w '%{{http_code}}' -H 'Origin: http://evil.example' localhost:{port}/v1/jobs")
    scenario.check(code == "403", f"pages of other origins are refused: {code}")
    told = driver.root(driver.servers[0], f"curl -s --max-time 5 http://{driver.desk_address}:{port}/v1/status/leader; echo $?")
    # curl(1): 7 means that the connection was refused.
    scenario.check(told.strip() == "7", f"nobody else is served: {told}")


def a_follower(proxy):
    """The node that answers, if it does not lead. The query must not lose its leader: Consul (1.8.7) then ends it."""
    who = proxy.who()
    told = proxy.get("consul", "/v1/operator/autopilot/health")
    if not who or not told:
        return None
    leader = [server["Name"] for server in json.loads(told)["Servers"] if server["Leader"]]
    if leader == [who]:
        proxy.driver.root(who, "systemctl restart consul.service")
    return who if leader and leader != [who] else None


def a_server_goes_down(proxy):
    driver, file = proxy.driver, f"{proxy.driver.folder}/news"
    spare = lambda: '"FailureTolerance":1' in proxy.get("consul", "/v1/operator/autopilot/health")
    first = scenario.until(120, "a server that does not lead answers", lambda: spare() and a_follower(proxy))
    put = lambda value: proxy.get("consul", "/v1/kv/news", f"-X PUT -d {value}").strip() == "true"
    scenario.until(30, "Consul takes a value", lambda: put("old"))
    index = json.loads(proxy.get("consul", "/v1/kv/news"))[0]["ModifyIndex"]
    url = f"http://localhost:{proxy.port('consul')}/v1/kv/news?index={index}&wait=9m"
    poll = f"curl --silent --show-error --fail {shlex.quote(url)} >{file} 2>{file}.said"
    scenario.desk(driver, f"rm -f {file}*; setsid sh -c {shlex.quote(poll)} </dev/null >/dev/null 2>&1 &")
    time.sleep(1)
    driver.fault(first, "kill")
    second = scenario.until(60, "another server answers", proxy.who)
    scenario.check(second != first, f"{second} answers in the place of {first}")
    scenario.check(driver.desk(f"test -s {file}")[0] != 0, "a query that waits for news goes on waiting")
    scenario.until(60, "Consul takes another value", lambda: put("new"))
    answered = lambda: driver.desk(f"grep -c bmV3 {file}")[0] == 0
    scenario.until(30, "the query is answered with the news", answered)
    # The node may have led Nomad.
    scenario.until(60, "Nomad is reached as well", lambda: ":4647" in proxy.get("nomad", "/v1/status/leader"))
    driver.fault(first, "start")
    driver.root(first, "systemctl start consul.service nomad.service")
    scenario.until(120, "the servers can spare one again", spare)


def run(driver):
    proxy = Proxy(driver)
    scenario.until(60, "tlsproxy serves", lambda: ":4647" in proxy.get("nomad", "/v1/status/leader"))
    what_it_lets_in(proxy)
    a_server_goes_down(proxy)
    code = proxy.end()
    scenario.check(code == 0, f"an interrupt is a good end: {code}")
    scenario.check(proxy.get("nomad", "/v1/status/leader") == "", "and nothing serves any more")
    commands_inside(proxy)
