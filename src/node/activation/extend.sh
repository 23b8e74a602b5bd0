# Extends the time for the confirmation by what comes before the node's restart, and prints whether a unit runs, then
# `extended RUN`. Runs as root. Arguments: the run's name, seconds, unit.
named run seconds unit -- "$@"
waits_for "$run"
[ -n "$(recorded held)" ] || { cat "$state/pending"; echo "held yes"; } | keep pending || exit 65
systemctl stop "nixcfg-confirm-$run.timer" 2>/dev/null
/bin/sh "$state/return" watch "$run" "$seconds" 9>&- || exit
if systemctl is-active --quiet "$unit"; then echo "unit active"; fi
echo "extended $run"
echo end
