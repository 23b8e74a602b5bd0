# Switches to a system: the profile, then switch-to-configuration; leaves the
# outcome in the run's folder. Runs in a transient unit, as root.
# Arguments: toplevel, action, the run's folder.
toplevel=$1 action=$2 folder=$3
profile=/nix/var/nix/profiles/system

current() { readlink -f /run/current-system; }

# The outcome appears whole or not at all.
finish() {
  printf '%s\n' "code $1" "current $(current)" "profile $(readlink -f "$profile")" >"$folder/result.new" &&
    mv "$folder/result.new" "$folder/result"
  exit 0
}

# Back to the exact generation that was there, not just one generation back.
restore() {
  failed=$(readlink "$profile")
  nix-env --profile "$profile" --switch-generation "${number:-0}" 2>/dev/null
  if [ "$(readlink -f "$profile")" != "$previous" ]; then
    nix-env --profile "$profile" --set "$previous"
  fi
  failed=${failed#system-}
  nix-env --profile "$profile" --delete-generations "${failed%-link}"
  echo "the system profile is back at $previous"
}

previous=$(readlink -f "$profile")
number=$(readlink "$profile")
number=${number#system-}
number=${number%-link}

case $action in
switch | boot)
  if [ "$previous" != "$toplevel" ]; then
    nix-env --profile "$profile" --set "$toplevel" || finish profile
  fi
  ;;
esac

"$toplevel/bin/switch-to-configuration" "$action"
code=$?

case $action in
switch) if [ "$(current)" = "$toplevel" ]; then kept=1; else kept=0; fi ;;
boot) if [ "$code" = 0 ]; then kept=1; else kept=0; fi ;;
*) kept=1 ;;
esac
# 100: the new system is booted from the next start on, and its profile stays.
if [ "$code" != 100 ] && [ "$kept" = 0 ] && [ -n "$previous" ] && [ "$previous" != "$toplevel" ]; then
  restore
fi
finish "$code"
