"""lab/vm/test-driver.py, which counts the subtests in virtual machines, with a script in place of nixpkgs' driver."""

import importlib.util
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SPECIFICATION = importlib.util.spec_from_file_location("test_driver", ROOT / "checks/lab/vm/test-driver.py")
DRIVER = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(DRIVER)

BOOTED = """
echo 'alder: waiting for the VM to finish booting'
echo 'alder # a line of its console'
echo 'alder: connected to guest root shell'
"""


class Driver(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def ran(self, script, limit=30, silence=30):
        """The exit code, the output and its last line, with this script as the driver."""
        program = self.folder / "bin" / "nixos-test-driver"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        done = subprocess.run(
            [ROOT / "checks/lab/vm/test-driver.py", self.folder, str(limit), self.folder / "work", str(silence)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout, done.stdout.splitlines()[-1]

    def test_subtests_and_lines_of_scenarios_are_counted(self):
        code, _, last = self.ran(
            BOOTED
            + "printf 'subtest: one\\n(finished: subtest: one, in 1.50 seconds)\\nok: two\\n'\n"
            + "echo 'alder # ok: no, that is a console'"
        )
        self.assertEqual((code, last), (0, "2 passed, 0 failed"))

    def test_one_that_fails_is_counted_once(self):
        code, told, last = self.ran("echo 'ok: one'; echo '!!! Test \"two\" failed with error: \"no\"'; exit 1")
        self.assertEqual((code, last), (1, "1 passed, 1 failed"))
        self.assertIn('"two" failed', told)

    def test_a_driver_that_ends_badly_has_failed_whatever_it_counted(self):
        self.assertEqual(self.ran("echo 'ok: one'; exit 3")[::2], (1, "1 passed, 1 failed"))

    def test_nothing_counted_is_a_failure(self):
        self.assertEqual(self.ran("true")[::2], (1, "0 passed, 1 failed"))

    def test_a_limit_ends_the_driver_and_what_it_started(self):
        code, told, last = self.ran(f"sleep 600 & echo $! >{self.folder}/pid; wait", limit=2)
        self.assertEqual((code, last), (1, "0 passed, 1 failed"))
        self.assertIn("not done after 2 seconds", told)
        state = Path("/proc") / (self.folder / "pid").read_text().strip() / "stat"
        self.assertTrue(not state.exists() or " Z " in state.read_text())

    def test_a_boot_that_hangs_is_told_and_tried_once_more(self):
        hangs = "echo 'alder: waiting for the VM to finish booting'; sleep 600"
        once = f"if [ -e {self.folder}/again ]; then {BOOTED}\necho 'ok: one'; else touch {self.folder}/again; {hangs}; fi"
        code, told, last = self.ran(once, silence=2)
        self.assertEqual((code, last), (0, "1 passed, 0 failed"))
        self.assertIn("A BOOT HUNG: alder said nothing for 2 seconds", told)

    def test_a_machine_hangs_that_does_nothing_or_has_worked_all_the_time_and_a_slow_one_does_not(self):
        cases = [(301, 1, True), (301, 60, False), (900, 301, True), (299, 0, False)]
        for passed, worked, hangs in cases:
            machine = DRIVER.Machine(None)
            machine.heard -= passed
            machine.used = lambda worked=worked: worked
            with self.subTest(passed=passed, worked=worked):
                self.assertEqual(machine.hangs(300), hangs)

    def test_a_boot_that_hangs_twice_has_failed(self):
        code, told, last = self.ran("echo 'alder: waiting for the VM to finish booting'; sleep 600", silence=2)
        self.assertEqual((code, last, told.count("A BOOT HUNG")), (1, "0 passed, 1 failed", 1))


if __name__ == "__main__":
    unittest.main()
