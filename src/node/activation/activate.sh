# Prepares the way back, then starts the switch to a system and waits for it. The switch is in a unit of its own, which
# survives the loss of this connection. Runs as root. Arguments: the system, the action, the run's name, the ID of the
# lease, seconds to wait for confirmation, generation to go to or nothing, the operator, the operation, whether it may
# restart for the system (never, needed), seconds that the switch may take, seconds after which a lease that is not
# renewed expires, the parts that only a restart brings.
# The first line of the answer:
#   refused WORD […]   nothing was changed: absent, inhibited NAME…, busy, unarmed; standard error says more
#   switched           the output of the switch follows
named toplevel action run lease seconds number who what restart longest lease_age parts -- "$@"
refuse() { # WORD […]
  echo "refused $*"
  exit 1
}

if ! [ -f "$toplevel/nixos-version" ]; then
  echo "$toplevel is not a NixOS system, or not on this node" >&2
  refuse absent
fi
# Activates nothing before a restart.
if [ "$restart" = needed ] && [ "$action" = switch ] && [ -n "$(restart_for "$toplevel")" ]; then action=boot; fi
case $action in
switch | test)
  inhibited=$(inhibited "$toplevel" | paste -sd ' ')
  [ -z "$inhibited" ] || refuse inhibited "$inhibited"
  ;;
esac
alone --timeout 30 || { echo "the node is going back from an earlier switch" >&2; refuse busy; }
if [ -e "$state/pending" ]; then
  echo "a switch of $(recorded who) since $(recorded since) is not confirmed yet" >&2
  refuse busy
fi
if [ "$(lease_of node id)" != "$lease" ]; then
  echo "the lease on this node was lost to $(taker_of node "$lease")" >&2
  refuse busy
fi
folder=/run/nixcfg/$run
( umask 022 && mkdir -p "$folder" ) || refuse unarmed
# Removes what earlier runs left; no run takes a day.
find /run/nixcfg -mindepth 1 -maxdepth 1 -type d ! -name locks -mtime +1 -exec rm -rf {} +
# The program is a file, as systemd would expand `${…}` in a unit's command line.
( umask 077 && : >"$folder/log" && switch_text >"$folder/program" && return_text >"$folder/return" ) || refuse unarmed
if ! arm; then
  forget "$run"
  echo "the way back could not be prepared" >&2
  refuse unarmed
fi
exec 9>&-
beat
set -- --setenv=PATH="$PATH"
if [ -n "${LOCALE_ARCHIVE-}" ]; then set -- "$@" --setenv=LOCALE_ARCHIVE="$LOCALE_ARCHIVE"; fi
systemd-run --unit="nixcfg-switch-$run" --description="nixcfg: $action $toplevel" \
  --collect --no-ask-password --quiet --wait --service-type=exec \
  --property=StandardOutput="append:$folder/log" --property=StandardError="append:$folder/log" \
  --property=ExecStopPost="/bin/sh $folder/return watch $run $seconds" \
  "$@" /bin/sh "$folder/program" toplevel="$toplevel" action="$action" folder="$folder" number="$number" run="$run" </dev/null >&2
code=$?
still
echo switched
cat "$folder/log"
[ -f "$folder/result" ] && exit 0
exit "$code"
