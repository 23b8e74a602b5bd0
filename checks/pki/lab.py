"""Runs scenario.py and ../tlsproxy.py on four nodes of the lab, with a real Consul and nomad.rs, which stands in for Nomad. As root,
on a lab of its own, $LAB with `pki` behind it.

With LAB_NIXOS=1, and NIXPKGS as `checks/lab/lab up --nixos` takes it, the nodes are NixOS and have what the tool deploys to them;
otherwise they have units made here.
"""

import argparse
import base64
import contextlib
import functools
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import scenario

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(ROOT / "checks"))
import tlsproxy

SERVERS = ["alder", "birch", "cedar"]
CLIENTS = ["dogwood"]
NODES = SERVERS + CLIENTS
NIX_CONFIG = "\n".join([
    "experimental-features = nix-command flakes", "substituters =", "sandbox = false", "build-users-group =",
    "flake-registry =", "eval-cache = false",
])

UNIT = """[Unit]
ConditionPathExists=/var/lib/consul/pki/consul-ca.crt
ConditionPathExists=/var/lib/consul/pki/consul.crt
ConditionPathExists=/var/lib/consul/pki/consul.key
[Service]
User=consul
ExecStart=/usr/local/bin/consul agent -config-dir /etc/consul.d -config-file /etc/consul.json
Restart=on-failure
"""


# As with cluster.nomad.dropPrivileges; in virtual machines Nomad runs as root.
NOMAD_UNIT = """[Unit]
ConditionPathExists={folder}/nomad.crt
ConditionPathExists={folder}/consul-client.crt
[Service]
DynamicUser=yes
StateDirectory=nomad
SupplementaryGroups=nomad-pki
ExecStart=/usr/local/bin/nomad {folder} {node} {servers}
"""

REAL_NOMAD_UNIT = """[Unit]
ConditionPathExists={folder}/nomad.crt
ConditionPathExists={folder}/consul-client.crt
[Service]
DynamicUser=yes
StateDirectory=nomad
SupplementaryGroups=nomad-pki
ExecStart=/usr/local/bin/nomad agent -config /etc/nomad.json
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGINT
"""


class Lab:
    """The common part of both drivers: nodes of the lab, and the tool on this machine."""

    # The reference of nixpkgs, and modules of every node in addition to the cluster's.
    nixpkgs, modules = None, []
    cluster, servers, clients, nodes = "prod", SERVERS, CLIENTS, NODES
    nomad_pki = "/var/lib/nixcfg/pki/nomad"
    asker = HERE / "asker.py"

    def __init__(self, nixcfg, standin):
        self.nixcfg, self.standin = nixcfg, standin
        self.name = os.environ.get("LAB", "lab") + "pki"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nixcfg-pki-", dir="/tmp"))
        self.env = {
            **os.environ, "HOME": str(self.folder), "GNUPGHOME": str(self.folder / "gnupg"),
            "PASSWORD_STORE_DIR": str(self.folder / "store"), "NIX_CONFIG": NIX_CONFIG, "SUDO_PASS": "wonderland", "LAB": self.name,
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org", "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }

    def make(self):
        """Starts new nodes, and prepares the repository on this machine."""
        self.lab("wipe")
        self.lab("up", "--nodes", ",".join(self.nodes))
        told = {name: value.strip("'") for name, value in (line.split("=", 1) for line in self.lab("env").splitlines())}
        self.ssh_config, self.nixpkgs = told["LAB_SSH_CONFIG"], self.nixpkgs or told["LAB_NIXPKGS"]
        self.key = pathlib.Path(told["LAB_KEY"] + ".pub").read_text().strip()
        self.desk_address = f"10.77.{told['LAB_NUMBER']}.1"
        self.addresses = {node: f"10.77.{told['LAB_NUMBER']}.{11 + i}" for i, node in enumerate(sorted(NODES))}
        self.make_store()
        self.make_repository()
        self.make_nodes()

    @functools.cached_property
    def offset(self):
        """An offset of free ports on this machine."""
        for offset in range(1000, 20000, 100):
            with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
                one.bind(("127.0.0.1", 4646 + offset))
                two.bind(("127.0.0.1", 8500 + offset))
                return offset
        raise scenario.Failed("no port is free")

    def lab(self, *argv, stdin=None):
        return self.run(ROOT / "checks/lab/lab", *argv, stdin=stdin)

    def run(self, *argv, stdin=None, wanted=0):
        done = subprocess.run(
            [str(word) for word in argv], env=self.env, capture_output=True, text=stdin is None or isinstance(stdin, str),
            input=stdin,
        )
        if done.returncode != wanted:
            raise scenario.Failed(f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout if isinstance(done.stdout, str) else done.stdout.decode()

    def said(self):
        """The last output of programs in the background, which explains a wait in vain."""
        for name in ["said", "background", "background.said", "asked", "proxy", "news.said"]:
            with contextlib.suppress(FileNotFoundError):
                yield f"== {name}\n" + (self.folder / name).read_text(errors="replace")[-3000:]

    def fault(self, node, *what):
        """Causes or undoes a fault of a node."""
        self.lab("fault", node, *what)

    def root(self, node, script):
        """Runs a shell command as root on a node."""
        return self.lab("root", node, "sh", "-c", script)

    def desk(self, script):
        done = subprocess.run(
            ["sh", "-c", script], env=self.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False
        )
        return done.returncode, done.stdout

    def command(self, operation, *argv):
        login = [] if operation == "gen-pki" else ["--ssh-config", self.ssh_config]
        return [self.nixcfg, operation, "prod", *argv, "--json", "--flake", str(self.flake), *login]

    def make_repository(self):
        repository = self.folder / "repository"
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True)
        for name in filter(None, files.stdout.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("checks/lab/nixpkgs/"):
                (repository / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, repository / name)
        self.describe(repository / "cluster/prod")
        self.repository = repository
        self.run("git", "-C", repository, "init", "-q")
        self.run("git", "-C", repository, "add", "-A")
        # Evaluates the files once; other tests cover evaluation.
        data = self.evaluated("clusters.prod")
        self.flake = self.folder / "flake"
        self.flake.mkdir()
        (self.flake / "prod.json").write_text(data)
        (self.flake / "flake.nix").write_text(
            "{ outputs = _: { clusters.prod = builtins.fromJSON (builtins.readFile ./prod.json); }; }\n"
        )

    def describe(self, cluster):
        """Writes the cluster's files for the nodes of this lab."""
        shutil.rmtree(cluster / "node")
        (cluster / "node").mkdir()
        for node in NODES:
            role = "server" if node in SERVERS else "client"
            (cluster / f"node/{node}.nix").write_text(
                f'{{ cluster.nodes.{node} = {{ site = "lyon"; role = "{role}"; address.ipv4 = "{self.addresses[node]}"; }}; }}\n'
            )
        for site in (cluster / "site").iterdir():
            if site.stem != "lyon":
                site.unlink()
        (cluster / "cluster.nix").write_text(
            f'{{ imports = [ {" ".join(self.modules)} ];\n'
            '  cluster = { domain = "prod.example.org"; secretsPrefix = "example"; nomad.dropPrivileges = true;\n'
            f'  admins.alice.keys = [ "{self.key}" ]; }};\n'
            '  system.stateVersion = "26.05"; }\n'
        )

    def evaluated(self, attribute, apply="x: x"):
        """A value of the repository's flake, as JSON."""
        return self.run(
            "nix", "eval", "--json", "--no-write-lock-file", "--override-input", "nixpkgs", f"path:{self.nixpkgs}",
            f"{self.repository}#{attribute}", "--apply", apply,
        )

    def make_store(self):
        (self.folder / "gnupg").mkdir(mode=0o700)
        self.run("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key",
                 "tester", "future-default", "default", "never")
        self.run("pass", "init", "tester")

    def close(self):
        subprocess.run(["gpgconf", "--kill", "all"], env=self.env, check=False)
        self.lab("wipe")
        shutil.rmtree(self.folder)


class Standin(Lab):
    """Nodes of the stand-in, with users, units and settings as NixOS would have them."""

    nixpkgs = ROOT / "checks/lab/nixpkgs"

    def make_nodes(self):
        self.make_consul()
        self.make_nomad()

    def make_secrets(self):
        """Does nothing: gossip is not encrypted here."""

    def make_consul(self):
        program = pathlib.Path(self.run(ROOT / "checks/lab/consul").strip()).read_bytes()
        for node in NODES:
            server = node in SERVERS
            files = {f"{kind}_file": f"/var/lib/consul/pki/consul{end}" for kind, end in
                     [("ca", "-ca.crt"), ("cert", ".crt"), ("key", ".key")]}
            files |= {"verify_incoming": True, "verify_outgoing": True}
            # Debian's 1.8.7 has older names.
            tls = {**files, "verify_server_hostname": True}
            if os.environ.get("CONSUL"):
                tls = {"tls": {"defaults": files, "internal_rpc": {"verify_server_hostname": True}}}
            settings = {
                "datacenter": "prod", "node_name": node, "server": server, "data_dir": "/var/lib/consul",
                "retry_join": self.others(node), "retry_interval": "1s",
                "bind_addr": self.addresses[node], "client_addr": "127.0.0.1",
                "addresses": {"https": f"127.0.0.1 {self.addresses[node]}"},
                "ports": {"http": -1, "https": 8501, "serf_wan": -1}, "performance": {"raft_multiplier": 1},
                # By default after 10 seconds, for which each run would wait.
                "autopilot": {"server_stabilization_time": "1s"},
                **tls,
                **({"bootstrap_expect": len(SERVERS)} if server else {}),
            }
            self.lab("root", node, "sh", "-c", "cat >/usr/local/bin/consul; chmod 755 /usr/local/bin/consul", stdin=program)
            self.lab("root", node, "sh", "-c", "cat >/etc/consul.json", stdin=json.dumps(settings))
            self.lab("root", node, "sh", "-c", "cat >/etc/systemd/system/consul.service", stdin=UNIT)
            self.root(node, "mkdir /etc/consul.d; useradd --system --home-dir /var/lib/consul consul; install -d -o consul -g consul -m 700 "
                            "/var/lib/consul; systemctl daemon-reload")

    def others(self, node):
        """The addresses of servers that a node joins."""
        return [self.addresses[server] for server in SERVERS if server != node]

    def make_nomad(self):
        if os.environ.get("NOMAD"):
            self.make_real_nomad(pathlib.Path(os.environ["NOMAD"]).read_bytes())
            return
        program = pathlib.Path(self.standin).read_bytes()
        for node in NODES:
            unit = NOMAD_UNIT.format(node=node, servers=",".join(SERVERS), folder=self.nomad_pki)
            self.root(node, "groupadd --system nomad-pki")
            self.lab("root", node, "sh", "-c", "cat >/usr/local/bin/nomad; chmod 755 /usr/local/bin/nomad", stdin=program)
            self.lab("root", node, "sh", "-c", "cat >/etc/systemd/system/nomad.service; systemctl daemon-reload", stdin=unit)

    def make_real_nomad(self, program):
        """The real program, in a unit like the stand-in's. As there, servers are no clients."""
        own = {f"{kind}_file": f"{self.nomad_pki}/{name}" for kind, name in
               [("ca", "nomad-ca.crt"), ("cert", "nomad.crt"), ("key", "nomad.key")]}
        consul = {f"{kind}_file": f"{self.nomad_pki}/{name}" for kind, name in
                  [("ca", "consul-ca.crt"), ("cert", "consul-client.crt"), ("key", "consul-client.key")]}
        for node in NODES:
            join = {"retry_join": self.others(node), "retry_interval": "1s"}
            settings = {
                "region": "prod", "datacenter": "lyon", "name": node, "data_dir": "/var/lib/nomad", "bind_addr": "0.0.0.0",
                "advertise": {kind: self.addresses[node] for kind in ["http", "rpc", "serf"]},
                "disable_update_check": True,
                "tls": {"http": True, "rpc": True, "verify_server_hostname": True, "verify_https_client": True, **own},
                "consul": {"address": "127.0.0.1:8501", "ssl": True, "verify_ssl": True, **consul},
                # As with Consul, by default after 10 seconds.
                "autopilot": {"server_stabilization_time": "1s"},
                **({"server": {"enabled": True, "bootstrap_expect": len(SERVERS), "raft_protocol": 3, "raft_multiplier": 1, "server_join": join}}
                   if node in SERVERS else {"client": {"enabled": True, "network_interface": "host0", "server_join": join}}),
            }
            unit = REAL_NOMAD_UNIT.format(folder=self.nomad_pki)
            self.root(node, "groupadd --system nomad-pki")
            self.lab("root", node, "sh", "-c", "cat >/usr/local/bin/nomad; chmod 755 /usr/local/bin/nomad", stdin=program)
            self.lab("root", node, "sh", "-c", "cat >/etc/nomad.json", stdin=json.dumps(settings))
            self.lab("root", node, "sh", "-c", "cat >/etc/systemd/system/nomad.service; systemctl daemon-reload", stdin=unit)

    @contextlib.contextmanager
    def conditions(self, node):
        """Gives Consul on a node the model's conditions and path unit for the duration. Yields the files that it needs."""
        units = json.loads(self.evaluated(
            f"nixosConfigurations.prod-{node}.config.system.build.standinUnits",
            'units: builtins.mapAttrs (_: unit: unit.text) { inherit (units) "consul.service" "consul.path"; }',
        ))
        made = [line for line in units["consul.service"].splitlines() if line.startswith("ConditionPathExists=")]
        # Those with `|` are the stand-in's own, about programs.
        needed = [path for line in made if not (path := line.split("=", 1)[1]).startswith("|")]
        kept = self.root(node, "cat /etc/systemd/system/consul.service")
        own = [line for line in kept.splitlines() if not line.startswith("Condition")]
        text = "\n".join([own[0], *made, *own[1:]]) + "\n"
        for name, unit in [("service", text), ("path", units["consul.path"])]:
            self.lab("root", node, "sh", "-c", f"cat >/etc/systemd/system/consul.{name}", stdin=unit)
        folders = " ".join(sorted({path.rsplit("/", 1)[0] for path in needed}))
        self.root(node, f"mkdir -p {folders}; systemctl daemon-reload; systemctl start consul.path")
        yield needed
        self.root(node, f"systemctl stop consul.path; rm -rf /etc/systemd/system/consul.path {folders}")
        self.lab("root", node, "sh", "-c", "cat >/etc/systemd/system/consul.service; systemctl daemon-reload", stdin=kept)


class Nixos(Lab):
    """Nodes of NixOS, with what the tool deploys to them."""

    modules = ["./surroundings.nix"]

    def describe(self, cluster):
        super().describe(cluster)
        self.surround(cluster)

    def surround(self, cluster):
        shutil.copy(HERE / "nixos.nix", cluster / "surroundings.nix")
        self.run("strip", "-o", cluster / "nomad-standin", self.standin)

    def make_nodes(self):
        self.deploy("deploy-nixos")

    def make_secrets(self):
        """Deploys the gossip keys, without which no agent starts."""
        self.run(self.nixcfg, "gen-secrets", "prod", "--flake", self.flake)
        self.run(self.nixcfg, "deploy-secrets", "prod", "--flake", self.flake, "--ssh-config", self.ssh_config)

    def deploy(self, operation):
        self.run(self.nixcfg, operation, "prod", "--flake", self.repository, "--override-input", "nixpkgs", f"path:{self.nixpkgs}",
                 "--ssh-config", self.ssh_config)

    @contextlib.contextmanager
    def conditions(self, node):
        """The files that Consul on a node waits for."""
        yield json.loads(self.evaluated(f"nixosConfigurations.prod-{node}.config.systemd.services.consul.unitConfig.ConditionPathExists"))


class Prod(Nixos):
    """The cluster of this repository, with its overlay network."""

    nodes, clients, nomad_pki = SERVERS, [], "/var/lib/nomad/pki"

    def describe(self, cluster):
        file = cluster / "cluster.nix"
        (cluster / "own.nix").write_text(file.read_text())
        file.write_text("{ imports = [ ./own.nix ./surroundings.nix ]; }\n")
        self.surround(cluster)


def any_order(driver, node):
    """The conditions and the path unit that the model makes, with a real Consul: it fails at no time, and starts when the last of
    its files has come, whichever that is."""
    with driver.conditions(node) as needed:
        scenario.check(len(needed) == 4, f"Consul needs {needed}")
        made = driver.folder / "all"
        made.mkdir()
        driver.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                   "-subj", "/CN=test", "-keyout", made / "consul.key", "-out", made / "consul.crt")
        shutil.copy(made / "consul.crt", made / "consul-ca.crt")
        (made / "consul-gossip").write_text(base64.b64encode(b"k" * 32).decode())
        driver.root(node, "mkdir /root/all")
        for file in made.iterdir():
            driver.lab("root", node, "sh", "-c", f"cat >/root/all/{file.name}; chmod 644 /root/all/{file.name}", stdin=file.read_bytes())
        state = lambda: driver.root(node, "systemctl is-active consul.service || true").strip()

        def comes(path):
            driver.root(node, f"cp /root/all/{path.rsplit('/', 1)[1]} {path}.new; mv {path}.new {path}")

        for number in range(len(needed)):
            order = needed[number:] + needed[:number]
            driver.root(node, "systemctl start consul.service")
            scenario.check((now := state()) == "inactive", f"a start without the files is none, and no failure: {now}")
            for path in order[:-1]:
                comes(path)
            early = state()
            comes(order[-1])
            scenario.until(20, f"Consul starts by {order[-1]}", lambda: state() == "active")
            scenario.check(early == "inactive", f"Consul starts when {order[-1]} has come as the last: {early} before")
            # The files first: each that goes asks for a start. A Consul that is stopped in the midst of its start ends with a failure.
            driver.root(node, f"rm {' '.join(needed)}; systemctl stop consul.service; systemctl reset-failed; find /var/lib/consul -mindepth 1 -maxdepth 1 ! -name pki -exec rm -rf {{}} +")
        driver.root(node, "rm -r /root/all")


def loss(driver):
    """Kills a server of each service, and asserts that another one is told of it at once: Nomad itself takes some forty seconds."""
    for app in ["consul", *(["nomad"] if os.environ.get("NOMAD") else [])]:
        title, folder = app.title(), f"/run/systemd/system/{app}.service.d"
        trouble = lambda: [line for event in scenario.tool(driver, "status", "alder", "--no-drift", wanted=None)
                           for line in event.get("trouble") or [] if title in line]
        scenario.until(120, f"{title}'s servers are well", lambda: not trouble())
        driver.root("cedar", f"mkdir -p {folder}; printf '[Service]\\nRestart=no\\n' >{folder}/once.conf; systemctl daemon-reload; systemctl kill -s KILL {app}")
        # A lost leader is elected anew first, which takes seconds.
        lost = lambda: [line for line in trouble() if "cedar" in line and "no connection to" in line]
        told = scenario.until(20, f"the loss of one of {title}'s servers is told", lost)
        scenario.check(len(told) == 1, f"the loss of a server is noticed at once: {told}")
        before = scenario.pids(driver, app)
        pki = driver.nomad_pki if app == "nomad" else f"/var/lib/{app}/pki"
        driver.root("birch", f"rm {pki}/{app}.crt")
        events = scenario.tool(driver, "deploy-pki", "alder", "birch", "--patience", "4", wanted=5)
        why = scenario.told(events, "birch")[0]
        # Consul's autopilot soon drops the lost server, and Nomad's does not notice it for long.
        alone = "no connection to" in why or (app == "consul" and "no failure to spare" in why)
        scenario.check(alone, f"birch, which the quorum now needs, is left alone: {why}")
        after = scenario.pids(driver, app)
        scenario.check(all(after[of] == before[of] for of in after if of[1] != "cedar"), "nothing is restarted")
        driver.root("cedar", f"rm {folder}/once.conf; systemctl daemon-reload; systemctl reset-failed {app}; systemctl start {app}")
        scenario.until(120, f"{title}'s servers are well again", lambda: not trouble())
        scenario.tool(driver, "deploy-pki", "alder", "birch")


def whole(driver):
    any_order(driver, "dogwood")
    driver.make_secrets()
    scenario.run(driver)
    if not os.environ.get("LAB_NIXOS"):
        loss(driver)
    tlsproxy.run(driver)


def bench(driver, runs=9):
    """Measures deploy-pki with nothing to do, and asserts that it does nothing."""
    driver.nodes, driver.clients = SERVERS, []
    driver.make_secrets()
    scenario.tool(driver, "gen-pki")
    scenario.tool(driver, "deploy-pki")
    before, known = scenario.pids(driver, "consul", "nomad"), scenario.logins(driver)
    times = []
    for _ in range(runs):
        began = time.monotonic()
        scenario.tool(driver, "deploy-pki", *SERVERS)
        times.append(time.monotonic() - began)
    after = scenario.logins(driver)
    each = {after[node] - known[node] for node in SERVERS}
    scenario.check(each == {runs}, f"{runs} runs were {runs} logins a node: {known} {after}")
    scenario.check(scenario.pids(driver, "consul", "nomad") == before, "nothing was restarted")
    print(f"deploy-pki to {len(SERVERS)} nodes, nothing to do: {statistics.median(times) * 1000:.0f} ms")


def prod(driver):
    """Makes a Consul cluster of deployed nodes by secrets and certificates."""
    driver.make_secrets()
    scenario.tool(driver, "gen-pki")
    events = scenario.tool(driver, "deploy-pki")
    scenario.check(all(event["ok"] for event in scenario.done(events).values()), "every node has its certificates")
    pki = driver.nomad_pki
    asked = lambda node: driver.root(node, f"""
        curl -s --cacert {pki}/consul-ca.crt --cert {pki}/consul-client.crt --key {pki}/consul-client.key \\
            https://127.0.0.1:8501/v1/operator/autopilot/health || true""")

    def healthy():
        told = asked("alder")
        health = told.startswith("{") and json.loads(told)
        return health and health["FailureTolerance"] == 1 and health

    servers = {server["Name"]: server for server in scenario.until(120, "the servers can spare one", healthy)["Servers"]}
    scenario.check(sorted(servers) == SERVERS and all(server["Voter"] for server in servers.values()), f"three vote: {sorted(servers)}")
    scenario.check(sum(server["Leader"] for server in servers.values()) == 1, "one leads them")
    addresses = sorted(server["Address"] for server in servers.values())
    scenario.check(all(address.startswith("10.83.") for address in addresses), f"they meet on the overlay: {addresses}")
    for node in SERVERS:
        failed = driver.root(node, "systemctl --failed --no-legend --plain")
        scenario.check(failed == "", f"no unit of {node} has failed: {failed}")
    found = driver.root("alder", "getent ahostsv4 cedar.node.prod.consul || true").split(" ")[0]
    scenario.check(found == "10.83.2.1", f"the names of Consul are found by a node's programs: {found}")
    code, _ = driver.desk(shlex.join(driver.command("pki-status", "--live")))
    scenario.check(code == 0, "pki-status finds all as wanted")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nixcfg", help="the tool, built")
    parser.add_argument("standin", help="nomad.rs, built")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--bench", action="store_true", help="only how long deploy-pki takes for three servers with nothing to do")
    other.add_argument("--prod", action="store_true", help="only that this repository's own cluster/prod becomes a cluster of Consul")
    args = parser.parse_args()
    nixos = bool(os.environ.get("LAB_NIXOS"))
    if args.prod and not nixos:
        parser.error("--prod is for nodes of NixOS: LAB_NIXOS=1")
    # Nodes do not outlive the script, not even after an interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    driver = (Prod if args.prod else Nixos if nixos else Standin)(args.nixcfg, args.standin)
    try:
        driver.make()
        (bench if args.bench else prod if args.prod else whole)(driver)
    except scenario.Failed as failure:
        print(failure, *driver.said(), sep="\n")
    finally:
        if "KEEP" not in os.environ:
            driver.close()
        else:
            print(driver.folder)
    print(f"{scenario.passed} passed, {scenario.failed} failed")
    sys.exit(1 if scenario.failed or not scenario.passed else 0)


main()
