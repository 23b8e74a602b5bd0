#!/usr/bin/env python3
"""Checks password hashes by the system's crypt(3), called directly, by Python's module and by mkpasswd.

Reads lines of a password and a hash, both in base64. Fails at a hash that one of them does not compute; else prints their number.
"""

import base64
import ctypes
import shutil
import subprocess
import sys
import warnings

warnings.filterwarnings("ignore", category=DeprecationWarning)
try:
    import crypt
except ImportError:  # Python 3.13 has removed it (PEP 594).
    crypt = None

LIBCRYPT = ctypes.CDLL("libcrypt.so.1")
LIBCRYPT.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
LIBCRYPT.crypt.restype = ctypes.c_char_p


def by_libxcrypt(password, hashed):
    return LIBCRYPT.crypt(password, hashed)


def by_python(password, hashed):
    return crypt.crypt(password.decode(), hashed.decode()).encode()


def by_mkpasswd(password, hashed):
    # mkpasswd of whois 5.5.17 gives a salt that begins with a dollar to crypt(3) unchanged.
    setting = hashed[: hashed.rindex(b"$")]
    method = "yescrypt" if setting.startswith(b"$y$") else "sha-512"
    command = ["mkpasswd", "--stdin", "-m", method, "-S", setting.decode()]
    return subprocess.run(command, input=password, capture_output=True, check=True).stdout.strip()


def main():
    ways = [by_libxcrypt, by_mkpasswd]
    if crypt is not None:
        ways.append(by_python)
    if shutil.which("mkpasswd") is None:
        sys.exit("mkpasswd is missing: it is in Debian's package whois")
    count = 0
    for line in sys.stdin:
        password, hashed = (base64.b64decode(word) for word in line.split())
        for way in ways:
            if way(password, hashed) != hashed:
                sys.exit(f"{way.__name__} disagrees about {hashed.decode()} of {password!r}")
        count += 1
    print(count)


main()
