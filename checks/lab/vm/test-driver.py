#!/usr/bin/env python3
"""Runs a NixOS test driver with a time limit, and once more if a boot hung; counts the tests that ran.

  test-driver.py DRIVER LIMIT FOLDER [SILENCE]     LIMIT in seconds; FOLDER gets the log and the machines' files;
                                                   SILENCE: after how many seconds without output a boot may hang, see Machine.hangs;
                                                   default 300

A subtest that the driver finished, or a line `ok: …` of a test script, has passed; a line `FAILED: …` has failed. A driver that ends with
an error has failed, whatever was counted. The last line is `N passed, N failed`. Exit code 0 if none failed.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# The driver waits for a machine's shell, and has it.
WAITS = re.compile(r"^(\w+): waiting for the VM to finish booting")
STARTED = re.compile(r"^(\w+): connected to guest root shell")
PROCESS = re.compile(r"^(\w+): QEMU running \(pid (\d+)\)")
CONSOLE = re.compile(r"^(\w+) # ")
FINISHED = re.compile(r"^\(finished: subtest: (.*), in ([0-9.]+) seconds\)$")
BEGUN = re.compile(r"^subtest: (.*)$")
BROKE = re.compile(r'^!*\s*Test "(.*)" failed with error')


class Machine:
    """A machine that the driver waits for."""

    def __init__(self, process):
        self.process = process
        self.hear()

    def hear(self):
        self.heard, self.had = time.monotonic(), self.used()

    def used(self):
        """The processor time of QEMU in seconds; 0 if it does not run."""
        try:
            with open(f"/proc/{self.process}/stat") as file:
                words = file.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            return 0
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def hangs(self, silence):
        """Whether the machine was silent, and either did nothing or worked all the time. A machine that gets little of the processor does
        neither."""
        passed, worked = time.monotonic() - self.heard, self.used() - self.had
        return passed > silence and (worked < passed / 50 or worked > silence)


class Run:
    def __init__(self, driver, limit, folder, silence):
        self.driver, self.limit, self.folder, self.silence = driver, limit, folder, silence
        self.passed = self.failed = 0
        self.booting = {}
        self.processes = {}
        self.hung = False

    def line(self, text):
        """Counts a line of the driver's output; prints it if it is about a subtest or a failure."""
        text = COLOURS.sub("", text).rstrip()
        if found := CONSOLE.match(text):
            if found[1] in self.booting:
                self.booting[found[1]].hear()
        elif found := WAITS.match(text):
            self.booting[found[1]] = Machine(self.processes.get(found[1]))
        elif found := PROCESS.match(text):
            self.processes[found[1]] = found[2]
            if found[1] in self.booting:
                self.booting[found[1]].process = found[2]
        elif found := STARTED.match(text):
            self.booting.pop(found[1], None)
        elif FINISHED.match(text):
            self.passed += 1
            print(text, flush=True)
        elif text.startswith("ok: "):
            self.passed += 1
        elif text.startswith("FAILED: "):
            self.failed += 1
            print(text, flush=True)
        elif found := BROKE.match(text):
            self.failed += 1
            print(text, flush=True)
        elif BEGUN.match(text):
            print(text, flush=True)

    def go(self):
        """Returns the driver's exit code, or a sentence about what went wrong."""
        machines = f"{self.folder}/machines"
        shutil.rmtree(machines, ignore_errors=True)
        os.makedirs(machines)
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "NIXCFG_VM_ACCELERATOR", "QEMU_KERNEL_PARAMS")}
        environment |= {"TMPDIR": machines, "HOME": machines}
        process = subprocess.Popen(
            [f"{self.driver}/bin/nixos-test-driver", "-o", machines],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=machines,
            start_new_session=True,
        )
        try:
            return self.follow(process)
        finally:
            # QEMU and the network's switches are in its process group, and would outlive it.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            shutil.rmtree(machines, ignore_errors=True)

    def follow(self, process):
        end = time.monotonic() + self.limit
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        rest = b""
        with open(f"{self.folder}/log", "ab", buffering=0) as log:
            while True:
                if selector.select(timeout=1):
                    read = os.read(process.stdout.fileno(), 65536)
                    if not read:
                        return process.wait()
                    log.write(read)
                    *lines, rest = (rest + read).split(b"\n")
                    for one in lines:
                        self.line(one.decode(errors="replace"))
                if time.monotonic() > end:
                    return f"it was not done after {self.limit} seconds"
                for name, machine in self.booting.items():
                    if machine.hangs(self.silence):
                        self.hung = True
                        return f"{name} said nothing for {self.silence} seconds of a boot"


def main():
    driver, limit, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    silence = int(sys.argv[4]) if len(sys.argv) > 4 else 300
    # Machines end with this program, whoever ends it.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    os.makedirs(folder, exist_ok=True)
    open(f"{folder}/log", "wb").close()
    for again in (True, False):
        run = Run(driver, limit, folder, silence)
        outcome = run.go()
        if not (run.hung and again):
            break
        print(f"A BOOT HUNG: {outcome}; the test runs once more", flush=True)
    if outcome != 0:
        run.failed = max(run.failed, 1)
        print(f"FAILED: {outcome if isinstance(outcome, str) else f'the driver ended with {outcome}'}")
        with open(f"{folder}/log", errors="replace") as log:
            print("".join(COLOURS.sub("", line) for line in log.readlines()[-60:]))
    elif run.passed == 0:
        run.failed = 1
        print("FAILED: no test ran")
    print(f"{run.passed} passed, {run.failed} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
