# Looks at a node, as the operator's own user. Then keeps its connection open
# until its input ends, and says of each list of store paths, up to an empty
# line, which are not valid here.

# A container has no kernel of its own.
parts_of() {
  cd "$1" 2>/dev/null || return
  for part in kernel initrd kernel-modules systemd; do readlink -e "$part" || echo none; done
}

# A system's switch inhibitors, in one line; most systems have a few words of them.
inhibitors() { # WHOSE SYSTEM
  [ ! -e "$2/switch-inhibitors" ] || echo "$1-inhibitors $(head -c 65536 "$2/switch-inhibitors" | tr '\n' ' ')"
}

look() {
  echo "uid $(id -u)"
  echo "user $(id -un)"
  echo "kernel $(uname -s)"
  echo "machine $(uname -m)"
  echo "current $(readlink -f /run/current-system 2>/dev/null)"
  echo "booted $(readlink -f /run/booted-system 2>/dev/null)"
  echo "profile $(readlink -f /nix/var/nix/profiles/system 2>/dev/null)"
  set -- $(parts_of /run/booted-system)
  echo "booted-parts $*"
  set -- $(parts_of /nix/var/nix/profiles/system)
  echo "profile-parts $*"
  inhibitors running /run/current-system
  inhibitors profile /nix/var/nix/profiles/system
  sed -n 's/^/drained-/p' /var/lib/nixcfg/drained 2>/dev/null
  echo "boot $(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
  ip -o address 2>/dev/null | while read -r _ _ _ address _; do echo "address ${address%%/*}"; done
  echo "from ${SSH_CONNECTION%% *}"
  sed -n 's/^run /pending /p' /var/lib/nixcfg/rollback/pending 2>/dev/null
  sed -n 's/^/lease-/p' /run/nixcfg/node.lease 2>/dev/null
  echo "uptime $(cut -d. -f1 /proc/uptime 2>/dev/null)"
  df -Pk /nix/store 2>/dev/null | tail -n 1 | while read -r _ _ _ free _; do echo "free $free"; done
  # What a system does not have any more, and systemd still knows as failed, is nobody's to repair.
  systemctl list-units --failed --plain --no-legend --full --no-pager 2>/dev/null |
    while read -r unit loaded _; do [ "$loaded" = not-found ] || echo "failed $unit"; done
}

look
echo "end"

while IFS= read -r path; do
  { said=$({ { echo "$path" && sed '/^$/q'; } | xargs nix-store --check-validity --print-invalid; } 2>&1 >&3 3>&-); } 3>&1
  code=$?
  [ "$code" = 0 ] || printf '%s\n' "$said" | while IFS= read -r line; do echo "said $line"; done
  echo "end $code"
done
