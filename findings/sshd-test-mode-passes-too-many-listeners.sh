#!/usr/bin/env bash
# OpenSSH sshd (Debian trixie's or bookworm's openssh-server, as apt has it; version printed below):
# `sshd -t` passes a configuration with which sshd does not start.
#
# Guessed: the test mode refuses a configuration with more listeners than sshd can hold.
# Seen: nine ports on two addresses are 18 sockets; `sshd -t` exits with 0, and then sshd itself ends at its start with
# "Too many listen sockets" (MAX_LISTEN_SOCKS, 16, in sshd.c). Eight ports, 16 sockets, are served.
# It matters where a switch tests sshd's configuration before it restarts sshd: the test does not prove that sshd starts.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${pid:-}" 2>/dev/null || :; rm -rf "$work"' EXIT
cd "$work"
# With libraries that a machine without sshd may lack.
apt-get download openssh-server libwrap0 libnsl2 libtirpc3 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" tree; done
LD_LIBRARY_PATH=$(printf '%s:' "$work"/tree/{usr/,}lib/*-linux-gnu)
export LD_LIBRARY_PATH
dpkg-deb -f openssh-server_*.deb Version | sed 's/^/openssh-server /'
ssh-keygen -q -t ed25519 -N '' -f key
mkdir -p /run/sshd
# sshd needs an account of its own. A bind mount, for which the script must be root, adds it for sshd alone.
{ cat /etc/passwd; grep -q '^sshd:' /etc/passwd || echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin'; } >passwd
cat >run <<'RUN'
#!/bin/sh
mount --bind "$1/passwd" /etc/passwd && shift && exec "$@"
RUN
chmod +x run

# config PORTS: prints a configuration with that many ports on 127.0.0.1 and ::1.
config() {
    local port
    echo "HostKey $work/key"
    echo "PidFile none"
    for ((port = 42100; port < 42100 + $1; port++)); do printf 'ListenAddress 127.0.0.1:%s\nListenAddress [::1]:%s\n' $port $port; done
}
config 8 >eight
config 9 >nine
sshd=(unshare --mount --propagation private "$work/run" "$work" "$work/tree/usr/sbin/sshd")
"${sshd[@]}" -t -f "$work/eight"
"${sshd[@]}" -t -f "$work/nine"
echo "sshd -t: both configurations pass"
if timeout 10 "${sshd[@]}" -D -e -f "$work/nine" 2>said; then echo "18 sockets are served now: this has changed"; exit 1; fi
grep -q 'Too many listen sockets' said || { cat said; echo "the reason has changed"; exit 1; }
echo "18 sockets: $(grep -m 1 'Too many' said)"
"${sshd[@]}" -D -e -f "$work/eight" 2>served &
pid=$!
for _ in $(seq 50); do [ "$(grep -c 'Server listening' served)" != 16 ] || break; sleep 0.1; done
[ "$(grep -c 'Server listening' served)" = 16 ] || { cat served; echo "16 sockets are not served: this has changed"; exit 1; }
echo "16 sockets: served"
