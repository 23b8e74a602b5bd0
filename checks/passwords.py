"""Asserts the effects of an administrator's password, on the lab's nodes and in the NixOS VM test.

A node has `name`, `reboot()` and `execute(command)`, which runs a command as root. `tool(operation, args, password, line)` runs nixcfg
with a sudo password and a line on standard input. Both return an exit code and the output.
"""

import json
import shlex
import subprocess
import sys

ASKING = {"sudo": "sudo -k -S -p '' true", "su": "su alice -c true"}


def takes(node, how, password):
    """Whether a password lets alice in."""
    asked = f"printf '%s\\n' {shlex.quote(password)} | {ASKING[how]}"
    status, _ = node.execute(f"runuser -u alice -- sh -c {shlex.quote(asked)}")
    return status == 0


def only(nodes, password, *others):
    """Asserts that every node accepts `password` and none of `others`."""
    for node in nodes:
        for how in ASKING:
            assert takes(node, how, password), f"{node.name}: {how} does not take the password"
            for other in others:
                assert not takes(node, how, other), f"{node.name}: {how} takes another password"


def ran(result, words):
    status, output = result
    assert status == 0 and words in output, f"exit code {status}:\n{output}"


def check(nodes, tool, old, new):
    """Changes alice's password, which is `old` on all nodes, to `new`."""
    only(nodes, old)
    ran(tool("passwd", ["alice", "--stdin"], None, new), "in the store")
    status, _ = tool("deploy-passwords", ["--stdin"], old, "another one altogether")
    assert status == 2, "a password that is not the store's is refused"
    only(nodes, old)
    ran(tool("deploy-passwords", ["--stdin"], old, new), f"{len(nodes)} nodes as wanted")
    only(nodes, new, old)
    for node in nodes:
        _, whose = node.execute("stat -c '%U %G %a' /var/lib/nixcfg/passwords/alice")
        assert whose.strip() == "root root 600", whose
        node.reboot()
    only(nodes, new, old)
    status, output = tool("deploy-passwords", [], new, "")
    assert status == 0 and output.count("unchanged") == len(nodes), output


class LabNode:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name

    def execute(self, command):
        return run([self.lab, "root", self.name, "sh", "-c", command], None)

    def reboot(self):
        status, output = run([self.lab, "fault", self.name, "reboot"], None)
        assert status == 0, output


def run(command, line, **more):
    input = "" if line is None else line + "\n"
    done = subprocess.run(command, check=False, input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def lab(setting):
    """Runs on nodes of the lab, with the password store of the environment."""
    import os

    def tool(operation, args, password, line):
        environment = dict(os.environ)
        environment.pop("SUDO_PASS", None)
        if password is not None:
            environment["SUDO_PASS"] = password
        login = [] if operation == "passwd" else setting["login"]
        return run([setting["tool"], operation, "prod", *setting["options"], *login, *args], line, env=environment)

    nodes = [LabNode(setting["lab"], name) for name in setting["nodes"]]
    check(nodes, tool, setting["old"], setting["new"])


if __name__ == "__main__" and len(sys.argv) == 2:
    lab(json.loads(sys.argv[1]))
    print("all holds")
