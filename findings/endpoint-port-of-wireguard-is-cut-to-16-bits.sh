#!/usr/bin/env bash
# wg of wireguard-tools 1.0.20210914 (Debian bookworm’s), and getaddrinfo of glibc 2.36, which it calls.
#
# Guessed: `wg set … endpoint HOST:70000` is refused, as `HOST:port` is; no port has more than 16 bits.
# Seen: wg takes it and goes on to the interface. getaddrinfo with AI_NUMERICSERV keeps the lower 16 bits: 70000 is 4464, 65536 is 0.
# With one digit too many in an endpoint, the peer is never reached, and neither program reports it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download wireguard-tools >/dev/null 2>&1
dpkg-deb -x wireguard-tools_*.deb tree
dpkg-deb -f wireguard-tools_*.deb Package Version | sed 's/^[A-Za-z]*: //' | paste -sd' '
getconf GNU_LIBC_VERSION

# The interface does not exist: wg checks its arguments before it looks for the interface.
key=$(head -c 32 /dev/urandom | base64)
said() { WG_ENDPOINT_RESOLUTION_RETRIES=0 timeout 20 tree/usr/bin/wg set nowhere peer "$key" endpoint "$1" 2>&1 | tail -n 1 || :; }
for endpoint in 192.0.2.1:51820 192.0.2.1:70000 192.0.2.1:port; do printf '%-16s %s\n' "$endpoint" "$(said $endpoint)"; done
[[ $(said 192.0.2.1:port) != *interface* ]] || { echo "a port that is no number is taken now: this has changed"; exit 1; }
[[ $(said 192.0.2.1:70000) == "$(said 192.0.2.1:51820)" ]] || { echo "70000 is refused now: this has changed"; exit 1; }
python3 - <<'PY'
import socket
import sys

numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
seen = {port: socket.getaddrinfo("192.0.2.1", port, flags=numeric)[0][4][1] for port in ("51820", "65536", "70000")}
print("getaddrinfo:", ", ".join(f"{asked} is {given}" for asked, given in seen.items()))
sys.exit(None if seen == {"51820": 51820, "65536": 0, "70000": 4464} else "this has changed")
PY
