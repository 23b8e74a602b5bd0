# Extends the time for the confirmation by what comes before the node's restart, and prints whether a unit runs. Runs as
# root. Arguments: name of the run, seconds, unit.
alone --timeout 5 || { echo "the node is going back already" >&2; exit 67; }
if [ "$(recorded run)" != "$1" ]; then
  echo "the node is not waiting for confirmation of $1" >&2
  exit 67
fi
[ -n "$(recorded held)" ] || { cat "$state/pending"; echo "held yes"; } | keep pending || exit 65
systemctl stop "nixcfg-confirm-$1.timer" 2>/dev/null
/bin/sh "$state/return" watch "$1" "$2" 9>&- || exit
if systemctl is-active --quiet "$3"; then echo "unit active"; fi
echo end
