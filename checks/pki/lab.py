"""Runs scenario.py on four nodes of the lab, with a real Consul and nomad.rs, which stands in for Nomad. As root.

usage: lab.py NIXCFG STANDIN [--bench]      the tool and the stand-in, built; with --bench only how long deploy-pki takes
                                            for three servers with nothing to do
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import scenario

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SERVERS = ["alder", "birch", "cedar"]
CLIENTS = ["dogwood"]
NODES = SERVERS + CLIENTS
# Seconds that a command may take.
LONGEST = 600
NIX_CONFIG = "\n".join([
    "experimental-features = nix-command flakes", "substituters =", "sandbox = false", "build-users-group =",
    "flake-registry =",
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


# As with cluster.nomad.dropPrivileges; Nomad as root is what the virtual machines have.
NOMAD_UNIT = """[Unit]
ConditionPathExists={folder}/nomad.crt
ConditionPathExists={folder}/consul-client.crt
[Service]
DynamicUser=yes
StateDirectory=nomad
SupplementaryGroups=nomad-pki
ExecStart=/usr/local/bin/nomad {folder} {node} {servers}
"""


class Lab:
    """The driver: nodes of the lab, and the tool on this machine."""

    cluster, servers, clients, nodes = "prod", SERVERS, CLIENTS, NODES
    nomad_pki = "/var/lib/nixcfg/pki/nomad"
    asker = HERE / "asker.py"

    def __init__(self, nixcfg, standin):
        self.nixcfg, self.standin = nixcfg, standin
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nixcfg-pki-", dir="/tmp"))
        self.env = {
            **os.environ, "HOME": str(self.folder), "GNUPGHOME": str(self.folder / "gnupg"),
            "PASSWORD_STORE_DIR": str(self.folder / "store"), "NIX_CONFIG": NIX_CONFIG, "SUDO_PASS": "wonderland", "LAB": "pki",
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org", "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }
        self.lab("up", "--nodes", ",".join(NODES))
        self.lab("reset", "--all")
        told = dict(line.split("=", 1) for line in self.lab("env").splitlines())
        self.ssh_config = told["LAB_SSH_CONFIG"].strip("'")
        number = told["LAB_NUMBER"].strip("'")
        self.addresses = {node: f"10.77.{number}.{11 + i}" for i, node in enumerate(sorted(NODES))}
        self.make_repository()
        self.make_store()
        self.make_consul()
        self.make_nomad()

    def lab(self, *argv, stdin=None):
        return self.run(ROOT / "checks/lab/lab", *argv, stdin=stdin)

    def run(self, *argv, stdin=None, wanted=0):
        done = subprocess.run(
            [str(word) for word in argv], env=self.env, capture_output=True, text=stdin is None or isinstance(stdin, str),
            input=stdin, timeout=LONGEST,
        )
        if done.returncode != wanted:
            raise scenario.Failed(f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout if isinstance(done.stdout, str) else done.stdout.decode()

    def fault(self, node, *what):
        """Does something bad to a node, or undoes it."""
        self.lab("fault", node, *what)

    def root(self, node, script):
        """Runs a shell command as root on a node."""
        return self.lab("root", node, "sh", "-c", script)

    def desk(self, script):
        done = subprocess.run(
            ["sh", "-c", script], env=self.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False,
            timeout=LONGEST,
        )
        return done.returncode, done.stdout

    def command(self, operation, *argv):
        return [self.nixcfg, operation, "prod", *argv, "--json", "--flake", str(self.flake), "--ssh-config", self.ssh_config]

    def make_repository(self):
        repository = self.folder / "repository"
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True)
        for name in filter(None, files.stdout.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("checks/lab/nixpkgs/"):
                (repository / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, repository / name)
        shutil.rmtree(repository / "cluster/prod/node")
        (repository / "cluster/prod/node").mkdir()
        for node in NODES:
            role = "server" if node in SERVERS else "client"
            (repository / f"cluster/prod/node/{node}.nix").write_text(
                f'{{ cluster.nodes.{node} = {{ site = "lyon"; role = "{role}"; address.ipv4 = "{self.addresses[node]}"; }}; }}\n'
            )
        for site in (repository / "cluster/prod/site").iterdir():
            if site.stem != "lyon":
                site.unlink()
        (repository / "cluster/prod/cluster.nix").write_text(
            '{ cluster = { domain = "prod.example.org"; secretsPrefix = "example"; nomad.dropPrivileges = true;\n'
            '  admins.alice.keys = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf alice" ]; };\n'
            '  system.stateVersion = "26.05"; }\n'
        )
        self.run("git", "-C", repository, "init", "-q")
        self.run("git", "-C", repository, "add", "-A")
        # What the model makes of the files, once: evaluation is another test's.
        data = self.run(
            "nix", "eval", "--json", "--no-write-lock-file", "--override-input", "nixpkgs", f"path:{ROOT}/checks/lab/nixpkgs",
            f"{repository}#clusters.prod",
        )
        self.flake = self.folder / "flake"
        self.flake.mkdir()
        (self.flake / "prod.json").write_text(data)
        (self.flake / "flake.nix").write_text(
            "{ outputs = _: { clusters.prod = builtins.fromJSON (builtins.readFile ./prod.json); }; }\n"
        )

    def make_store(self):
        (self.folder / "gnupg").mkdir(mode=0o700)
        self.run("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key",
                 "tester", "future-default", "default", "never")
        self.run("pass", "init", "tester")

    def make_consul(self):
        program = pathlib.Path(self.run(ROOT / "checks/lab/consul").strip()).read_bytes()
        for node in NODES:
            server = node in SERVERS
            files = {f"{kind}_file": f"/var/lib/consul/pki/consul{end}" for kind, end in
                     [("ca", "-ca.crt"), ("cert", ".crt"), ("key", ".key")]}
            settings = {
                "datacenter": "prod", "node_name": node, "server": server, "data_dir": "/var/lib/consul",
                "retry_join": [self.addresses[server] for server in SERVERS], "retry_interval": "1s",
                "bind_addr": self.addresses[node], "client_addr": "127.0.0.1",
                "addresses": {"https": f"127.0.0.1 {self.addresses[node]}"},
                "ports": {"http": -1, "https": 8501, "serf_wan": -1}, "performance": {"raft_multiplier": 1},
                # After 10 seconds by itself, for which each run would wait.
                "autopilot": {"server_stabilization_time": "1s"},
                "verify_incoming": True, "verify_outgoing": True, "verify_server_hostname": True, **files,
                **({"bootstrap_expect": len(SERVERS)} if server else {}),
            }
            self.lab("root", node, "sh", "-c", "cat >/usr/local/bin/consul; chmod 755 /usr/local/bin/consul", stdin=program)
            self.lab("root", node, "sh", "-c", "cat >/etc/consul.json", stdin=json.dumps(settings))
            self.lab("root", node, "sh", "-c", "cat >/etc/systemd/system/consul.service", stdin=UNIT)
            self.root(node, "mkdir /etc/consul.d; useradd --system --home-dir /var/lib/consul consul; install -d -o consul -g consul -m 700 "
                            "/var/lib/consul; systemctl daemon-reload")

    def make_nomad(self):
        program = pathlib.Path(self.standin).read_bytes()
        for node in NODES:
            unit = NOMAD_UNIT.format(node=node, servers=",".join(SERVERS), folder=self.nomad_pki)
            self.root(node, "groupadd --system nomad-pki")
            self.lab("root", node, "sh", "-c", "cat >/usr/local/bin/nomad; chmod 755 /usr/local/bin/nomad", stdin=program)
            self.lab("root", node, "sh", "-c", "cat >/etc/systemd/system/nomad.service; systemctl daemon-reload", stdin=unit)

    def close(self):
        subprocess.run(["gpgconf", "--kill", "all"], env=self.env, check=False)
        self.lab("wipe")
        shutil.rmtree(self.folder)


def any_order(driver, node):
    """The conditions and the path unit that the model makes, with a real Consul: it fails at no time, and starts when the last of
    its files has come, whichever that is."""
    units = json.loads(driver.run(
        "nix", "eval", "--json", "--no-write-lock-file", "--override-input", "nixpkgs", f"path:{ROOT}/checks/lab/nixpkgs",
        f"{driver.folder}/repository#nixosConfigurations.prod-{node}.config.system.build.standinUnits", "--apply",
        'units: builtins.mapAttrs (_: unit: unit.text) { inherit (units) "consul.service" "consul.path"; }',
    ))
    conditions = [line for line in units["consul.service"].splitlines() if line.startswith("ConditionPathExists=")]
    # With `|` are the stand-in's own, about programs.
    needed = [path for line in conditions if not (path := line.split("=", 1)[1]).startswith("|")]
    scenario.check(len(needed) == 4, f"Consul needs {needed}")
    kept = driver.root(node, "cat /etc/systemd/system/consul.service")
    own = [line for line in kept.splitlines() if not line.startswith("Condition")]
    text = "\n".join([own[0], *conditions, *own[1:]]) + "\n"
    for name, unit in [("service", text), ("path", units["consul.path"])]:
        driver.lab("root", node, "sh", "-c", f"cat >/etc/systemd/system/consul.{name}", stdin=unit)
    folders = " ".join(sorted({path.rsplit("/", 1)[0] for path in needed}))
    driver.root(node, f"""
        set -e; mkdir -p {folders} /root/all; systemctl daemon-reload; systemctl start consul.path; cd /root/all
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -keyout consul.key -out consul.crt 2>&1
        cp consul.crt consul-ca.crt; echo key >consul-gossip; chmod 644 *
    """)
    state = lambda: driver.root(node, "systemctl is-active consul.service || true").strip()
    for number in range(len(needed)):
        order = needed[number:] + needed[:number]
        driver.root(node, "systemctl start consul.service")
        scenario.check((now := state()) == "inactive", f"a start without the files is none, and no failure: {now}")
        for path in order[:-1]:
            driver.root(node, f"cp /root/all/{path.rsplit('/', 1)[1]} {path}.new; mv {path}.new {path}")
        early = state()
        driver.root(node, f"cp /root/all/{order[-1].rsplit('/', 1)[1]} {order[-1]}.new; mv {order[-1]}.new {order[-1]}")
        scenario.until(20, f"Consul starts by {order[-1]}", lambda: state() == "active")
        scenario.check(early == "inactive", f"Consul starts when {order[-1]} has come as the last: {early} before")
        # The files first: each that goes asks for a start. A Consul that is stopped in the midst of its start ends with a failure.
        driver.root(node, f"rm {' '.join(needed)}; systemctl stop consul.service; systemctl reset-failed; rm -rf /var/lib/consul/[a-oq-z]*")
    driver.root(node, f"systemctl stop consul.path; rm -rf /etc/systemd/system/consul.path /root/all {folders}")
    driver.lab("root", node, "sh", "-c", "cat >/etc/systemd/system/consul.service; systemctl daemon-reload", stdin=kept)


def whole(driver):
    any_order(driver, "dogwood")
    scenario.run(driver)


def bench(driver, runs=9):
    """How long deploy-pki takes with nothing to do, and that it does nothing."""
    driver.nodes, driver.clients = SERVERS, []
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


def main():
    nixcfg, standin, *more = sys.argv[1:]
    driver = Lab(nixcfg, standin)
    try:
        (bench if more else whole)(driver)
    except scenario.Failed as failure:
        print(failure)
    except subprocess.TimeoutExpired as failure:
        scenario.check(False, str(failure))
    finally:
        if "KEEP" not in os.environ:
            driver.close()
        else:
            print(driver.folder)
    print(f"{scenario.passed} passed, {scenario.failed} failed")
    sys.exit(1 if scenario.failed or not scenario.passed else 0)


main()
