# Starts the switch to a system in a unit of its own, so that it survives the
# loss of this connection, and waits for it. Runs as root.
# Arguments: toplevel, action, name of the run, the unit's program.
toplevel=$1 action=$2 run=$3 program=$4
if ! [ -f "$toplevel/nixos-version" ]; then
  echo "$toplevel is not a NixOS system, or not on this node" >&2
  exit 64
fi
folder=/run/nixcfg/$run
( umask 022 && mkdir -p "$folder" ) || exit 65
# What earlier runs left; a day is more than any run takes.
find /run/nixcfg -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
# The program is a file: in a unit's command line systemd itself expands `${…}`.
( umask 077 && : >"$folder/log" && printf '%s' "$program" >"$folder/program" ) || exit 65
set -- --setenv=PATH="$PATH"
if [ -n "${LOCALE_ARCHIVE-}" ]; then set -- "$@" --setenv=LOCALE_ARCHIVE="$LOCALE_ARCHIVE"; fi
systemd-run --unit="nixcfg-switch-$run" --description="nixcfg: $action $toplevel" \
  --collect --no-ask-password --quiet --wait --service-type=exec \
  --property=StandardOutput="append:$folder/log" --property=StandardError="append:$folder/log" \
  "$@" /bin/sh "$folder/program" "$toplevel" "$action" "$folder" </dev/null >&2
code=$?
cat "$folder/log"
[ -f "$folder/result" ] && exit 0
exit "$code"
