# switch-to-configuration TOPLEVEL ACTION, with NixOS's exit codes: 0 done, 1 not switched, 2 the activation failed in
# part, 4 a unit failed, 11 another switch holds the lock, 100 the system needs a restart.
# Follows pkgs/by-name/sw/switch-to-configuration-ng/src/src/main.rs.
top=$1
action=${2-}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$here/common.sh"
source "$here/units.sh"

case $action in
  switch | boot | test | dry-activate | check) [ $# -eq 2 ] ;;
  *) false ;;
esac || {
  say "Usage: $top/bin/switch-to-configuration [check|switch|boot|test|dry-activate]"
  exit 1
}
[ "$(id -u)" = 0 ] || { say "switch-to-configuration must be run as the root user"; exit 1; }
export NIXOS_ACTION=$action

mkdir -p -m 755 /run/nixos
exec {lock}>/run/nixos/switch-to-configuration.lock
flock --nonblock "$lock" || { say "Could not acquire lock"; exit 11; }

if [ "${NIXOS_NO_CHECK-}" != 1 ]; then
  for check in "$top"/standin/checks/*; do
    /bin/bash "$check" "$top" "$action" </dev/null {lock}>&- ||
      { say "Pre-switch check '${check##*/}' failed"; say "Pre-switch checks failed"; exit 1; }
  done
fi
[ "$action" != check ] || exit 0

if [ "$action" = switch ] || [ "$action" = boot ]; then
  if [ -e "$top/standin/bootloader" ]; then
    "$top/standin/bootloader" "$top" {lock}>&- || { say "Failed to install bootloader"; exit 1; }
  fi
  # The node's bootloader: the system named in this file is the one that starts with the machine.
  mkdir -p /boot && printf '%s\n' "$top" | write_file 644 root:root /boot/default ||
    { say "Failed to install bootloader"; exit 1; }
  [ -n "${NIXOS_NO_SYNC-}" ] || sync -f /nix/store
fi
[ "$action" != boot ] || exit 0

while read -r line; do say "note: not applied on this node by the stand-in for nixpkgs: $line"; done <"$top/standin/not-applied"
while IFS=$'\t' read -r program option; do
  command -v "$program" >/dev/null || say "note: $program is not on this node: $option is configured and does not run"
done < <(cat "$top/standin/programs" 2>/dev/null)

# Another init cannot replace the running one. The lab's bare system does not say which it has.
if [ -e /run/current-system/init-interface-version ] && [ -e "$top/init-interface-version" ] &&
  ! cmp -s /run/current-system/init-interface-version "$top/init-interface-version"; then
  say "Warning: the new configuration has an 'init' that is incompatible with the current one."
  say "It takes effect when the machine is started again."
  exit 100
fi

plan_units "$(readlink -f /etc/static 2>/dev/null)" "$top/etc"
if [ "$action" = dry-activate ]; then
  say_units "would stop the following units" "${to_stop[@]}"
  say_units "would NOT stop the following changed units" "${skipped[@]}"
  say "would activate the configuration..."
  /bin/bash "$here/activate.sh" "$top" dry {lock}>&-
  say_units "would reload the following units" "${to_reload[@]}"
  say_units "would restart the following units" "${to_restart[@]}"
  # As on NixOS, without units that are new.
  split_starts
  say_units "would start the following units" "${again[@]}"
  exit 0
fi

status=0
failed_before=$(failed_units)
say_units "stopping the following units" "${to_stop[@]}"
[ ${#to_stop[@]} -eq 0 ] || systemctl stop -- "${to_stop[@]}" || true
say_units "NOT restarting the following changed units" "${skipped[@]}"
say "activating the configuration..."
/bin/bash "$here/activate.sh" "$top" {lock}>&- || status=2

apply_units || status=4
report_failed || status=4
exit "$status"
