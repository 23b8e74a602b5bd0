# Restarts the node into its new system. The time for the confirmation begins at its start. Runs as root. Argument: the
# run's name.
waits_for "$1"
{ cat "$state/pending"; echo "phase reboot"; } | keep pending || exit 65
systemctl --no-block reboot || exit
echo "restarting $1"
echo end
