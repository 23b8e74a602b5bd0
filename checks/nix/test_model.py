"""Mistakes in a cluster's files are told, and correct files are evaluated as they say."""

import re
import unittest

from fixture import BASE, GENUINE, HERE, KEY, NIXPKGS, ROOT, Fixture, with_more

# An RSA key of 1024 bits. Nobody has its private key.
RSA = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDQFiGSIFS3XmmLTTIDmVCsphgfkmWiHo9iLP3ZW3IdwTcEPJzI"
    "3Le+yiVaHXEZRh5Yv/HCefjGtts5RiZtSKpwJHLbExSCRkhcXfC7fMnYZTtze643mBx2EZ/ydp3HVeawiOEF0WDzMiSEsAfRlJtNLLuoQczqtKvaAdNqfQeczQ=="
)


class Refused(unittest.TestCase):
    """Each mistake in the files stops the evaluation with a message that says where to look."""

    def refused(self, files, *expected, attribute="clusters.c", arguments=None):
        with Fixture(files, arguments) as fixture:
            done = fixture.evaluate(attribute)
        self.assertNotEqual(done.returncode, 0, "it was accepted")
        for text in expected:
            self.assertIn(text, done.stderr)

    def node(self, name, *more):
        return {f"node/{name}.nix": with_more(f"node/{name}.nix", *more)}

    def cluster(self, *more):
        return {"cluster.nix": with_more("cluster.nix", *more)}

    def test_node_that_names_a_missing_site(self):
        self.refused(
            {"node/alder.nix": BASE["node/alder.nix"].replace('"lyon"', '"lyonn"')},
            "node alder (cluster/c/node/alder.nix) names the site ‘lyonn’, "
            "but there is no cluster/c/site/lyonn.nix; sites: brest, lyon",
        )

    def test_node_that_names_no_site(self):
        self.refused(
            {"node/alder.nix": '{ cluster.nodes.alder.address.ipv4 = "192.0.2.11"; }'},
            "cluster.nodes.alder.site",
        )

    def test_node_file_that_describes_no_node(self):
        self.refused(
            {"node/alder.nix": "{ }"},
            "cluster/c/node/alder.nix does not set cluster.nodes.alder.site",
        )

    def test_node_file_that_describes_another_node(self):
        self.refused(
            self.node("alder", '{ cluster.nodes.birhc.site = "lyon"; }'),
            "cluster/c/node/alder.nix describes the node ‘birhc’; it may describe ‘alder’ alone",
        )

    def test_site_file_that_describes_another_site(self):
        self.refused(
            {"site/brest.nix": "{ cluster.sites.brset = { }; }"},
            "cluster/c/site/brest.nix describes the site ‘brset’",
        )

    def test_cluster_without_nodes(self):
        self.refused(
            {name: None for name in BASE if name.startswith("node/")},
            "there is no file in cluster/c/node/",
        )

    def test_two_nodes_with_one_ipv4_address(self):
        self.refused(
            {"node/birch.nix": BASE["node/birch.nix"].replace("192.0.2.12", "192.0.2.11")},
            "the IPv4 address 192.0.2.11 belongs to more than one node: alder, birch",
        )

    def test_two_nodes_with_one_ipv6_address(self):
        self.refused(
            self.node("alder", '{ cluster.nodes.alder.address.ipv6 = "2001:db8::1"; }')
            | self.node("cedar", '{ cluster.nodes.cedar.address.ipv6 = "2001:db8:0::0:1"; }'),
            "the IPv6 address 2001:0db8:0000:0000:0000:0000:0000:0001 belongs to more than one node: alder, cedar",
        )

    def test_two_nodes_with_one_overlay_address(self):
        self.refused(
            self.node("alder", '{ cluster.nodes.alder.wireguard.address = "10.83.0.1"; }')
            | self.node("cedar", '{ cluster.nodes.cedar.wireguard.address = "10.83.0.1"; }'),
            "the overlay's address 10.83.0.1 belongs to more than one node: alder, cedar",
        )

    def test_two_nodes_with_one_wireguard_key(self):
        key = "n8/vLJcAjTJduA1i++TOAu1P0KyXw1cD5BQWMydJo2U="
        self.refused(
            self.node("alder", f'{{ cluster.nodes.alder.wireguard.publicKey = "{key}"; }}')
            | self.node("cedar", f'{{ cluster.nodes.cedar.wireguard.publicKey = "{key}"; }}'),
            f"the WireGuard key {key} belongs to more than one node: alder, cedar",
        )

    def test_node_without_an_address(self):
        self.refused(
            {"node/alder.nix": '{ cluster.nodes.alder = { site = "lyon"; role = "server"; }; }'},
            "node alder (cluster/c/node/alder.nix) has no address",
        )

    def test_node_outside_the_overlay(self):
        self.refused(
            self.cluster("{ cluster.wireguard.enable = true; }"),
            "node alder (cluster/c/node/alder.nix) has no address in the overlay",
        )

    def test_even_number_of_servers(self):
        self.refused(
            {"node/birch.nix": BASE["node/birch.nix"].replace('"server"', '"client"')},
            "it has 2 servers (alder, cedar): an even number outlives no more losses",
        )

    def test_no_server(self):
        self.refused(
            {
                name: text.replace('"server"', '"client"')
                for name, text in BASE.items()
                if name.startswith("node/")
            },
            "no node has the role ‘server’",
        )

    def test_no_administrator(self):
        self.refused(
            {"cluster.nix": '{ cluster.domain = "c.example.org"; }'},
            "node alder (cluster/c/node/alder.nix) would have no administrator with an SSH key",
            "node cedar (cluster/c/node/cedar.nix) would have no administrator with an SSH key",
        )

    def test_administrator_without_a_key(self):
        self.refused(
            {"cluster.nix": '{ cluster.domain = "c.example.org"; cluster.admins.alice = { }; }'},
            "would have no administrator with an SSH key",
        )

    def test_administrator_of_another_site_alone(self):
        files = {
            "cluster.nix": '{ cluster.domain = "c.example.org"; }',
            "site/lyon.nix": f'{{ cluster.admins.bob.keys = [ "{KEY}" ]; }}',
        }
        with Fixture(files) as fixture:
            done = fixture.evaluate()
        self.assertNotIn("node alder", done.stderr)
        self.assertIn("node cedar (cluster/c/node/cedar.nix) would have no administrator", done.stderr)

    def test_several_mistakes_are_all_told(self):
        self.refused(
            {
                "node/birch.nix": BASE["node/birch.nix"]
                .replace("192.0.2.12", "192.0.2.11")
                .replace('"server"', '"client"')
            },
            "cluster ‘c’ cannot be used:",
            "the IPv4 address 192.0.2.11",
            "it has 2 servers",
        )

    def test_misspelt_option_of_the_cluster(self):
        self.refused(
            self.cluster("{ cluster.nodees.alder = { }; }"), "`cluster.nodees' does not exist"
        )

    def test_misspelt_option_of_a_node(self):
        self.refused(
            self.node("alder", '{ cluster.nodes.alder.adress.ipv4 = "192.0.2.9"; }'),
            "`cluster.nodes.alder.adress' does not exist",
        )

    def test_role_that_does_not_exist(self):
        self.refused(
            {"node/alder.nix": BASE["node/alder.nix"].replace('"server"', '"sever"')},
            "`cluster.nodes.alder.role' is not of type",
        )

    def test_address_that_is_none(self):
        for address in ["192.0.2.256", "192.0.2", "192.0.2.1/24", "2001:db8::1", "host"]:
            with self.subTest(address=address):
                self.refused(
                    {"node/alder.nix": BASE["node/alder.nix"].replace("192.0.2.11", address)},
                    "`cluster.nodes.alder.address.ipv4' is not of type `null or IPv4 address'",
                )

    def test_ipv6_address_that_is_none(self):
        for address in ["192.0.2.1", "2001:DB8::1", "fe80::1%eth0", "2001", "2001:db8:::1", "2001:db8::1::2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1:2:3:4:5:6:7:8", "2001:db8::12345", ":1::2", "1:"]:
            with self.subTest(address=address):
                self.refused(
                    self.node("alder", f'{{ cluster.nodes.alder.address.ipv6 = "{address}"; }}'),
                    "`cluster.nodes.alder.address.ipv6' is not of type `null or IPv6 address'",
                )

    def test_endpoint_that_is_none(self):
        for endpoint in ["192.0.2.1", "192.0.2.1:70000", "192.0.2.1:0", "2001:db8::1:51820", "[2001:db8:::1]:51820"]:
            with self.subTest(endpoint=endpoint):
                self.refused(
                    self.node("alder", f'{{ cluster.nodes.alder.wireguard.endpoint = "{endpoint}"; }}'),
                    "`cluster.nodes.alder.wireguard.endpoint' is not of type `null or host:port'",
                )

    def test_key_that_is_none(self):
        cut, other = KEY[:-1], KEY.replace("ssh-ed25519", "ssh-rsa")
        rsa_cut = RSA[:-4]
        for key in ["AAAAC3NzaC1lZDI1NTE5", "ssh-dss AAAA", "ssh-rsa AAAA x", cut, rsa_cut, f"{RSA}AAAA", other, f"from=x {KEY}", f"{KEY} a\\n{KEY} b"]:
            with self.subTest(key=key):
                self.refused(
                    self.cluster(f'{{ cluster.admins.bob.keys = [ "{key}" ]; }}'),
                    "is not of type `OpenSSH public key on one line'",
                )

    def test_names_that_are_none(self):
        self.refused(
            {"node/a.b.nix": BASE["node/alder.nix"].replace("nodes.alder", 'nodes."a.b"')},
            "cluster/c/node/a.b.nix: ‘a.b’ is no name of a node",
        )
        self.refused(
            self.cluster(f'{{ cluster.admins."J.Doe".keys = [ "{KEY}" ]; }}'),
            "the administrator ‘J.Doe’ of cluster/c/cluster.nix",
        )

    def test_nodes_that_cannot_reach_each_other(self):
        self.refused(
            {"node/alder.nix": BASE["node/alder.nix"].replace('ipv4 = "192.0.2.11"', 'ipv6 = "2001:db8::11"')},
            "no IPv4 address: alder; reached by IPv4: birch, cedar.",
        )

    def test_wireguard_key_that_is_none(self):
        self.refused(
            self.node("alder", '{ cluster.nodes.alder.wireguard.publicKey = "short="; }'),
            "`cluster.nodes.alder.wireguard.publicKey' is not of type",
        )

    def test_port_out_of_range(self):
        self.refused(
            self.node("alder", "{ cluster.nodes.alder.ssh.port = 65536; }"),
            "`cluster.nodes.alder.ssh.port' is not of type",
        )

    def test_secret_in_the_store(self):
        secret = '{ cluster.secrets.a = { generator = "hex"; path = %s; }; }'
        for path in ['"${builtins.storeDir}/secret"', "./cluster.nix", '"relative"']:
            with self.subTest(path=path):
                self.refused(self.cluster(secret % path), "`cluster.secrets.a.path' is not of type")

    def test_password_file_in_the_store(self):
        self.refused(
            self.cluster('{ cluster.admins.alice.passwordFile = "${builtins.toFile "a" ""}"; }'),
            "`cluster.admins.alice.passwordFile' is not of type",
        )

    def test_secret_that_others_may_read(self):
        for mode in ["0444", "0644", "400", "0401", "0470"]:
            with self.subTest(mode=mode):
                self.refused(
                    self.cluster(
                        f'{{ cluster.secrets.a = {{ generator = "hex"; mode = "{mode}"; }}; }}'
                    ),
                    "`cluster.secrets.a.mode' is not of type",
                )

    def test_secret_for_a_node_that_does_not_exist(self):
        for word in ["adler", "@storag", "site:paris", "role:sever"]:
            with self.subTest(word=word):
                self.refused(
                    self.cluster(
                        f'{{ cluster.secrets.a = {{ generator = "hex"; nodes = [ "{word}" ]; }}; }}'
                    ),
                    f"the secret ‘a’ is for ‘{word}’, which is no node; nodes: alder, birch, cedar",
                )

    def test_secret_that_differs_between_nodes(self):
        self.refused(
            self.node("alder", '{ cluster.secrets.a.generator = "hex"; }')
            | self.node("birch", '{ cluster.secrets.a.generator = "uuid"; }'),
            "the secret ‘a’ is declared differently for alder, birch",
        )

    def test_two_secrets_in_one_file(self):
        self.refused(
            self.cluster(
                '{ cluster.secrets.a = { generator = "hex"; path = "/var/lib/s"; };'
                ' cluster.secrets.b = { generator = "hex"; path = "/var/lib/s"; }; }'
            ),
            "the secrets a, b would be written to the same file /var/lib/s on node alder",
        )

    def test_command_generator_without_a_command(self):
        self.refused(
            self.cluster('{ cluster.secrets.a.generator = "command"; }'),
            "cluster.secrets.a.command is empty",
        )

    def test_command_of_another_generator(self):
        self.refused(
            self.cluster('{ cluster.secrets.a = { generator = "hex"; command = [ "x" ]; }; }'),
            "the secret ‘a’ has a command, but its generator is ‘hex’",
        )

    def test_two_forwards_on_one_local_port(self):
        self.refused(
            self.cluster(
                "{ cluster.forwards = {"
                ' a = { localPort = 1389; host = "a"; port = 1; };'
                ' b = { localPort = 1389; host = "b"; port = 2; }; }; }'
            ),
            "the forwards a, b have the same local port 1389",
        )

    def test_check_of_no_kind_or_of_two(self):
        for check in ["{ }", '{ tcp = "a:1"; http = "http://a/"; }']:
            with self.subTest(check=check):
                self.refused(
                    self.node("alder", "{ cluster.nodes.alder.checks.web = %s; }" % check),
                    "the check ‘web’ of node alder (cluster/c/node/alder.nix) must have one of command, http and tcp",
                )

    def test_model_made_of_packages(self):
        self.refused(
            {
                "cluster.nix": with_more(
                    "cluster.nix", "{ pkgs, ... }: { cluster.secretsPrefix = pkgs.hello.name; }"
                )
            },
            "cluster.* of cluster/c is made of `pkgs`",
        )

    def test_syntax_error_names_its_file(self):
        self.refused({"site/lyon.nix": "{ cluster.sites.lyon = ; }"}, "site/lyon.nix", "syntax error")

    def test_mistakes_stop_the_systems_as_well(self):
        self.refused(
            {"node/birch.nix": BASE["node/birch.nix"].replace("192.0.2.12", "192.0.2.11")},
            "the IPv4 address 192.0.2.11 belongs to more than one node",
            attribute="nixosConfigurations.c-cedar.config.system.build.toplevel.drvPath",
        )

    @unittest.skipIf(
        GENUINE and not (NIXPKGS / "nixos/modules/services/networking/firewall-firewalld.nix").exists(),
        "this nixpkgs has no firewalld",
    )
    def test_a_firewall_that_would_get_no_rules(self):
        firewalld = '{ networking.firewall.backend = "firewalld"; }'
        system = "nixosConfigurations.c-alder.config.system.build.toplevel.drvPath"
        daemons = "{ cluster.consul.enable = false; cluster.nomad.enable = false; }"
        overlay = '{ cluster.wireguard = { enable = true; keys = "node"; }; }'
        addresses = {
            f"node/{node}.nix": with_more(
                f"node/{node}.nix", f'{{ cluster.nodes.{node}.wireguard.address = "10.83.0.{number}"; }}'
            )
            for number, node in enumerate(["alder", "birch", "cedar"], 1)
        }
        for more in [[], [overlay], [overlay, daemons]]:
            with self.subTest(more=more):
                files = {"cluster.nix": with_more("cluster.nix", firewalld, *more), **(addresses if more else {})}
                self.refused(files, "would not reach each other", attribute=system)
        # Without daemons and overlay there are no rules to take.
        with Fixture({"cluster.nix": with_more("cluster.nix", firewalld, daemons)}) as fixture:
            done = fixture.evaluate(system)
            self.assertEqual(done.returncode, 0, done.stderr)


class Tested(unittest.TestCase):
    """Each message of the model has a test."""

    # The number of characters in a row that are enough to recognise a message.
    TELLING = 14

    def messages(self):
        """The constant parts of each line of a message."""
        for path in (ROOT / "nix").rglob("*.nix"):
            for line in path.read_text().splitlines():
                if path.name == "problems.nix" or re.search(r"\bthrow \"|\bmessage = \"", line):
                    quoted = re.split(r"(?<!\\)\"", line.split(" # ")[0])[1::2]
                    words = [part for text in quoted for part in re.split(r"\$\{.*?(?:\}|$)", text)]
                    if any(len(part) >= self.TELLING and " " in part.strip() for part in words):
                        yield words

    def test_each_message_is_expected_by_a_test(self):
        tests = "".join(path.read_text() for path in HERE.glob("test_*.py"))
        messages = list(self.messages())
        self.assertGreater(len(messages), 15)
        for words in messages:
            windows = (part[at : at + self.TELLING] for part in words for at in range(len(part) - self.TELLING + 1))
            with self.subTest(message="…".join(words)):
                self.assertTrue(any(window in tests for window in windows), "no test expects it")


class Accepted(unittest.TestCase):
    """The result has what the files say."""

    def value(self, files, attribute="clusters.c", apply=None, arguments=None):
        with Fixture(files, arguments) as fixture:
            return fixture.value(attribute, apply)

    def test_no_system_is_evaluated(self):
        trap = 'throw "a system was evaluated"'
        self.value(
            {
                "cluster.nix": with_more(
                    "cluster.nix",
                    "{ pkgs, config, ... }: {"
                    f" networking.hostName = {trap}; environment.systemPackages = [ pkgs.hello ];"
                    f" assertions = {trap}; users.users = config.does.not.exist; }}",
                )
            }
        )

    def test_site_without_settings_has_the_defaults(self):
        sites = self.value({"site/brest.nix": "{ }"})["sites"]
        self.assertEqual(sites["brest"]["prefixLength"], {"ipv4": 24, "ipv6": 64})

    def test_administrator_of_a_site_is_on_its_nodes_alone(self):
        files = {"site/lyon.nix": f'{{ cluster.admins.bob.keys = [ "{KEY}" ]; }}'}
        cluster = self.value(files)
        self.assertEqual(sorted(cluster["admins"]), ["alice", "bob"])
        admins = {name: node["admins"] for name, node in cluster["nodes"].items()}
        self.assertEqual(
            admins, {"alder": ["alice", "bob"], "birch": ["alice", "bob"], "cedar": ["alice"]}
        )
        for node, there in [("alder", True), ("cedar", False)]:
            has = self.value(
                files, f"nixosConfigurations.c-{node}.config.users.users", "users: users ? bob"
            )
            self.assertEqual(has, there)

    def test_keys_and_names_as_people_have_them(self):
        escaped = 'from=\\"192.0.2.0/24,*.example.org\\",restrict,pty'
        keys = [f"{escaped} {KEY} j@example.org", f"cert-authority {KEY}", RSA]
        quoted = " ".join(f'"{key}"' for key in keys)
        cluster = self.value({"cluster.nix": with_more("cluster.nix", f'{{ cluster.admins."j.doe".keys = [ {quoted} ]; }}')})
        self.assertEqual(len(cluster["admins"]["j.doe"]["keys"]), 3)

    def test_secrets_go_where_they_are_selected_for(self):
        def to(nodes):
            return '{ generator = "hex"; nodes = %s; }' % nodes

        secrets = self.value(
            {
                "cluster.nix": with_more(
                    "cluster.nix",
                    "{ cluster.secrets = {"
                    f' everyone = {to(chr(34) + "all" + chr(34))};'
                    f' tagged = {to("[ " + chr(34) + "@fast" + chr(34) + " ]")};'
                    f' sited = {to("[ " + chr(34) + "site:lyon" + chr(34) + " ]")};'
                    f' servers = {to("[ " + chr(34) + "role:server" + chr(34) + " ]")};'
                    f' clients = {to("[ " + chr(34) + "role:client" + chr(34) + " ]")};'
                    f' named = {to("[ " + chr(34) + "cedar" + chr(34) + " ]")};'
                    "}; }",
                ),
                "node/birch.nix": with_more(
                    "node/birch.nix",
                    '{ cluster.nodes.birch.tags = [ "fast" ]; cluster.secrets.own.generator = "uuid"; }',
                ),
            }
        )["secrets"]
        went = {name: secret["nodes"] for name, secret in secrets.items()}
        everyone = ["alder", "birch", "cedar"]
        self.assertEqual(
            went,
            {
                "everyone": everyone,
                "tagged": ["birch"],
                "sited": ["alder", "birch"],
                "servers": everyone,
                "clients": [],
                "named": ["cedar"],
                "own": ["birch"],
                "consul-gossip": everyone,
                "nomad-gossip": everyone,
            },
        )

    def test_every_node_knows_all_nodes(self):
        nodes = self.value(
            {},
            "nixosConfigurations.c-alder.config.cluster",
            "cluster: { sites = builtins.attrNames cluster.sites;"
            " nodes = builtins.mapAttrs (_: node: node.address.ipv4) cluster.nodes; }",
        )
        self.assertEqual(nodes["sites"], ["brest", "lyon"])
        self.assertEqual(
            nodes["nodes"], {"alder": "192.0.2.11", "birch": "192.0.2.12", "cedar": "192.0.2.13"}
        )

    def test_modules_and_arguments_of_another_repository(self):
        cluster = self.value(
            {"cluster.nix": with_more("cluster.nix", "{ prefix, ... }: { cluster.secretsPrefix = prefix; }")},
            arguments='{ modules = [ { cluster.mutableUsers = false; } ]; specialArgs.prefix = "theirs"; }',
        )
        self.assertEqual(cluster["secretsPrefix"], "theirs")
        self.assertEqual(cluster["mutableUsers"], False)

    def test_files_that_are_no_nodes_are_passed_over(self):
        nodes = self.value({"node/README.md": "# nodes", "node/common/disk.nix": "{ }"})["nodes"]
        self.assertEqual(sorted(nodes), ["alder", "birch", "cedar"])


if __name__ == "__main__":
    unittest.main()
