#!/usr/bin/env bash
# Password hashes by SHA-256 (`$5$rounds=N$…`) with fewer than a thousand rounds, in four programs:
# libxcrypt 4.4 (Debian's libcrypt1, which NixOS has too; Perl's crypt calls it), OpenSSL 3, BusyBox 1.3x, passlib 1.7.4 (PyPI).
#
# Guessed: all take 1000 rounds instead, as the scheme's specification says, so a setting means the same in each.
# Seen: OpenSSL and BusyBox take 1000, and the hash says so; libxcrypt returns `*0`, its mark of an invalid setting; passlib raises an
# error. libxcrypt and passlib refuse a leading zero (`rounds=01000`) as well.
# It matters for hashes from another machine: an account with such a hash cannot log in on NixOS.
# shellcheck disable=SC2016 # dollars are part of a setting
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download busybox-static libcrypt1 >/dev/null 2>&1
for package in *.deb; do
    dpkg-deb -x "$package" tree
    dpkg-deb -f "$package" Package Version | sed 's/^[A-Za-z]*: //' | paste -sd' '
done
openssl version | cut -d' ' -f1-2
python3 -m venv py
py/bin/pip install -q passlib==1.7.4
echo "passlib 1.7.4"

LIBRARY=$(dirname tree/{usr/,}lib/*-linux-gnu/libcrypt.so.1 | tail -n 1)
libxcrypt() { # SETTING
    LD_LIBRARY_PATH=$PWD/$LIBRARY perl -e 'print crypt("a password", $ARGV[0]) // "undefined"' -- "$1"
}
passlib() { # ROUNDS: the word "taken", or the error's name
    py/bin/python - "$1" <<'PY'
import sys
from passlib.hash import sha256_crypt
try:
    sha256_crypt.from_string(f"$5$rounds={sys.argv[1]}$saltstring${'x' * 43}")
    print("taken")
except ValueError:
    print("ValueError")
PY
}
expect() { # WHAT SEEN WANTED
    printf '%-28s %s\n' "$1" "$2"
    # shellcheck disable=SC2053 # a pattern
    [[ $2 == $3 ]] || { echo "this has changed: $3 was seen"; exit 1; }
}
thousand=$(libxcrypt '$5$rounds=1000$saltstring$')
expect 'libxcrypt, 1000' "$thousand" '$5$rounds=1000$saltstring$*'
expect 'libxcrypt, 999' "$(libxcrypt '$5$rounds=999$saltstring$')" '\*0'
expect 'libxcrypt, 01000' "$(libxcrypt '$5$rounds=01000$saltstring$')" '\*0'
expect 'OpenSSL, 999' "$(openssl passwd -5 -salt 'rounds=999$saltstring' 'a password')" "${thousand//\*/\\*}"
expect 'BusyBox, 999' "$(tree/bin/busybox mkpasswd -m sha256 -S 'rounds=999$saltstring' 'a password')" "${thousand//\*/\\*}"
expect 'passlib, 1000' "$(passlib 1000)" taken
expect 'passlib, 999' "$(passlib 999)" ValueError
expect 'passlib, 01000' "$(passlib 01000)" ValueError
