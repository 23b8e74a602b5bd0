# Confirms the new system: the node keeps it. Runs as root, and waits on standard input for the outcome for the journal;
# without one it does nothing. Prints `confirmed RUN`. Argument: the run's name.
read -r outcome || exit 0
waits_for "$1"
audit "$outcome"
forget "$1" || exit
echo "confirmed $1"
echo end
