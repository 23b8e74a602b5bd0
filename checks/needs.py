#!/usr/bin/env python3
"""needs.py [LIST]: complains about programs that the checks start and a new machine may lack: those that are neither in LIST (default:
checks/needs), nor in a package that every Debian has, nor in this repository.

It reads what Rust starts by Command::new("…") and Python by subprocess or a function `run`, and what WRAPPERS start. It does not read
shell scripts.
"""

import ast
import functools
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Programs that start another one, which follows their options and this many words.
WRAPPERS = {"unshare": 0, "setsid": 0, "timeout": 1, "faketime": 1, "env": 0, "ip netns exec": 1}
# A test checks its absence.
ABSENT = {"no-such-program-here"}
STARTERS = {"run", "Popen", "check_output", "check_call", "call"}


def listed(file):
    """The programs in the list."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    names = {words[0].rsplit("/", 1)[-1] for words in lines if words}
    # Other programs of these two packages.
    if "nix" in names:
        names |= {"nix-store", "nix-build", "nix-instantiate", "nix-env"}
    if "ssh" in names:
        names |= {"ssh-keyscan"}
    return names


@functools.cache
def is_base(program):
    """Whether an essential package of Debian, or a dependency of one, has the program."""
    path = shutil.which(program)
    for place in filter(None, [path, path and path.removeprefix("/usr")]):
        found = subprocess.run(["dpkg-query", "--search", place], capture_output=True, text=True, check=False)
        for package in re.findall(r"^([^ :]+)[^ ]*: ", found.stdout, re.MULTILINE):
            shown = subprocess.run(
                ["dpkg-query", "--show", "--showformat", "${Essential} ${Priority}", package], capture_output=True, text=True, check=False
            )
            if shown.stdout.startswith("yes") or shown.stdout.endswith(" required"):
                return True
    return False


def started(words):
    """The programs in a command's words; None is an unknown word."""
    while words:
        name = words[0]
        if name is None:
            return
        key = " ".join(word or "" for word in words[:3]) if name == "ip" else name
        yield name
        if key not in WRAPPERS:
            return
        words = words[len(key.split()) :]
        while words and words[0] is not None and words[0].startswith("-"):
            words = words[1:]
        words = words[WRAPPERS[key] :]


def literal(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def of_python(text):
    for call in ast.walk(ast.parse(text)):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
        if name not in STARTERS or not call.args:
            continue
        words = call.args[0].elts if isinstance(call.args[0], (ast.List, ast.Tuple)) else call.args
        for program in started([literal(word) for word in words]):
            yield call.lineno, program


def of_rust(text):
    for found in re.finditer(r'Command::new\(\s*"([^"]+)"\s*\)', text):
        # The literal words up to the end of the statement.
        rest = text[found.end() :].split(";", 1)[0]
        words = [found[1]]
        for given in re.finditer(r'\.args?\(\s*&?(\[[^]]*\]|[^)]*)', rest):
            words += re.findall(r'"([^"]*)"', given[1]) or [None]
        line = text.count("\n", 0, found.start()) + 1
        for program in started(words):
            yield line, program


def main():
    known = listed(pathlib.Path(sys.argv[1]) if sys.argv[1:] else ROOT / "checks/needs")
    files = subprocess.run(["git", "ls-files", "checks", "src"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    count, lacking = 0, []
    for name in files:
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace") if (ROOT / name).is_file() else ""
        python = name.endswith(".py") or re.match(r"#!.*python", text)
        found = of_python(text) if python else of_rust(text) if name.endswith(".rs") else ()
        for line, program in found:
            count += 1
            own = "/" in program or program in ABSENT
            if not own and program not in known and not is_base(program):
                lacking.append(f"{name}:{line}: {program} is not in checks/needs")
    for line in lacking:
        print(line, file=sys.stderr)
    if count < 50:
        sys.exit(f"checks/needs.py: only {count} commands were found")
    return 1 if lacking else 0


sys.exit(main())
