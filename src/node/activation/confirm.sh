# Confirms the new system: the node keeps it. Runs as root, and waits on standard input for the outcome for the journal;
# without one it does nothing. Its answer is `end`, as a lost login may also exit with 0. Argument: name of the run.
read -r outcome || exit 0
alone --timeout 5 || { echo "the node is going back already" >&2; exit 67; }
if [ "$(recorded run)" != "$1" ]; then
  echo "the node is not waiting for confirmation of $1" >&2
  exit 67
fi
audit "$outcome"
forget "$1" || exit
echo end
