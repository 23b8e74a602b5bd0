# Shows what switching to a system would do. Runs as root.
# Argument: toplevel.
if ! [ -f "$1/nixos-version" ]; then
  echo "$1 is not a NixOS system, or not on this node" >&2
  exit 64
fi
echo "asked $1"
"$1/bin/switch-to-configuration" dry-activate 2>&1 || exit
echo end
