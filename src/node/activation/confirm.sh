# Confirms the new system: the node stays with it. Runs as root, and waits for
# the outcome to note in the journal, on standard input: without one nothing is
# done. Its answer is `end`: a login that breaks off may end well without it.
# Argument: name of the run.
read -r outcome || exit 0
alone --timeout 5 || { echo "the node is going back already" >&2; exit 67; }
if [ "$(recorded run)" != "$1" ]; then
  echo "the node is not waiting for confirmation of $1" >&2
  exit 67
fi
audit "$outcome"
forget "$1" || exit
echo end
