# Adds to the probe: parts that wait for a restart, the generation, disk space, active services, and units that wait for
# files. Argument: the parts of a system that only a restart brings.
named parts -- "$@"

# Whether a path is missing for sure: a folder above it may hide it from this user.
absent() { # PATH
  [ ! -e "$1" ] || return
  above=${1%/*}
  while [ -n "$above" ] && [ ! -e "$above" ]; do above=${above%/*}; done
  [ -x "${above:-/}" ]
}

# Prints the missing paths that a unit waits for. systemd tells the first alone, and forgets it at a reload.
missing() { # UNIT
  {
    systemctl status --full --no-pager --lines=0 -- "$1" 2>/dev/null |
      sed -n 's|.*ConditionPathExists=\(/.*\) was not met$|\1|p'
    systemctl cat --no-pager -- "$1" 2>/dev/null | sed -n 's|^ConditionPathExists=\(/.*\)|\1|p' |
      while read -r path; do if absent "$path"; then printf '%s\n' "$path"; fi; done
  } | sort -u
}

other_parts /run/current-system | while read -r part; do echo "restart $part"; done
echo "generation $(readlink /nix/var/nix/profiles/system)"
df -Pk /nix/store | tail -n 1 | while read -r _ size used _; do echo "disk $size $used"; done
systemctl list-units --type=service --state=active --plain --no-legend --full --no-pager 2>/dev/null |
  while read -r unit _; do echo "active $unit"; done
{
  systemctl show --type=service --state=inactive -p Id -p ConditionResult -p ConditionTimestampMonotonic '*' 2>/dev/null
  echo
} | while IFS='=' read -r key value; do
  case $key in
  Id) unit=$value ;;
  ConditionResult) met=$value ;;
  ConditionTimestampMonotonic) looked=$value ;;
  '')
    if [ "${met:-}" = no ] && [ "${looked:-0}" != 0 ]; then
      missing "$unit" | while read -r path; do echo "unmet $unit $path"; done
    fi
    met=
    ;;
  esac
done
echo end
