# Restarts the node into its new system. The time for the confirmation begins at its start. Runs as root. Argument: name
# of the run.
alone --timeout 5 || { echo "the node is going back already" >&2; exit 67; }
if [ "$(recorded run)" != "$1" ]; then
  echo "the node is not waiting for confirmation of $1" >&2
  exit 67
fi
{ cat "$state/pending"; echo "phase reboot"; } | keep pending || exit 65
exec systemctl --no-block reboot
