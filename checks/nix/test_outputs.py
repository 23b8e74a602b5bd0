"""Every output of the flake evaluates, on every system it is for."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from fixture import GENUINE, NIXPKGS, ROOT, Fixture, derivation, flake_eval, flake_nixpkgs, flake_value, nix, with_more

SYSTEMS = ["x86_64-linux", "aarch64-linux", "aarch64-darwin"]

DERIVATIONS = "outputs: builtins.mapAttrs (_: output: output.drvPath) outputs"


def machines_scripts():
    """Test in virtual machines → its script, and the names of its machines."""
    tests = flake_value(
        "checks.x86_64-linux",
        "--apply",
        "outputs: builtins.mapAttrs (_: test: { driver = test.driver.drvPath; machines = builtins.attrNames test.nodes; })"
        " (removeAttrs outputs (builtins.filter (name: !(outputs.${name} ? driver)) (builtins.attrNames outputs)))",
    )
    assert sorted(tests) == sorted(path.stem for path in (ROOT / "checks").glob("*.nix")), sorted(tests)
    return {name: (derivation(test["driver"])["env"]["testScript"], test["machines"]) for name, test in tests.items()}


def faults(script, machines):
    """What pyflakes, ruff and ty find in a script, one line each. They know the names that the driver defines."""
    given = [*machines, "machines", "start_all", "subtest"]
    with tempfile.TemporaryDirectory(prefix="nixcfg-script-") as folder:
        root = pathlib.Path(folder)
        (root / "script.py").write_text(script)
        # ty reads builtins from a file of this name.
        types = (ROOT / "checks/nix/driver.pyi").read_text()
        (root / "__builtins__.pyi").write_text(types + "".join(f"{name}: QemuMachine\n" for name in machines))
        linters = str(ROOT / "checks/nix/linters")
        # The rules that every version of ruff has on, and this version's others.
        ruff = ["check", "--isolated", "--no-cache", "--extend-select=E4,E7,E9,F", "--config", f"builtins={json.dumps(given)}"]
        ty = ["check", "--python-version=3.12", "--error-on-warning"]
        told = []
        for program, command in {
            "pyflakes3": ["pyflakes3", "script.py"],
            "ruff": [linters, "ruff", *ruff, "--output-format=concise", "script.py"],
            "ty": [linters, "ty", *ty, "--output-format=concise", "script.py"],
        }.items():
            done = subprocess.run(
                command, cwd=root, env={**os.environ, "PYFLAKES_BUILTINS": ",".join(given)}, capture_output=True, text=True, check=False
            )
            lines = [line for line in done.stdout.splitlines() if line.startswith("script.py:")]
            told += [f"{program}: {line.split(' ', 1)[1]} (line {line.split(':')[1]})" for line in lines]
            if done.returncode and not lines:
                told.append(f"{program}: {done.stdout}{done.stderr}")
        return told


class Outputs(unittest.TestCase):
    def derivations(self, attribute):
        """Name → derivation of a set of outputs; all must be derivations, without a warning on the way."""
        done = flake_eval(attribute, "--apply", DERIVATIONS)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("evaluation warning", done.stderr)
        found = json.loads(done.stdout)
        for name, path in found.items():
            self.assertTrue(path.endswith(".drv"), f"{attribute}.{name} is {path}")
        return found

    def test_packages(self):
        for system in SYSTEMS:
            with self.subTest(system=system):
                found = self.derivations(f"packages.{system}")
                self.assertEqual(sorted(found), ["default", "nixcfg", "options-doc"])

    def test_a_commit_changes_the_revision_and_does_not_rebuild_the_program(self):
        with tempfile.TemporaryDirectory(prefix="nixcfg-revision-") as folder:

            def git(*arguments):
                identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false"]
                return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

            def of(attribute):
                done = nix("eval", "--raw", f".#packages.x86_64-linux.nixcfg.{attribute}", root=folder)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout

            for path in ["flake.nix", "flake.lock", "Cargo.toml", "Cargo.lock", "src", "nix", "cluster"]:
                subprocess.run(["cp", "-r", str(ROOT / path), folder], check=True)
            git("init", "-q")
            git("add", "-A")
            # An input that is overridden at each call would make the tree one without a revision.
            done = nix("flake", "lock", "--override-input", "nixpkgs", flake_nixpkgs(), root=folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            seen = []
            for number in range(2):
                (pathlib.Path(folder) / "cluster/prod/note").write_text(f"{number}\n")
                git("add", "-A")
                git("commit", "-qm", f"{number}")
                wrapper = derivation(of("drvPath"))["env"]["buildCommand"]
                self.assertIn(f"NIXCFG_REVISION={git('rev-parse', '--short=7', 'HEAD')}", wrapper)
                seen.append((of("drvPath"), of("program.drvPath")))
            self.assertNotEqual(seen[0][0], seen[1][0])
            self.assertEqual(seen[0][1], seen[1][1])

    @unittest.skipIf(GENUINE, "nothing of genuine nixpkgs is built here")
    def test_the_program_gets_its_revision_and_the_name_that_it_shows(self):
        with tempfile.TemporaryDirectory(prefix="nixcfg-revision-") as folder:
            done = nix(
                "build", "--impure", "--out-link", f"{folder}/result", "--expr",
                f"""let pkgs = (import {NIXPKGS} {{ system = "x86_64-linux"; }}); in
                import {ROOT}/nix/with-revision.nix {{
                  inherit (pkgs) lib;
                  inherit pkgs;
                  revision = "1234567";
                  program = pkgs.writeScriptBin "nixcfg" "#!/bin/cat\n";
                }}""",
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            script = (pathlib.Path(folder) / "result/bin/nixcfg").read_text()
            # A program that shows what it was given takes the place of the true one.
            shows = script.splitlines()
            self.assertIn("exec -a", shows[-1])
            shows[-1] = "exec -a \"$name\" /bin/sh -c 'echo $0 $NIXCFG_REVISION $*' \"$name\" \"$@\""
            installed = pathlib.Path(folder) / "nixcfg"
            installed.write_text("\n".join(shows) + "\n")
            installed.chmod(0o755)
            done = subprocess.run([installed, "status", "prod"], capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout, "nixcfg 1234567 status prod\n")

    def test_development_shells(self):
        for system in SYSTEMS:
            with self.subTest(system=system):
                self.assertEqual(sorted(self.derivations(f"devShells.{system}")), ["default"])

    def test_checks(self):
        for system in SYSTEMS:
            with self.subTest(system=system):
                found = self.derivations(f"checks.{system}")
                self.assertLessEqual(
                    {"package", "clippy", "formatting", "options-doc", "cluster-prod"}, set(found)
                )

    def test_scripts_of_the_machines_are_python_without_faults(self):
        """The driver checks its script before it starts: by pyflakes until 25.11, by ruff and ty from 26.05 on."""
        for name, (script, machines) in machines_scripts().items():
            with self.subTest(test=name):
                self.assertRegex(script, r"start(_all)?\(\)")
                self.assertEqual(faults(script, machines), [])

    def test_faults_of_a_script_are_seen(self):
        """Each program finds a fault of its own kind."""
        told = faults("import os, sys\nprint(sys.path, nobody)\nalder.succed('true')\nalder.execute(1)\n", ["alder"])
        for part in ["pyflakes3: ", "ruff: E401", "ruff: F821 Undefined name `nobody`", "no attribute `succed`", "invalid-argument-type"]:
            with self.subTest(part=part):
                self.assertTrue(any(part in line for line in told), told)

    def test_machines_that_restart_are_started_so(self):
        """Otherwise QEMU exits when a machine restarts, and the driver waits for ever."""
        restarting = []
        for name, (script, _) in sorted(machines_scripts().items()):
            with self.subTest(test=name):
                # `connected` waits for the shell's greeting, which a shell prints only once.
                self.assertNotRegex(script, r"\.connected\b")
                if re.search(r"\.reboot\(\)|--reboot\b", script):
                    restarting.append(name)
                    self.assertRegex(script, r"\.start\(allow_reboot=True\)\nstart_all\(\)\n")
        self.assertEqual(restarting, ["deploy", "passwords"])

    def test_formatter(self):
        for system in SYSTEMS:
            with self.subTest(system=system):
                path = flake_value(f"formatter.{system}.drvPath")
                self.assertTrue(path.endswith(".drv"))

    def test_apps_are_the_operations_of_the_program(self):
        main = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
        for system in SYSTEMS:
            with self.subTest(system=system):
                apps = flake_value(f"apps.{system}")
                self.assertIn("deploy-nixos", apps)
                for name, app in apps.items():
                    self.assertEqual(app["type"], "app")
                    self.assertTrue(app["program"].endswith(f"/bin/nixcfg-{name}"))
                    self.assertTrue(app["meta"]["description"])
                    variant = "".join(part.capitalize() for part in name.split("-"))
                    self.assertRegex(main, rf"\b{variant}\b", f"the program has no operation {name}")

    def test_systems_of_the_nodes(self):
        names = flake_value("nixosConfigurations", "--apply", "builtins.attrNames")
        self.assertEqual(names, ["prod-alder", "prod-birch", "prod-cedar"])
        for name in names:
            with self.subTest(node=name):
                done = flake_eval(f"nixosConfigurations.{name}.config.system.build.toplevel.drvPath")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertNotIn("evaluation warning", done.stderr)
                self.assertRegex(json.loads(done.stdout), r"-nixos-system-.*\.drv$")
                self.assertEqual(flake_value(f"nixosConfigurations.{name}.config.warnings"), [])

    def test_the_options_page_is_up_to_date(self):
        page = flake_value(
            "packages.x86_64-linux.options-doc", "--apply", "page: page.text or (builtins.readFile page)"
        )
        self.assertEqual(page, (ROOT / "doc/options.md").read_text())

    def test_every_option_is_described(self):
        expression = (
            f"let lib = import {NIXPKGS}/lib; model = lib.evalModules {{ modules = [ {ROOT}/nix/model ]; }}; in"
            " map (option: { inherit (option) name type description; default = option ? default; example = option ? example; })"
            ' (builtins.filter (option: option.visible && !option.internal && option.name != "cluster")'
            ' (lib.optionAttrSetToDocList (removeAttrs model.options [ "_module" ])))'
        )
        done = nix("eval", "--json", "--impure", "--expr", expression)
        self.assertEqual(done.returncode, 0, done.stderr)
        options = json.loads(done.stdout)
        self.assertGreater(len(options), 50)
        for option in options:
            with self.subTest(option=option["name"]):
                self.assertTrue(option["description"].strip())
                self.assertTrue(option["example"], "it has no example")
                self.assertNotEqual(option["type"], "unspecified value")
        # The options that an operator must set.
        self.assertEqual(
            sorted(option["name"] for option in options if not option["default"]),
            [
                "cluster.domain",
                "cluster.forwards.<name>.host",
                "cluster.forwards.<name>.localPort",
                "cluster.forwards.<name>.port",
                "cluster.name",
                "cluster.nodes.<name>.nomad.hostVolumes.<name>.path",
                "cluster.nodes.<name>.site",
                "cluster.secrets.<name>.generator",
            ],
        )

    def test_the_lock_pins_one_input(self):
        lock = json.loads((ROOT / "flake.lock").read_text())
        self.assertEqual(lock["version"], 7)
        self.assertEqual(sorted(lock["nodes"]), ["nixpkgs", "root"])
        self.assertEqual(lock["nodes"]["nixpkgs"]["original"]["ref"], "nixos-26.05")
        self.assertRegex(lock["nodes"]["nixpkgs"]["locked"]["rev"], r"^[0-9a-f]{40}$")
        flake = (ROOT / "flake.nix").read_text()
        self.assertEqual(
            re.findall(r'url = "(.*)"', flake), ["github:NixOS/nixpkgs/nixos-26.05"]
        )


class Alarm(unittest.TestCase):
    """The unit of an operator's machine, run in its folder, with its PATH and its user's HOME alone."""

    def test_the_unit_runs_the_tool_in_the_repository_and_fails_with_it(self):
        with tempfile.TemporaryDirectory() as folder:
            tool = pathlib.Path(folder, "tool/bin/nixcfg")
            tool.parent.mkdir(parents=True)
            # Stands in for the tool: prints its surroundings, and fails as if a certificate were about to end.
            tool.write_text('#!/bin/sh\necho "$*"; pwd; echo "$HOME"; command -v nix pass gpg git ssh >/dev/null && echo found; exit 5\n')
            tool.chmod(0o755)
            settings = f"""{{ clusters = [ "prod" ]; repository = "{folder}"; user = "alice"; live = true; package = "{folder}/tool"; }}"""
            unit = flake_value(
                "nixosModules.alarm",
                "--apply",
                f"""alarm: let
                  system = (builtins.getFlake "path:{NIXPKGS}").lib.nixosSystem {{
                    system = "x86_64-linux";
                    modules = [ alarm {{ services.nixcfg-alarm = {settings}; }} ];
                  }};
                  unit = system.config.systemd.services.nixcfg-alarm-prod;
                in {{ inherit (unit) startAt serviceConfig; path = map toString unit.path; drvs = map (p: p.drvPath) (builtins.filter (p: p ? drvPath) unit.path); }}""",
                "--impure",
            )
            service = unit["serviceConfig"]
            self.assertEqual((unit["startAt"], service["User"], service["Type"]), (["weekly"], "alice", "oneshot"))
            if GENUINE:
                return  # Its packages cannot be built here, so there are no programs to find.
            settings = {**os.environ, "NIX_CONFIG": "sandbox = false\nsubstituters =\nbuild-users-group ="}
            done = subprocess.run(
                ["nix-store", "--realise", *unit["drvs"]], env=settings, capture_output=True, text=True, check=False
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            done = subprocess.run(
                service["ExecStart"].split(),
                cwd=service["WorkingDirectory"],
                env={"HOME": "/home/alice", "PATH": ":".join(f"{path}/bin" for path in unit["path"]) + ":/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=False,
            )
            told = ["pki-status prod --days 30 --live", os.path.realpath(folder), "/home/alice", "found"]
            self.assertEqual((done.returncode, done.stdout.splitlines()), (5, told), done.stderr)


class WrongSettings(unittest.TestCase):
    """Mistakes that stop a system, but not the tool's data of the cluster."""

    def test_overlay_without_public_keys(self):
        files = {"cluster.nix": with_more("cluster.nix", "{ cluster.wireguard.enable = true; }")}
        for number, node in enumerate(["alder", "birch", "cedar"], 1):
            files[f"node/{node}.nix"] = with_more(
                f"node/{node}.nix",
                '{ cluster.nodes.%s.wireguard.address = "10.83.0.%d"; }' % (node, number),
            )
        with Fixture(files) as fixture:
            # gen-secrets must be able to read the cluster before there are keys.
            fixture.value("clusters.c")
            done = fixture.evaluate("nixosConfigurations.c-alder.config.system.build.toplevel.drvPath")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("these nodes have no WireGuard public key: alder, birch, cedar", done.stderr)


class Template(unittest.TestCase):
    """A repository made by `nix flake init -t` works with this flake as its input."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="nixcfg-template-")
        self.addCleanup(self.folder.cleanup)
        done = nix("flake", "init", "-t", f"{ROOT}", root=self.folder.name)
        self.assertEqual(done.returncode, 0, done.stderr)

    def value(self, attribute, *arguments):
        done = nix(
            "eval",
            "--json",
            "--no-write-lock-file",
            "--override-input",
            "nixcfg",
            f"git+file://{ROOT}",
            "--override-input",
            "nixcfg/nixpkgs",
            flake_nixpkgs(),
            f"path:{self.folder.name}#{attribute}",
            *arguments,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_its_cluster_is_its_own(self):
        cluster = self.value("clusters.prod")
        self.assertEqual(sorted(cluster["nodes"]), ["alder"])

    def test_its_systems_evaluate(self):
        path = self.value("nixosConfigurations.prod-alder.config.system.build.toplevel.drvPath")
        self.assertRegex(path, r"-nixos-system-alder-.*\.drv$")

    def test_it_has_the_operations(self):
        self.assertEqual(
            self.value("apps.x86_64-linux", "--apply", "builtins.attrNames"),
            flake_value("apps.x86_64-linux", "--apply", "builtins.attrNames"),
        )

    def test_ssh_finds_its_nodes(self):
        config = (pathlib.Path(self.folder.name) / "cluster/prod/ssh_config").read_text()
        self.assertIn("Host alder", config)
        self.assertTrue((pathlib.Path(self.folder.name) / "cluster/prod/known_hosts").exists())


class Flake(unittest.TestCase):
    def test_the_lock_file_fits_the_flake(self):
        done = nix("flake", "metadata", "--json", "--no-update-lock-file", "--no-write-lock-file")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("lock file", done.stderr)


if __name__ == "__main__":
    unittest.main()
