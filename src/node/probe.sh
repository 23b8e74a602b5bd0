# Prints the state of a node, as the operator's own user. Then reads lists of store paths, each up to an empty line, and
# prints those that are not valid here, until its input ends. Argument: the parts of a system that only a restart brings.
named parts -- "$@"

# A container lacks a kernel of its own.
parts_of() {
  cd "$1" 2>/dev/null || return
  for part in $parts; do readlink -e "$part" || echo none; done
}

# Prints a system's switch inhibitors on one line; most systems have only a few words.
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
  failed_units
}

look
echo "end"

while IFS= read -r path; do
  { said=$({ { echo "$path" && sed '/^$/q'; } | xargs nix-store --check-validity --print-invalid; } 2>&1 >&3 3>&-); } 3>&1
  code=$?
  [ "$code" = 0 ] || printf '%s\n' "$said" | while IFS= read -r line; do echo "said $line"; done
  echo "end $code"
done
