# Switches to a system: sets the profile, runs switch-to-configuration, and leaves the outcome in the run's folder. Runs
# as root, in a transient unit. Arguments: the system, the action, the run's folder, generation to go to or nothing, the
# run's name.
named toplevel action folder number run -- "$@"

begun=no why=''
# Whether the switch began to stop units or to activate. Only its output shows that: 1 and all other errors may come
# before that or after.
begun() { grep -qE '^(stopping the following units: |stopping swap device: |activating the configuration)' "$folder/log"; }

# Prints the reason of a failure: the check or step that the output names, or its last line.
why() {
  said=$(grep -E "^(Pre-switch check '.*' failed|Failed to install bootloader|Error: )" "$folder/log" | head -n 1)
  printf '%s\n' "${said:-$(grep . "$folder/log" | tail -n 1)}" | cut -c 1-300
}

# Writes the outcome whole or not at all.
finish() {
  printf '%s\n' "code $1" "begun $begun" "why $why" "current $(current)" "profile $(readlink -f "$profile")" >"$folder/result.new" &&
    mv "$folder/result.new" "$folder/result"
  exit 0
}

set_profile() {
  if [ -n "$number" ]; then
    ln -sfn "system-$number-link" "$profile.nixcfg" && mv -fT "$profile.nixcfg" "$profile" && sync "${profile%/*}"
  elif [ "$(readlink -f "$profile")" != "$toplevel" ]; then
    nix-env --profile "$profile" --set "$toplevel"
  fi
}

# Nothing was switched or changed, so there is nothing to confirm.
untouched() {
  why=$(why)
  alone --timeout 60
  profile_back
  if [ "$(current)" = "$(recorded previous)" ] && [ "$(readlink -f "$profile")" = "$(recorded profile)" ]; then
    echo "the system profile is at $(recorded profile)"
    audit "not switched"
    forget "$run"
  fi
  finish "$1"
}

# Until 24.11, NixOS waits for another switch for ever; later versions end with this code at once.
own_switch_lock
if [ -e "$switching" ] && ! flock --nonblock "$switching" true; then
  echo "another switch holds $switching"
  untouched 11
fi

case $action in
switch | boot) set_profile || untouched profile ;;
esac

"$toplevel/bin/switch-to-configuration" "$action"
code=$?
if begun; then begun=yes; fi
case $code in
0 | 100) ;;
*)
  why=$(why)
  if [ "$begun" = no ]; then
    # The bootloader may be half written, unless another switch held the lock.
    case $code,$action in
    11,*) ;;
    *,switch | *,boot) NIXOS_NO_CHECK=1 "$(recorded profile)/bin/switch-to-configuration" boot >"$folder/boot" 2>&1 || cat "$folder/boot" ;;
    esac
    untouched "$code"
  fi
  ;;
esac
finish "$code"
