"""The files that the worked example's nodes get, read as text."""

import json
import pathlib
import re
import subprocess
import tempfile
import tomllib
import unittest

from fixture import BASE, GENUINE, ROOT, Fixture, derivation, flake_value, nix, with_more

NODE = "nixosConfigurations.prod-alder.config"

# Files by their name on NixOS, each with its name on a node of the stand-in, where it lies beside Debian's own.
ETC = {
    "consul.json": "consul.json",
    "nomad.json": "nomad.json",
    "ssh/sshd_config": "ssh/sshd_config.d/10-nixos.conf",
    "sudoers": "sudoers.d/nixos",
    "unbound/unbound.conf": "unbound/unbound.conf",
    "systemd/journald.conf": "systemd/journald.conf.d/nixos.conf",
}

# A file of /etc comes from a text or from a derivation.
SOURCES = (
    "etc: builtins.mapAttrs (name: other: let file = etc.${name} or etc.${other}; in"
    " if (file.text or null) != null then { inherit (file) text; } else { drv = file.source.drvPath; }) {"
    + " ".join(f'"{name}" = "{other}";' for name, other in ETC.items())
    + " }"
)


def ingredients(path, depth=1):
    """The texts in a derivation. Genuine nixpkgs cannot be built without its cache, but a file's text is in its derivation or, if the
    build checks the file first, in the derivation before."""
    shown = derivation(path)
    texts = [shown["env"].get(name, "") for name in ("text", "value", "buildCommand")]
    if depth:
        inputs = shown.get("inputDrvs") or shown["inputs"]["drvs"]
        stem = re.sub(r"^.*/[a-z0-9]{32}-|\.drv$|-final\.drv$", "", path)
        for other in inputs:
            if stem in other:
                texts += ingredients(other if other.startswith("/") else f"/nix/store/{other}", depth - 1)
    return texts


def built(path):
    """A file, built."""
    for installable in (f"{path}^out", path):
        done = nix("build", "--no-link", "--print-out-paths", installable)
        if done.returncode == 0 and done.stdout.strip():
            return open(done.stdout.split()[0], encoding="utf-8").read()
    done = nix("build", "--json", "--no-link", path)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return open(json.loads(done.stdout)[0]["outputs"]["out"], encoding="utf-8").read()


def content(source):
    """The text of a file of /etc."""
    if "text" in source:
        return source["text"]
    if GENUINE:
        return "\n".join(ingredients(source["drv"]))
    return built(source["drv"])


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sources = flake_value(f"{NODE}.environment.etc", "--apply", SOURCES)
        cls.files = {name: content(source) for name, source in sources.items()}

    def has(self, name, *lines):
        for line in lines:
            self.assertRegex(self.files[name], re.compile(rf"^\s*{line}\s*$", re.MULTILINE))

    def has_not(self, name, *lines):
        for line in lines:
            self.assertNotRegex(self.files[name], re.compile(rf"^\s*{line}", re.MULTILINE))

    def test_consul(self):
        consul = json.loads(self.files["consul.json"])
        self.assertEqual(consul["datacenter"], "prod")
        self.assertEqual(consul["node_name"], "alder")
        self.assertEqual(consul["node_meta"]["site"], "lyon")
        self.assertTrue(consul["server"])
        self.assertEqual(consul["bootstrap_expect"], 3)
        self.assertEqual(consul["bind_addr"], "10.83.1.1")
        self.assertEqual(consul["retry_join"], ["10.83.1.2", "10.83.2.1"], "the others: not itself")
        self.assertEqual(consul["ports"]["http"], -1)
        self.assertEqual(consul["ports"]["https"], 8501)
        self.assertNotIn("0.0.0.0", self.files["consul.json"])
        tls = consul["tls"]
        self.assertTrue(tls["defaults"]["verify_incoming"])
        self.assertTrue(tls["defaults"]["verify_outgoing"])
        self.assertTrue(tls["internal_rpc"]["verify_server_hostname"])
        self.assertEqual(tls["defaults"]["key_file"], "/var/lib/consul/pki/consul.key")
        self.assertNotIn("encrypt", consul)

    def test_nomad(self):
        text = self.files["nomad.json"]
        nomad = json.loads(text[text.index("{") : text.rindex("}") + 1])
        self.assertEqual((nomad["region"], nomad["datacenter"], nomad["name"]), ("prod", "lyon", "alder"))
        self.assertEqual(nomad["server"]["bootstrap_expect"], 3)
        self.assertTrue(nomad["client"]["enabled"])
        self.assertEqual(nomad["client"]["network_interface"], "wg0")
        self.assertEqual(nomad["client"]["meta"]["site"], "lyon")
        self.assertEqual(nomad["client"]["host_volume"]["media"]["path"], "/var/lib/media")
        for name in ["http", "rpc", "verify_server_hostname", "verify_https_client"]:
            self.assertTrue(nomad["tls"][name])
        self.assertEqual(nomad["consul"]["address"], "127.0.0.1:8501")
        self.assertTrue(nomad["consul"]["verify_ssl"])
        self.assertEqual(nomad["consul"]["cert_file"], "/var/lib/nomad/pki/consul-client.crt")
        self.assertNotIn("encrypt", text)

    def test_ssh_server(self):
        name = "ssh/sshd_config"
        self.has(name, "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin no", "Port 22")
        self.has_not(name, "PasswordAuthentication yes", "PermitRootLogin yes", "PermitEmptyPasswords yes")

    def test_sudo_asks_for_a_password(self):
        self.assertRegex(self.files["sudoers"], r"(?m)^%wheel\s+ALL=\(ALL:ALL\)")
        self.assertNotIn("NOPASSWD", self.files["sudoers"])

    def test_resolver(self):
        name = "unbound/unbound.conf"
        self.has(name, "name: consul[.]", "forward-addr: 127.0.0.1@8600", "do-not-query-localhost: no", "forward-addr: 192.0.2.1")
        self.has_not(name, "interface: 0.0.0.0", "interface: ::0")

    def test_resolver_by_its_own_checker(self):
        with tempfile.TemporaryDirectory() as folder:
            text = self.files["unbound/unbound.conf"]
            # Without the remote control, which is off and has no keys here.
            text = text[text.index("server:") :].split("remote-control:")[0].replace("/var/lib/unbound", folder)
            text += f'\nserver:\n  directory: "{folder}"\n  username: ""\n  chroot: ""\n'
            path = f"{folder}/unbound.conf"
            open(path, "w", encoding="utf-8").write(text)
            done = subprocess.run([ROOT / "checks/lab/unbound", "unbound-checkconf", path], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_journal_is_limited(self):
        self.has("systemd/journald.conf", "SystemMaxUse=1G", "MaxRetentionSec=3month")


class Units(unittest.TestCase):
    """Services wait for their files instead of failing."""

    @classmethod
    def setUpClass(cls):
        cls.units = flake_value(
            f"{NODE}.systemd",
            "--apply",
            "systemd: { services = builtins.mapAttrs (_: unit: {"
            " conditions = builtins.filter (path: builtins.substring 0 1 path == \"/\") (unit.unitConfig.ConditionPathExists or [ ]); script = unit.preStart or \"\"; })"
            " { inherit (systemd.services) consul nomad wgautomesh wireguard-wg0; };"
            " paths = builtins.mapAttrs (_: unit: unit.pathConfig.PathChanged) { inherit (systemd.paths) consul nomad; };"
            " rules = systemd.tmpfiles.settings.\"10-nixcfg\"; }",
        )

    def test_conditions(self):
        services = self.units["services"]
        self.assertEqual(
            services["consul"]["conditions"],
            [
                "/var/lib/consul/pki/consul-ca.crt",
                "/var/lib/consul/pki/consul.crt",
                "/var/lib/consul/pki/consul.key",
                "/var/lib/nixcfg/secrets/consul-gossip",
                "/var/lib/nixcfg/wireguard/private.key",
            ],
        )
        self.assertIn("/var/lib/nomad/pki/consul-client.key", services["nomad"]["conditions"])
        self.assertIn("/var/lib/nixcfg/secrets/nomad-gossip", services["nomad"]["conditions"])
        self.assertEqual(services["wgautomesh"]["conditions"], ["/var/lib/nixcfg/secrets/wgautomesh-gossip"])
        self.assertEqual(services["wireguard-wg0"]["conditions"], ["/var/lib/nixcfg/wireguard/private.key"])

    def test_whatever_comes_last_starts_the_service(self):
        for name, files in self.units["paths"].items():
            self.assertEqual(set(files), set(self.units["services"][name]["conditions"]))

    def test_gossip_keys_pass_no_argument_list(self):
        for name in ["consul", "nomad"]:
            script = self.units["services"][name]["script"]
            self.assertIn("umask 077", script)
            self.assertNotIn("/nix/store", script.split("umask 077")[1])
            self.assertIn('printf \'{"', script)
            self.assertNotIn("cat ", script)

    def test_folders_of_secrets_are_closed(self):
        rules = self.units["rules"]
        self.assertEqual(rules["/var/lib/nixcfg/passwords"]["d"]["mode"], "0700")
        self.assertEqual(rules["/var/lib/consul/pki"]["d"]["mode"], "0700")
        self.assertEqual(rules["/var/lib/nomad/pki"]["d"]["mode"], "0700")


class Changes(unittest.TestCase):
    """What a change of the cluster's files does to running agents, as a switch reads it from their unit files."""

    MORE_SERVERS = {
        f"node/{node}.nix": BASE["node/alder.nix"].replace("nodes.alder", f"nodes.{node}").replace("192.0.2.11", address)
        for node, address in [("dogwood", "192.0.2.14"), ("elm", "192.0.2.15")]
    }

    @classmethod
    def setUpClass(cls):
        cls.before = cls.units({})

    @classmethod
    def units(cls, files):
        """Agent → the parts of its unit file whose change means a restart, and a reload."""
        with Fixture(files) as fixture:
            texts = fixture.value(
                "nixosConfigurations.c-alder.config",
                "config: let units = config.system.build.standinUnits or config.systemd.units;"
                ' in builtins.mapAttrs (_: unit: unit.text) { inherit (units) "consul.service" "nomad.service"; }',
            )
        reload = re.compile(r"(?m)^X-Reload-Triggers=(.*)$")
        return {
            unit.removesuffix(".service"): (reload.sub("", text), reload.findall(text)) for unit, text in texts.items()
        }

    def after(self, files):
        """Agent → what a switch does to it."""
        became = {}
        for app, (restart, reload) in self.units(files).items():
            if restart != self.before[app][0]:
                became[app] = "restarted"
            else:
                became[app] = "untouched" if reload == self.before[app][1] else "reloaded"
        return became

    def changed(self, name, more):
        return {name: with_more(name, more)}

    def test_nothing(self):
        self.assertEqual(self.after({}), {"consul": "untouched", "nomad": "untouched"})

    def test_more_servers_restart_no_agent(self):
        self.assertEqual(self.after(self.MORE_SERVERS), {"consul": "reloaded", "nomad": "reloaded"})

    def test_another_tag_restarts_nomad_alone_which_cannot_reload_it(self):
        files = self.changed("node/alder.nix", '{ cluster.nodes.alder.tags = [ "fast" ]; }')
        self.assertEqual(self.after(files), {"consul": "reloaded", "nomad": "restarted"})

    def test_another_level_of_logging_is_reloaded(self):
        files = self.changed(
            "cluster.nix",
            '{ services.consul.extraConfig.log_level = "WARN"; services.nomad.settings.log_level = "WARN"; }',
        )
        self.assertEqual(self.after(files), {"consul": "reloaded", "nomad": "reloaded"})

    def test_another_port_or_address_restarts(self):
        files = self.changed("cluster.nix", "{ cluster.consul.httpsPort = 8511; cluster.nomad.httpPort = 4656; }")
        self.assertEqual(self.after(files), {"consul": "restarted", "nomad": "restarted"})
        files = {"node/alder.nix": BASE["node/alder.nix"].replace("192.0.2.11", "192.0.2.21")}
        self.assertEqual(self.after(files), {"consul": "restarted", "nomad": "restarted"})

    def test_both_are_reloaded_by_a_signal_as_they_have_no_plain_port(self):
        for app in ["consul", "nomad"]:
            self.assertRegex(self.before[app][0], r"(?m)^ExecReload=\S*/bin/kill -HUP \$MAINPID$")


class Unprivileged(unittest.TestCase):
    """Nomad as a dynamic user: a group lets it read its files, and systemd gives it the gossip key."""

    def test_nomad_without_privileges(self):
        files = {"cluster.nix": with_more("cluster.nix", "{ cluster.nomad.dropPrivileges = true; }")}
        with Fixture(files) as fixture:
            place = fixture.value()["pki"]["nomad"]
            made = fixture.value(
                "nixosConfigurations.c-alder.config",
                "config: let units = config.system.build.standinUnits or config.systemd.units; in {"
                ' unit = units."nomad.service".text; rules = config.systemd.tmpfiles.settings."10-nixcfg";'
                " groups = builtins.attrNames config.users.groups; tls = config.services.nomad.settings.tls; }",
            )
        self.assertEqual((place["owner"], place["group"], place["groupReads"]), ("root", "nomad-pki", True))
        rule = made["rules"][place["directory"]]["d"]
        self.assertEqual((rule["mode"], rule["user"], rule["group"]), ("0750", "root", "nomad-pki"))
        self.assertIn("nomad-pki", made["groups"])
        self.assertEqual(made["tls"]["key_file"], f"{place['directory']}/nomad.key")
        # systemd moves the folder of a dynamic user, /var/lib/nomad, below /var/lib/private (systemd.exec(5), StateDirectory=).
        self.assertFalse(place["directory"].startswith("/var/lib/nomad"))
        for line in ["DynamicUser=(true|yes)", "SupplementaryGroups=.*nomad-pki", "LoadCredential=gossip:/var/lib/nixcfg/secrets/nomad-gossip"]:
            self.assertRegex(made["unit"], rf"(?m)^{line}$")
        self.assertIn(f"ConditionPathExists={place['directory']}/nomad.key", made["unit"])


class Outside(unittest.TestCase):
    """The firewall's rules and the overlay's peers, in the files that the programs read."""

    @classmethod
    def setUpClass(cls):
        found = flake_value(
            NODE,
            "--apply",
            "config: let inherit (config.systemd.services) firewall wgautomesh; rules = config.environment.etc.\"nftables/nixos.nft\" or null;"
            " made = unit: builtins.concatMap (line: builtins.attrNames (builtins.getContext line))"
            " ([ unit.serviceConfig.ExecStart ] ++ (unit.serviceConfig.ExecStartPre or [ ]));"
            " in { firewall = if rules != null then { inherit (rules) text; } else { drv = made firewall; }; mesh = made wgautomesh; }",
        )
        rules = found["firewall"]
        cls.rules = rules["text"] if "text" in rules else "\n".join(ingredients(next(drv for drv in rules["drv"] if "firewall-start" in drv)))
        mesh = next(drv for drv in found["mesh"] if re.search(r"wgautomesh[a-z-]*\.toml\.drv$", drv))
        if GENUINE:
            cls.mesh = json.loads(derivation(mesh)["env"]["value"])
        else:
            cls.mesh = tomllib.loads(built(mesh))

    @classmethod
    def let_in(cls):
        """The ports that are open, as (interface or None, protocol, ports), and the lines that let in anything else."""
        ports, others = set(), []
        for line in map(str.strip, cls.rules.splitlines()):
            shell = re.fullmatch(r"ip46tables -A nixos-fw -p (\w+) --dport (\S+) -j nixos-fw-accept(?: -i (\S+))? ?", line)
            nft = re.fullmatch(r'(?:iifname "(\w+)" )?(tcp|udp) dport \{ (.*) \} accept', line)
            if shell:
                ports.add((shell[3], shell[1], shell[2].replace(":", "-")))
            elif nft:
                ports |= {(nft[1], nft[2], port) for port in nft[3].split(", ")}
            elif re.search(r"-A nixos-fw .*-j nixos-fw-accept| accept$", line):
                others.append(line)
        return ports, others

    def test_what_the_firewall_lets_in(self):
        ports, others = self.let_in()
        outside = {(None, "tcp", "22"), (None, "udp", "1666"), (None, "udp", "51820")}
        inside = {("wg0", "tcp", str(port)) for port in [4646, 4647, 4648, 8300, 8301, 8501]}
        inside |= {("wg0", "udp", str(port)) for port in [4648, 8301]}
        inside |= {("wg0", protocol, "20000-32000") for protocol in ["tcp", "udp"]}
        containers = {(bridge, protocol, "53") for bridge in ["docker0", "nomad"] for protocol in ["tcp", "udp"]}
        self.assertEqual(ports, outside | inside | containers)
        # The rest: answers, the node's own packets, echo requests, and ICMPv6.
        known = r"-i lo |iifname \"lo\"|ESTABLISHED,RELATED|established, related|icmp|fe80::/64"
        self.assertEqual([line for line in others if not re.search(known, line)], [])
        self.assertGreaterEqual(len(others), 4)

    @unittest.skipIf(GENUINE, "its script is made of commands")
    def test_nft_understands_the_rules(self):
        done = subprocess.run(
            ["unshare", "--net", "nft", "--check", "--file", "/dev/stdin"], input=self.rules, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_wgautomesh_is_told(self):
        self.assertEqual((self.mesh["interface"], self.mesh["gossip_port"]), ("wg0", 1666))
        peers = [(peer["pubkey"], peer["address"], peer["endpoint"]) for peer in self.mesh["peers"]]
        self.assertEqual([peer[1:] for peer in peers], [("10.83.1.2", "192.0.2.12:51820"), ("10.83.2.1", "198.51.100.11:51820")])
        self.assertTrue(all(re.fullmatch(r"[A-Za-z0-9+/]{43}=", key) for key, _, _ in peers))
        self.assertNotIn("gossip_secret", self.mesh)
        if GENUINE:
            self.assertEqual(self.mesh["gossip_secret_file"], "$CREDENTIALS_DIRECTORY/gossip_secret")


class Firewall(unittest.TestCase):
    def test_the_page_on_networking_lists_just_what_is_open(self):
        page = (ROOT / "doc/networking.md").read_text(encoding="utf-8")
        outside, between = page.split("## Between nodes")
        rows = lambda text, protocol: sorted(set(re.findall(rf"(?m)^\| ([0-9-]+) {protocol} \|", text)))
        firewall = flake_value(
            f"{NODE}.networking.firewall",
            "--apply",
            "firewall: let ports = of: { TCP = of.allowedTCPPorts; UDP = of.allowedUDPPorts;"
            " ranges = { TCP = of.allowedTCPPortRanges; UDP = of.allowedUDPPortRanges; }; };"
            " in { outside = ports firewall; between = ports firewall.interfaces.wg0; }",
        )
        for text, opened in [(outside, firewall["outside"]), (between, firewall["between"])]:
            for protocol in ["TCP", "UDP"]:
                ranges = [f"{one['from']}-{one['to']}" for one in opened["ranges"][protocol]]
                self.assertEqual(rows(text, protocol), sorted({*map(str, opened[protocol]), *ranges}))

    def test_without_an_overlay_the_other_nodes_alone_get_in(self):
        files = {
            "node/birch.nix": with_more(
                "node/birch.nix", '{ cluster.nodes.birch.address.ipv6 = "2001:db8::12"; }'
            )
        }
        with Fixture(files) as fixture:
            firewall = fixture.value(
                "nixosConfigurations.c-alder.config.networking.firewall",
                "firewall: { inherit (firewall) allowedTCPPorts allowedUDPPorts extraCommands; }",
            )
        self.assertEqual(firewall["allowedTCPPorts"], [22])
        self.assertEqual(firewall["allowedUDPPorts"], [])
        ours = re.findall(r"(?m)^(ip6?tables) -w -A nixos-fw -s (\S+) -p (\w+) .*$", firewall["extraCommands"])
        self.assertEqual(
            sorted(ours),
            sorted(
                (command, address, protocol)
                for command, address in [
                    ("iptables", "192.0.2.12"),
                    ("iptables", "192.0.2.13"),
                    ("ip6tables", "2001:db8::12"),
                ]
                for protocol in ["tcp", "udp"]
            ),
        )
        self.assertNotIn("192.0.2.11", firewall["extraCommands"])

    def test_the_same_with_nftables(self):
        files = {
            "cluster.nix": with_more("cluster.nix", "{ networking.nftables.enable = true; }"),
            "node/birch.nix": with_more(
                "node/birch.nix", '{ cluster.nodes.birch.address.ipv6 = "2001:db8::12"; }'
            ),
        }
        with Fixture(files) as fixture:
            rules = fixture.value(
                "nixosConfigurations.c-alder.config.networking.firewall.extraInputRules"
            ).splitlines()
        for start in ["ip saddr 192.0.2.12", "ip saddr 192.0.2.13", "ip6 saddr 2001:db8::12"]:
            self.assertEqual(
                [rule for rule in rules if rule.startswith(start)],
                [
                    f"{start} tcp dport {{ 8300, 8301, 8501, 4646, 4647, 4648, 20000-32000 }} accept",
                    f"{start} udp dport {{ 8301, 4648, 20000-32000 }} accept",
                ],
            )
        self.assertNotIn("192.0.2.11", "\n".join(rules))


class Overlay(unittest.TestCase):
    def test_keys_are_files_on_the_node(self):
        interface = flake_value(
            f"{NODE}.networking.wireguard.interfaces.wg0",
            "--apply",
            "wg: { inherit (wg) ips listenPort privateKeyFile generatePrivateKeyFile; }",
        )
        self.assertEqual(
            interface,
            {
                "ips": ["10.83.1.1/16"],
                "listenPort": 51820,
                "privateKeyFile": "/var/lib/nixcfg/wireguard/private.key",
                "generatePrivateKeyFile": False,
            },
        )

    def test_static_peers(self):
        files = {
            "cluster.nix": with_more(
                "cluster.nix",
                '{ cluster.wireguard = { enable = true; peers = "static"; keys = "node"; }; }',
            )
        }
        key = "n8/vLJcAjTJduA1i++TOAu1P0KyXw1cD5BQWMydJo2U="
        for number, node in enumerate(["alder", "birch", "cedar"], 1):
            public = f'publicKey = "{key}"; endpoint = "203.0.113.9:51820";' if node == "birch" else ""
            files[f"node/{node}.nix"] = with_more(
                f"node/{node}.nix",
                '{ cluster.nodes.%s.wireguard = { address = "10.83.0.%d"; %s }; }' % (node, number, public),
            )
        with Fixture(files) as fixture:
            self.assertNotIn("wgautomesh-gossip", fixture.value()["secrets"])
            self.assertNotIn("wireguard", fixture.value()["secrets"])
            interface = fixture.value(
                "nixosConfigurations.c-alder.config.networking.wireguard.interfaces.wg0",
                "wg: { inherit (wg) generatePrivateKeyFile; peers ="
                " map (peer: { inherit (peer) publicKey endpoint allowedIPs; }) wg.peers; }",
            )
        self.assertTrue(interface["generatePrivateKeyFile"])
        self.assertEqual(
            interface["peers"],
            [{"publicKey": key, "endpoint": "203.0.113.9:51820", "allowedIPs": ["10.83.0.2/32"]}],
        )


class Expiry(unittest.TestCase):
    """The nodes' unit that checks the certificates in use."""

    def check(self, days):
        """The exit code and the output of the unit's script, with certificates that end in so many days."""
        with tempfile.TemporaryDirectory() as folder:
            script = flake_value(f"{NODE}.systemd.services.nixcfg-pki-expiry.script")
            for app in ["consul", "nomad"]:
                (pathlib.Path(folder) / app).mkdir()
                script = script.replace(f"/var/lib/{app}/pki", f"{folder}/{app}")
            for name in days:
                subprocess.run(
                    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", "/CN=test", "-days", str(days[name]), "-keyout", f"{folder}/key", "-out", f"{folder}/{name}"],
                    check=True, capture_output=True,
                )  # fmt: skip
            done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout.replace(folder, "")

    def test_a_bare_node_is_well(self):
        self.assertEqual(self.check({}), (0, ""))

    def test_certificates_with_time_left_are_well(self):
        self.assertEqual(self.check({"consul/consul.crt": 22, "nomad/nomad.crt": 400}), (0, ""))

    def test_every_certificate_that_ends_soon_is_named(self):
        code, said = self.check(
            {"consul/consul.crt": 20, "consul/consul-ca.crt": 400, "nomad/consul-client.crt": 5, "nomad/nomad.crt": 60}
        )
        self.assertEqual(code, 1)
        self.assertIn("/consul/consul.crt: notAfter=", said)
        self.assertIn("/nomad/consul-client.crt: notAfter=", said)
        self.assertNotIn("consul-ca", said)
        self.assertNotIn("nomad.crt", said)

    def test_certificates_of_past_years_are_not_looked_at(self):
        self.assertEqual(self.check({"consul/consul2020.crt": 1, "consul/consul.crt": 90}), (0, ""))


class Roles(unittest.TestCase):
    def test_client_is_no_server(self):
        files = {
            f"node/{node}.nix": BASE[f"node/{node}.nix"].replace('"server"', '"client"')
            for node in ["birch", "cedar"]
        }
        with Fixture(files) as fixture:
            consul = json.loads(
                fixture.value('nixosConfigurations.c-birch.config.environment.etc."consul.json".text')
            )
            nomad = fixture.value("nixosConfigurations.c-birch.config.services.nomad.settings")
            secrets = fixture.value()["secrets"]
        self.assertFalse(consul["server"])
        self.assertNotIn("bootstrap_expect", consul)
        self.assertEqual(consul["retry_join"], ["192.0.2.11"])
        self.assertFalse(nomad.get("server", {}).get("enabled", False))
        self.assertEqual(nomad["client"]["server_join"]["retry_join"], ["192.0.2.11:4647"])
        self.assertEqual(secrets["nomad-gossip"]["nodes"], ["alder"])

    def test_nodes_that_have_ipv6_alone(self):
        files = {
            f"node/{node}.nix": BASE[f"node/{node}.nix"].replace(
                f'ipv4 = "192.0.2.{number}"', f'ipv6 = "2001:db8::{number}"'
            )
            for number, node in enumerate(["alder", "birch", "cedar"], 11)
        }
        with Fixture(files) as fixture:
            consul = json.loads(
                fixture.value('nixosConfigurations.c-birch.config.environment.etc."consul.json".text')
            )
            nomad = fixture.value("nixosConfigurations.c-birch.config.services.nomad.settings")
        self.assertEqual(consul["bind_addr"], "2001:db8::12")
        self.assertEqual(consul["retry_join"], ["[2001:db8::11]", "[2001:db8::13]"])
        self.assertEqual(nomad["advertise"]["rpc"], "2001:db8::12")
        self.assertEqual(nomad["server"]["server_join"]["retry_join"][0], "[2001:db8::11]:4648")
        self.assertEqual(nomad["client"]["server_join"]["retry_join"][0], "[2001:db8::11]:4647")


class Accounts(unittest.TestCase):
    def test_administrators(self):
        users = flake_value(
            f"{NODE}.users",
            "--apply",
            "users: { inherit (users) mutableUsers; admins = builtins.mapAttrs (_: user:"
            " { inherit (user) isNormalUser extraGroups hashedPasswordFile; keys = user.openssh.authorizedKeys.keys; })"
            " { inherit (users.users) alice bob; }; root = users.users.root.openssh.authorizedKeys.keys; }",
        )
        self.assertTrue(users["mutableUsers"])
        self.assertEqual(users["root"], [])
        for name, admin in users["admins"].items():
            self.assertEqual(admin["extraGroups"], ["wheel"])
            self.assertEqual(admin["hashedPasswordFile"], f"/var/lib/nixcfg/passwords/{name}")
            self.assertEqual(len(admin["keys"]), 1)

    def test_nobody_but_root_is_trusted_by_nix(self):
        self.assertEqual(set(flake_value(f"{NODE}.nix.settings.trusted-users")), {"root"})

    def test_remote_unlock(self):
        files = {"cluster.nix": with_more("cluster.nix", "{ cluster.remoteUnlock.enable = true; }")}
        for length, mask in [(24, "255.255.255.0"), (22, "255.255.252.0"), (25, "255.255.255.128")]:
            files["node/alder.nix"] = with_more(
                "node/alder.nix", '{ cluster.nodes.alder.interface = "eno1"; }'
            )
            files["site/lyon.nix"] = with_more(
                "site/lyon.nix", "{ cluster.sites.lyon.prefixLength.ipv4 = %d; }" % length
            )
            with self.subTest(length=length), Fixture(files) as fixture:
                parameters = fixture.value("nixosConfigurations.c-alder.config.boot.kernelParams")
                self.assertIn(f"ip=192.0.2.11::192.0.2.1:{mask}:alder:eno1:off", parameters)
        with Fixture(files) as fixture:
            ssh = fixture.value(
                "nixosConfigurations.c-alder.config.boot.initrd.network.ssh",
                "ssh: { inherit (ssh) enable port hostKeys; keys = builtins.length ssh.authorizedKeys; }",
            )
        self.assertEqual(
            ssh,
            {
                "enable": True,
                "port": 2222,
                "hostKeys": ["/var/lib/nixcfg/initrd/ssh_host_ed25519_key"],
                "keys": 1,
            },
        )

    def test_remote_unlock_waits_for_the_passphrase_without_an_end(self):
        """systemd in stage 1 gives up on a device after 90 seconds, unless fileSystems calls it by its name in /dev/mapper."""
        files = {"cluster.nix": with_more("cluster.nix", "{ cluster.remoteUnlock.enable = true; }")}
        with Fixture(files) as fixture:
            contents = fixture.value(
                "nixosConfigurations.c-alder.config.boot.initrd.systemd.contents", "builtins.mapAttrs (_: file: file.text)"
            )
        self.assertEqual(
            contents.get("/etc/systemd/system.conf.d/remote-unlock.conf"), "[Manager]\nDefaultDeviceTimeoutSec=infinity\n"
        )

    def test_remote_unlock_takes_any_number_of_passphrases(self):
        """systemd in stage 1 gives up after three wrong ones."""
        devices = """boot.initrd.luks.devices = {
          root.device = "/dev/vda2";
          more = { device = "/dev/vda3"; crypttabExtraOpts = [ "x" ]; };
        };"""
        for enable, expected in (("true", [["x", "tries=0"], ["tries=0"]]), ("false", [["x"], []])):
            files = {"cluster.nix": with_more("cluster.nix", "{ %s cluster.remoteUnlock.enable = %s; }" % (devices, enable))}
            with self.subTest(enable=enable), Fixture(files) as fixture:
                options = fixture.value(
                    "nixosConfigurations.c-alder.config.boot.initrd.luks.devices",
                    "devices: map (device: device.crypttabExtraOpts or [ ]) (builtins.attrValues devices)",
                )
                self.assertEqual([sorted(some) for some in options], [sorted(some) for some in expected])

    def test_remote_unlock_ends_connections_before_the_network_goes(self):
        more = "{ cluster.remoteUnlock.enable = true; boot.initrd.systemd.enable = %s; }"
        for scripts in (True, False):
            files = {"cluster.nix": with_more("cluster.nix", more % ("false" if scripts else "true"))}
            with self.subTest(scripts=scripts), Fixture(files) as fixture:
                commands = fixture.value("nixosConfigurations.c-alder.config.boot.initrd.postMountCommands")
            first = commands.split("\n")[0]
            self.assertEqual("pkill -x sshd-session" in first, scripts, commands)

    def test_remote_unlock_by_ipv6_alone_needs_systemd_in_stage_1(self):
        files = {
            "cluster.nix": with_more("cluster.nix", "{ cluster.remoteUnlock.enable = true; }"),
            "node/alder.nix": with_more(
                "node/alder.nix",
                """{ lib, ... }: { boot.loader.systemd-boot.enable = true; cluster.nodes.alder = {
                     interface = "eno1"; address.ipv4 = lib.mkForce null; address.ipv6 = "2001:db8::11"; }; }""",
            ),
            "node/birch.nix": None,
            "node/cedar.nix": None,
        }
        path = "nixosConfigurations.c-alder.config.system.build.toplevel.drvPath"
        for scripts in (True, False):
            more = "{ boot.initrd.systemd.enable = %s; }" % ("false" if scripts else "true")
            with self.subTest(scripts=scripts), Fixture({**files, "site/lyon.nix": with_more("site/lyon.nix", more)}) as fixture:
                done = fixture.evaluate(path)
            told = "reachable by IPv4 alone" in done.stderr
            self.assertEqual((done.returncode != 0, told), (scripts, scripts), done.stderr)


if __name__ == "__main__":
    unittest.main()
