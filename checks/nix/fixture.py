"""Small clusters on disk, and Nix to evaluate them with."""

import json
import os
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# The folder of the nixpkgs to evaluate with: the stand-in, unless NIXPKGS names another.
NIXPKGS = pathlib.Path(os.environ.get("NIXPKGS") or ROOT / "checks/lab/nixpkgs").resolve()
GENUINE = (NIXPKGS / "pkgs/top-level/all-packages.nix").exists()

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf"

BASE = {
    "cluster.nix": f"""{{
      cluster.domain = "c.example.org";
      cluster.admins.alice.keys = [ "{KEY} alice" ];
      system.stateVersion = "26.05";
    }}""",
    "site/lyon.nix": "{ cluster.sites.lyon.gateway.ipv4 = \"192.0.2.1\"; }",
    "site/brest.nix": "{ cluster.sites.brest = { }; }",
}
for _number, (_node, _site) in enumerate([("alder", "lyon"), ("birch", "lyon"), ("cedar", "brest")], 11):
    BASE[f"node/{_node}.nix"] = f"""{{
      boot.loader.grub.enable = false;
      fileSystems."/" = {{ device = "/dev/disk/by-label/nixos"; fsType = "ext4"; }};
      cluster.nodes.{_node} = {{ site = "{_site}"; role = "server"; address.ipv4 = "192.0.2.{_number}"; }};
    }}"""


def with_more(name, *additions):
    """The base cluster's file `name` with further modules imported into it."""
    return "{ imports = [ (%s) %s ]; }" % (BASE[name], " ".join(f"({more})" for more in additions))


def nix(*arguments, root=ROOT, settings=()):
    """A finished `nix` without network, with further lines of nix.conf."""
    environment = dict(os.environ)
    environment["NIX_CONFIG"] = "\n".join(
        [
            environment.get("NIX_CONFIG", ""),
            "experimental-features = nix-command flakes",
            "substituters =",
            "flake-registry =",
            "build-users-group =",
            # The stand-in's packages run the machine's own programs. Of genuine nixpkgs nothing is built here.
            "sandbox = false",
            "warn-dirty = false",
            *settings,
        ]
    )
    return subprocess.run(
        ["nix", *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def derivation(path):
    """One derivation, as nix of any version shows it."""
    for command in (["derivation", "show"], ["show-derivation"]):
        done = nix(*command, path)
        if done.returncode == 0:
            shown = json.loads(done.stdout)
            return next(iter(shown.get("derivations", shown).values()))
    raise AssertionError(done.stderr)


class Fixture:
    """A folder with one cluster, `c`: the base one, with some files replaced, added, or (None) left out."""

    def __init__(self, files=None, arguments=None):
        self.folder = tempfile.TemporaryDirectory(prefix="nixcfg-model-")
        root = pathlib.Path(self.folder.name)
        if arguments:
            (root / "arguments.nix").write_text(arguments)
        for name, text in {**BASE, **(files or {})}.items():
            if text is None:
                continue
            path = root / "cluster/c" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (root / "cluster/c/node").mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def evaluate(self, attribute="clusters.c", apply=None):
        """The finished `nix eval` of one attribute."""
        return nix(
            "eval",
            "--json",
            "--file",
            str(HERE / "clusters.nix"),
            "--argstr",
            "nixpkgs",
            str(NIXPKGS),
            "--argstr",
            "dir",
            self.folder.name,
            attribute,
            *(["--apply", apply] if apply else []),
        )

    def value(self, attribute="clusters.c", apply=None):
        """What one attribute is."""
        done = self.evaluate(attribute, apply)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return json.loads(done.stdout)


_flake_nixpkgs = None


def flake_nixpkgs():
    """The flake that overrides the input nixpkgs. A genuine one is copied to the store once, not by each call."""
    global _flake_nixpkgs
    if _flake_nixpkgs is None:
        _flake_nixpkgs = f"path:{NIXPKGS}"
        if GENUINE:
            done = nix("flake", "metadata", "--json", _flake_nixpkgs)
            if done.returncode != 0:
                raise AssertionError(done.stderr)
            _flake_nixpkgs = "path:" + json.loads(done.stdout)["path"]
    return _flake_nixpkgs


def flake_eval(attribute, *arguments):
    """The finished `nix eval` of one output of this flake."""
    return nix(
        "eval",
        "--json",
        "--no-write-lock-file",
        "--override-input",
        "nixpkgs",
        flake_nixpkgs(),
        f".#{attribute}",
        *arguments,
    )


def flake_value(attribute, *arguments):
    """What one output of this flake is."""
    done = flake_eval(attribute, *arguments)
    if done.returncode != 0:
        raise AssertionError(f"{attribute}: {done.stderr}")
    return json.loads(done.stdout)
