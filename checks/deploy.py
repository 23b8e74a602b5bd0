"""Asserts the outcome of a failed deployment and of one with a restart, on the lab's nodes and in the NixOS VM test.

`node.execute(command)` runs a command as root, and `tool(operation, args)` runs nixcfg; both return an exit code and the output.
`choose(name)` sets the flake's system: `first`, which runs and was booted; `mute`, which cuts its own network; `kernel`, which has
another kernel.
"""

import json
import shlex
import subprocess
import sys


def told(node, command):
    status, output = node.execute(command)
    assert status == 0, f"{command}: exit code {status}:\n{output}"
    return output.strip()


def state(node):
    return told(node, "readlink -f /run/current-system /nix/var/nix/profiles/system")


def boot(node):
    return told(node, "cat /proc/sys/kernel/random/boot_id")


def ran(result, wanted, *words):
    status, output = result
    assert status == wanted and all(word in output for word in words), f"exit code {status}:\n{output}"


def at_rest(node):
    """Waits until a change has left nothing behind; a lease whose holder was cut off ends within a minute."""
    left = '[ -n "$(ls -d /var/lib/nixcfg/rollback/pending /var/lib/nixcfg/drained /run/nixcfg/*.lease 2>/dev/null)" ]'
    told(node, f"i=0; while {left} && [ $i -lt 70 ]; do sleep 1; i=$((i + 1)); done; ! {left}")


def check(node, choose, tool, confirm="15"):
    """The node must run `first` and be booted with it; `confirm` is --confirm-timeout in seconds."""
    short = ["--confirm-timeout", confirm]
    before, started = state(node), boot(node)

    choose("mute")
    ran(tool("deploy-nixos", short), 5, "rolled back", "could not be confirmed")
    assert state(node) == before, "it runs and boots what it did"
    assert boot(node) == started, "without a restart"
    at_rest(node)

    choose("kernel")
    ran(tool("deploy-nixos", [*short, "--reboot"]), 0, "restarted with it")
    assert state(node) != before and boot(node) != started
    booted = told(node, "readlink -f /run/booted-system")
    assert state(node).split() == [booted, booted], "what was booted runs, and is booted next"
    at_rest(node)
    ran(tool("deploy-nixos", [*short, "--reboot"]), 0, "unchanged")

    choose("mute")
    before, started = state(node), boot(node)
    ran(tool("deploy-nixos", [*short, "--mode", "boot", "--reboot"]), 5, "rolled back", "could not be confirmed")
    assert state(node) == before and boot(node) != started, "by restarts, there and back"
    at_rest(node)


def line(*words):
    """Quotes words for a shell, as the VM test runs shell commands only."""
    return shlex.join(words)


def run(command):
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


class LabNode:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name

    def execute(self, command):
        return run([self.lab, "root", self.name, "sh", "-c", command])


def lab(setting):
    """Runs on a node of the lab, whose systems are texts of its file."""
    node = setting["node"]

    def choose(name):
        with open(f"cluster/prod/node/{node}.nix", "w") as file:
            file.write(setting["systems"][name])

    def tool(operation, args):
        return run([setting["tool"], operation, "prod", node, *setting["options"], *args])

    check(LabNode(setting["lab"], node), choose, tool)


if __name__ == "__main__" and len(sys.argv) == 2:
    lab(json.loads(sys.argv[1]))
    print("all holds")
