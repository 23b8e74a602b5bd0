"""Has a dialogue with a command at a terminal.

Standard input is a JSON object: `command`, a list of words, and `steps`, a list of [TEXT, LINE]. When the command has printed the text
anew, the line is typed. Then it prints what the command prints, until it ends. Exit code: the command's, or 99 if it ended before it had
printed a text.
"""

import json
import os
import pty
import sys


def main():
    asked = json.load(sys.stdin)
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(asked["command"][0], asked["command"])
    steps, said, lacks = list(asked["steps"]), "", None
    while True:
        try:
            read = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # the command has closed its terminal
            read = ""
        if not read:
            break
        print(read, end="", flush=True)
        said += read
        if steps and steps[0][0] in said:
            said = said.split(steps[0][0], 1)[1]
            os.write(terminal, f"{steps.pop(0)[1]}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if steps:
        lacks = steps[0][0]
        print(f"\nit ended with {code} before it printed: {lacks}")
    return 99 if lacks else code


if __name__ == "__main__":
    sys.exit(main())
