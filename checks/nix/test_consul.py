"""The configuration of three servers and two clients on two sites runs on a real Consul and forms a cluster.

Each node is a network namespace with the addresses of the model. Debian's Consul, 1.8.7, needs older names of some settings; of the rest
only the folders and the interval between joins are changed. No node reaches another until each has tried to join, as after a power cut,
or where the ports between sites are opened last.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from fixture import BASE, ROOT, Fixture

HERE = pathlib.Path(__file__).resolve().parent

SERVERS = {"alder": "192.0.2.11", "birch": "192.0.2.12", "cedar": "192.0.2.13"}
CLIENTS = {"dogwood": "192.0.2.14", "elm": "192.0.2.15"}
SITES = {"alder": "lyon", "birch": "lyon", "cedar": "brest", "dogwood": "lyon", "elm": "brest"}
NODES = SERVERS | CLIENTS
INTRUDERS = {"fir": "192.0.2.91", "gorse": "192.0.2.92", "hazel": "192.0.2.93"}

FILES = {
    f"node/{node}.nix": BASE["node/alder.nix"]
    .replace("nodes.alder", f"nodes.{node}")
    .replace('"server"', '"client"')
    .replace("192.0.2.11", address)
    .replace('"lyon"', f'"{SITES[node]}"')
    for node, address in CLIENTS.items()
}


def run(*command, **more):
    """The output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


class Authority:
    """A certificate authority made by openssl alone."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test", "-keyout", self.folder / "ca.key", "-out", self.folder / "ca.crt",
        )  # fmt: skip

    def issue(self, name, *hosts):
        """A certificate for both ends of a connection; the paths of certificate and key."""
        key, request, certificate, extensions = (
            self.folder / f"{name}.{end}" for end in ("key", "csr", "crt", "ext")
        )
        names = ",".join(f"DNS:{host}" for host in (*hosts, "localhost"))
        extensions.write_text(
            f"basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName={names},IP:127.0.0.1\n"
        )
        run(
            "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request,
        )  # fmt: skip
        run(
            "openssl", "x509", "-req", "-in", request, "-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        return certificate, key


def names_of_1_8(configuration):
    """The same configuration with the names that Consul had before 1.9 (ui_config) and 1.12 (tls)."""
    old = dict(configuration)
    tls = old.pop("tls")
    old |= tls["defaults"]
    old |= tls["internal_rpc"]
    old["ui"] = old.pop("ui_config")["enabled"]
    return old | {"retry_interval": "1s"}


class Network:
    """Namespaces on one bridge that is connected to nothing else."""

    def __init__(self):
        self.hub = f"nixcfg-model-{os.getpid()}"
        self.namespaces = [self.hub]
        self.ports = {}
        run("ip", "netns", "add", self.hub)
        run("ip", "-n", self.hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.hub, "link", "set", "bridge", "up")

    def add(self, node, address):
        """A namespace for a node."""
        name = self.name(node)
        number = len(self.namespaces)
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        self.ports[node] = f"port{number}"
        run(
            "ip", "-n", self.hub, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", name
        )  # fmt: skip
        run("ip", "-n", self.hub, "link", "set", f"port{number}", "master", "bridge", "up")
        run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")

    def cable(self, node, state):
        """Plugs a node's cable in ("up") or out ("down")."""
        run("ip", "-n", self.hub, "link", "set", self.ports[node], state)

    def name(self, node):
        """The namespace of a node."""
        return f"{self.hub}-{node}"

    def remove(self):
        for name in reversed(self.namespaces):
            subprocess.run(["ip", "netns", "delete", name], check=False)


class Cluster(unittest.TestCase):
    """A running cluster; each class of tests has its own."""

    @classmethod
    def setUpClass(cls):
        cls.program = run(ROOT / "checks/lab/consul").strip()
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="nixcfg-consul-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.authority = Authority(cls.folder / "ca")
        cls.foreign = Authority(cls.folder / "foreign")
        cls.gossip = run("openssl", "rand", "-base64", "32")
        cls.operator = cls.authority.issue("operator", "cli.c.consul")

        with Fixture(FILES) as fixture:
            cls.made = {node: cls.configuration(fixture, node) for node in NODES}

        cls.network = Network()
        cls.addClassCleanup(cls.network.remove)
        cls.processes = {}
        cls.addClassCleanup(cls.stop)
        for node, address in NODES.items():
            role = "server" if node in SERVERS else "client"
            certificate = cls.authority.issue(node, f"{role}.c.consul", f"{node}.{role}.c.consul")
            cls.start(node, address, cls.made[node], certificate, cable="down")
        for node in NODES:
            cls.wait(lambda node=node: "Join cluster failed, will retry" in cls.log(node), f"{node} has tried to join")
        for node in NODES:
            cls.network.cable(node, "up")
        for node in NODES:
            cls.wait(lambda node=node: len(cls.alive(node)) == len(NODES), f"{node} sees all members")
            cls.wait(lambda node=node: cls.leader(node), f"{node} knows the leader")

    @staticmethod
    def configuration(fixture, node):
        """consul.json, the script before the start, and the resolver's configuration."""
        return fixture.value(
            f"nixosConfigurations.c-{node}.config",
            'config: { json = config.environment.etc."consul.json".text;'
            " script = config.systemd.services.consul.preStart;"
            " resolver = config.services.unbound.settings; }",
        )

    @classmethod
    def start(cls, node, address, made, certificate, authority=None, gossip=None, change=lambda old: old, cable="up"):
        """Starts an agent as its unit does."""
        home = cls.folder / node
        pki = home / "lib/pki"
        pki.mkdir(parents=True)
        (home / "run").mkdir()
        secret = home / "gossip"
        secret.write_text(gossip or cls.gossip)
        shutil.copy((authority or cls.authority).folder / "ca.crt", pki / "consul-ca.crt")
        shutil.copy(certificate[0], pki / "consul.crt")
        shutil.copy(certificate[1], pki / "consul.key")

        def placed(text):
            return (
                text.replace("/var/lib/nixcfg/secrets/consul-gossip", str(secret))
                .replace("/run/consul", str(home / "run"))
                .replace("/var/lib/consul", str(home / "lib"))
            )

        configuration = home / "consul.json"
        configuration.write_text(json.dumps(change(names_of_1_8(json.loads(placed(made["json"]))))))
        # Without nixpkgs' part of the script, which is about interfaces. There is no user `consul` here.
        script = placed(made["script"][made["script"].rindex("(\n  umask") :]).replace("chown consul", "chown root")
        run("bash", "-euc", script)

        cls.network.add(node, address)
        cls.network.cable(node, cable)
        with open(home / "log", "w", encoding="utf-8") as log:
            cls.processes[node] = subprocess.Popen(
                [
                    "ip", "netns", "exec", cls.network.name(node), cls.program, "agent",
                    "-config-file", configuration, "-config-file", home / "run/gossip.json",
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @classmethod
    def stop(cls):
        for process in cls.processes.values():
            process.send_signal(signal.SIGKILL)
            process.wait()

    @classmethod
    def log(cls, node):
        """The log of an agent."""
        return (cls.folder / node / "log").read_text(encoding="utf-8", errors="replace")

    @classmethod
    def wait(cls, condition, what):
        """Waits for a condition, two minutes at most. `what` names it in the error; a function is called only then."""
        end = time.monotonic() + 120
        while not condition():
            if time.monotonic() > end:
                what = what() if callable(what) else what
                raise AssertionError(f"never: {what}\n" + "\n".join(f"{node}:\n{cls.log(node)[-3000:]}" for node in cls.processes))
            for node, process in cls.processes.items():
                if process.poll() is not None:
                    raise AssertionError(f"Consul on {node} has ended:\n{cls.log(node)[-3000:]}")
            time.sleep(0.2)

    @classmethod
    def inside(cls, node, *command):
        """A finished command in a node's namespace."""
        return subprocess.run(
            ["ip", "netns", "exec", cls.network.name(node), *map(str, command)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    @classmethod
    def consul(cls, node, command, *arguments, certificate=None):
        """A finished request to a node's agent with the operator's certificate. Options precede arguments."""
        name, key = certificate or cls.operator
        return cls.inside(
            node, cls.program, *command.split(), "-http-addr=https://127.0.0.1:8501",
            f"-ca-file={cls.authority.folder / 'ca.crt'}", f"-client-cert={name}", f"-client-key={key}", *arguments,
        )  # fmt: skip

    @classmethod
    def members(cls, node):
        """The members as a node sees them: name → columns."""
        done = cls.consul(node, "members")
        return {line.split()[0]: line.split() for line in done.stdout.splitlines()[1:]}

    @classmethod
    def alive(cls, node):
        return [name for name, columns in cls.members(node).items() if columns[2] == "alive"]

    @classmethod
    def raft(cls, node):
        """The peers of the raft: name → columns."""
        done = cls.consul(node, "operator raft list-peers")
        return {line.split()[0]: line.split() for line in done.stdout.splitlines()[1:]}

    @classmethod
    def leader(cls, node):
        return [name for name, columns in cls.raft(node).items() if columns[3] == "leader"]

    @classmethod
    def dns(cls, node, name, port):
        """The IPv4 addresses of a name, as a resolver on the node's loopback answers."""
        done = cls.inside(node, sys.executable, HERE / "dns_query.py", "127.0.0.1", port, name)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return sorted(done.stdout.split())


@unittest.skipUnless(os.geteuid() == 0, "namespaces need root")
class Formed(Cluster):
    def test_roles_are_the_models(self):
        members = self.members("elm")
        self.assertEqual({name for name, columns in members.items() if columns[3] == "server"}, set(SERVERS))
        self.assertEqual({name for name, columns in members.items() if columns[3] == "client"}, set(CLIENTS))
        for name, columns in members.items():
            self.assertEqual(columns[1], f"{NODES[name]}:8301")
            self.assertEqual(columns[6], "c")

    def test_one_leader_and_three_voters(self):
        peers = self.raft("dogwood")
        voters = {name for name, columns in peers.items() if columns[4] == "true"}
        self.assertEqual(voters, set(SERVERS))
        self.assertEqual(len(self.leader("dogwood")), 1)

    def test_site_is_metadata(self):
        def names():
            done = self.consul("alder", "catalog nodes", "-node-meta=site=brest")
            return {line.split()[0] for line in done.stdout.splitlines()[1:]}

        # An agent is a member before its metadata is in the catalog.
        self.wait(lambda: names() == {"cedar", "elm"}, lambda: f"both of the site are in the catalog: {names()}")

    def test_values_written_on_a_client_are_read_on_a_server(self):
        self.assertEqual(self.consul("elm", "kv put", "greeting", "hello").returncode, 0)
        self.assertEqual(self.consul("alder", "kv get", "greeting").stdout.strip(), "hello")

    def test_no_plain_port(self):
        listening = self.inside("alder", "ss", "-Hltn").stdout
        self.assertNotIn(":8500 ", listening)
        self.assertIn("127.0.0.1:8501 ", listening)
        self.assertIn("192.0.2.11:8501 ", listening)
        self.assertNotRegex(listening, r"(0\.0\.0\.0|\*|\[::\]):\d+ ")

    def test_api_refuses_who_has_no_certificate_of_the_cluster(self):
        stranger = self.foreign.issue("stranger", "cli.c.consul")
        self.assertNotEqual(self.consul("alder", "members", certificate=stranger).returncode, 0)
        self.assertEqual(self.consul("alder", "members").returncode, 0)

    def test_running_agents_take_over_what_they_are_only_reloaded_for(self):
        for node, change in [
            ("elm", {"node_meta": {"site": "brest", "tags": "fast"}, "log_level": "WARN"}),
            ("alder", {"retry_join": [*SERVERS.values(), "192.0.2.98", "192.0.2.99"], "bootstrap_expect": 5}),
        ]:
            path = self.folder / node / "consul.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | change))
            self.processes[node].send_signal(signal.SIGHUP)
        tagged = lambda: self.consul("alder", "catalog nodes", "-node-meta=tags=fast").stdout
        self.wait(lambda: "elm" in tagged(), "elm's tag is known")
        self.wait(lambda: "Reload" in self.log("alder") or "hangup" in self.log("alder"), "alder is reloaded")
        for node in ["elm", "alder"]:
            self.assertIsNone(self.processes[node].poll())
            self.assertNotRegex(self.log(node), "(?i)reload.*failed")
        self.assertEqual(set(self.raft("alder")), set(SERVERS))

    def test_names_of_nodes_and_services(self):
        self.assertEqual(self.dns("elm", "alder.node.consul", 8600), ["192.0.2.11"])
        self.assertEqual(self.dns("elm", "consul.service.consul", 8600), sorted(SERVERS.values()))

    def test_local_resolver_knows_them(self):
        settings = self.made["elm"]["resolver"]
        lines = ["server:", '  chroot: ""', '  username: ""', '  pidfile: ""', f"  directory: {self.folder}"]
        for name in ["interface", "access-control", "ip-freebind", "do-not-query-localhost", "domain-insecure"]:
            values = settings["server"][name]
            for value in values if isinstance(values, list) else [values]:
                lines.append(f"  {name}: {({True: 'yes', False: 'no'}).get(value, value)}")
        for zone in settings["forward-zone"]:
            lines.append("forward-zone:")
            for name, values in zone.items():
                for value in values if isinstance(values, list) else [values]:
                    lines.append(f"  {name}: {({True: 'yes', False: 'no'}).get(value, value)}")
        (self.folder / "unbound.conf").write_text("\n".join(lines) + "\n")
        said = self.folder / "unbound.log"
        with open(said, "w", encoding="utf-8") as log:
            resolver = subprocess.Popen(
                ["ip", "netns", "exec", self.network.name("elm"), ROOT / "checks/lab/unbound", "unbound", "-d", "-c", self.folder / "unbound.conf"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

        def listens():
            if resolver.poll() is not None:
                raise AssertionError(f"the resolver has ended with {resolver.returncode}:\n{said.read_text()}")
            return "127.0.0.1:53 " in self.inside("elm", "ss", "-Hlun").stdout

        try:
            self.wait(listens, lambda: f"the resolver listens:\n{said.read_text()}")
            self.assertEqual(self.dns("elm", "consul.service.consul", 53), sorted(SERVERS.values()), said.read_text())
        finally:
            resolver.kill()
            resolver.wait()


def as_node(name):
    """Turns another node's configuration into that of this intruder."""
    address = INTRUDERS[name]
    return lambda old: old | {
        "node_name": name,
        "bind_addr": address,
        "advertise_addr": address,
        "addresses": {"https": "127.0.0.1"},
    }


@unittest.skipUnless(os.geteuid() == 0, "namespaces need root")
class Strangers(Cluster):
    def test_node_with_a_foreign_certificate_is_not_let_in(self):
        certificate = self.foreign.issue("fir", "client.c.consul")
        self.consul("alder", "kv put", "greeting", "hello")
        self.start(
            "fir", INTRUDERS["fir"], self.made["elm"], certificate, authority=self.foreign, change=as_node("fir")
        )  # fmt: skip
        self.wait(
            lambda: "certificate signed by unknown authority" in self.log("fir"), "fir fails to speak to a server"
        )  # fmt: skip
        name, key = certificate
        done = self.inside(
            "fir", self.program, "kv", "get", "-http-addr=https://127.0.0.1:8501",
            f"-ca-file={self.foreign.folder / 'ca.crt'}", f"-client-cert={name}", f"-client-key={key}", "greeting",
        )  # fmt: skip
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("hello", done.stdout)
        self.assertEqual(self.consul("elm", "kv get", "greeting").stdout.strip(), "hello")

    def test_node_without_the_gossip_key_is_not_let_in(self):
        certificate = self.authority.issue("gorse", "client.c.consul")
        other = run("openssl", "rand", "-base64", "32")
        self.start(
            "gorse", INTRUDERS["gorse"], self.made["elm"], certificate, gossip=other, change=as_node("gorse")
        )  # fmt: skip
        self.wait(
            lambda: any("No installed keys could decrypt the message" in self.log(server) for server in SERVERS),
            "a server hears gorse",
        )
        self.assertNotIn("gorse", self.members("alder"))


@unittest.skipUnless(os.geteuid() == 0, "namespaces need root")
class Impostor(Cluster):
    def test_certificate_of_a_client_makes_no_server(self):
        certificate = self.authority.issue("hazel", "client.c.consul", "hazel.client.c.consul")
        self.start("hazel", INTRUDERS["hazel"], self.made["alder"], certificate, change=as_node("hazel"))
        self.wait(
            lambda: any("not server.c.consul" in self.log(server) for server in SERVERS),
            "a server refuses hazel's certificate",
        )
        self.assertNotEqual(self.raft("alder").get("hazel", [""] * 5)[4], "true")
        self.assertEqual(len(self.leader("alder")), 1)


if __name__ == "__main__":
    unittest.main()
