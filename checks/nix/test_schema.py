"""`clusters.<name>` has the shape that doc/cluster-schema.md describes, no more and no less."""

import re
import unittest

from fixture import ROOT, Fixture, flake_value, with_more


class Each:
    """An object whose names are free and whose values have one shape."""

    def __init__(self, shape):
        self.shape = shape


class Optional:
    """A value of a shape, or null."""

    def __init__(self, shape):
        self.shape = shape


FAMILIES = {"ipv4": Optional(str), "ipv6": Optional(str)}

SHAPE = {
    "schema": int,
    "name": str,
    "domain": str,
    "secretsPrefix": str,
    "mutableUsers": bool,
    "sites": Each(
        {
            "description": str,
            "gateway": FAMILIES,
            "prefixLength": {"ipv4": int, "ipv6": int},
            "publicAddress": FAMILIES,
            "nameservers": [str],
        }
    ),
    "nodes": Each(
        {
            "site": str,
            "system": str,
            "role": str,
            "tags": [str],
            "address": FAMILIES,
            "ssh": {"user": Optional(str), "port": int},
            "wireguard": {
                "address": Optional(str),
                "publicKey": Optional(str),
                "endpoint": Optional(str),
            },
            "checks": Each(
                {
                    "command": Optional([str]),
                    "http": Optional(str),
                    "tcp": Optional(str),
                    "attempts": int,
                    "interval": int,
                    "timeout": int,
                }
            ),
            "mutableUsers": bool,
            "admins": [str],
            "configuration": str,
        }
    ),
    "admins": Each({"keys": [str], "passwordFile": str}),
    "secrets": Each(
        {
            "generator": str,
            "length": int,
            "command": [str],
            "path": str,
            "owner": str,
            "group": str,
            "mode": str,
            "perNode": bool,
            "nodes": [str],
            "reloadUnits": [str],
            "restartUnits": [str],
        }
    ),
    "pki": {
        "perNode": bool,
        "consul": {"directory": str, "owner": str, "group": str, "groupReads": bool, "unit": str},
        "nomad": {"directory": str, "owner": str, "group": str, "groupReads": bool, "unit": str},
    },
    "consul": {"enable": bool, "datacenter": str, "domain": str, "httpsPort": int},
    "nomad": {
        "enable": bool,
        "region": str,
        "httpPort": int,
        "scheduler": {
            "algorithm": str,
            "memoryOversubscription": bool,
            "preemption": {"batch": bool, "service": bool, "sysbatch": bool, "system": bool},
        },
    },
    "apps": {"order": [str]},
    "forwards": Each({"localPort": int, "host": str, "port": int}),
}


def differences(shape, value, at="cluster"):
    """The differences between a value and its shape."""
    if isinstance(shape, Optional):
        return [] if value is None else differences(shape.shape, value, at)
    if isinstance(shape, Each):
        if not isinstance(value, dict):
            return [f"{at} is no object"]
        return [d for name, inner in value.items() for d in differences(shape.shape, inner, f"{at}.{name}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at} is no list"]
        return [d for inner in value for d in differences(shape[0], inner, f"{at}[]")]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{at} is no object"]
        found = [f"{at}.{name} is missing" for name in shape.keys() - value.keys()]
        found += [f"{at}.{name} is not in the schema" for name in value.keys() - shape.keys()]
        for name in shape.keys() & value.keys():
            found += differences(shape[name], value[name], f"{at}.{name}")
        return found
    return [] if type(value) is shape else [f"{at} is {value!r}, no {shape.__name__}"]


def names(shape):
    """Every field's name in a shape."""
    if isinstance(shape, (Optional, Each)):
        return names(shape.shape)
    if isinstance(shape, list):
        return names(shape[0])
    if isinstance(shape, dict):
        return set(shape) | {name for inner in shape.values() for name in names(inner)}
    return set()


class Schema(unittest.TestCase):
    def test_the_worked_example(self):
        cluster = flake_value("clusters.prod")
        self.assertEqual(differences(SHAPE, cluster), [])
        self.assertEqual(cluster["schema"], 1)
        self.assertEqual(cluster["name"], "prod")
        self.assertEqual(sorted(cluster["nodes"]), ["alder", "birch", "cedar"])
        self.assertEqual(cluster["nodes"]["alder"]["configuration"], "prod-alder")

    def test_a_small_cluster(self):
        with Fixture() as fixture:
            self.assertEqual(differences(SHAPE, fixture.value()), [])

    def test_a_cluster_with_everything(self):
        more = """{
          cluster = {
            wireguard.enable = true;
            remoteUnlock.enable = true;
            secrets.token = { generator = "command"; command = [ "uuidgen" ]; perNode = true; };
            forwards.ldap = { localPort = 1389; host = "bottin.service.c.consul"; port = 389; };
          };
        }"""
        files = {"cluster.nix": with_more("cluster.nix", more)}
        checks = """{
          cluster.nodes.alder.checks = {
            web.http = "http://127.0.0.1:8080/";
            database.tcp = "127.0.0.1:5432";
            unit.command = [ "systemctl" "is-active" "nginx" ];
          };
        }"""
        for number, node in enumerate(["alder", "birch", "cedar"], 1):
            files[f"node/{node}.nix"] = with_more(
                f"node/{node}.nix",
                '{ cluster.nodes.%s.wireguard.address = "10.83.0.%d"; }' % (node, number),
                *([checks] if node == "alder" else []),
            )
        with Fixture(files) as fixture:
            cluster = fixture.value()
        self.assertEqual(differences(SHAPE, cluster), [])
        self.assertEqual(sorted(cluster["nodes"]["alder"]["checks"]), ["database", "unit", "web"])
        self.assertEqual(
            sorted(cluster["secrets"]),
            [
                "consul-gossip",
                "initrd-ssh-host-key",
                "nomad-gossip",
                "token",
                "wgautomesh-gossip",
                "wireguard",
            ],
        )

    def test_the_description_has_every_field(self):
        words = set(re.findall(r"[A-Za-z0-9]+", (ROOT / "doc/cluster-schema.md").read_text()))
        self.assertEqual(names(SHAPE) - words, set())


if __name__ == "__main__":
    unittest.main()
