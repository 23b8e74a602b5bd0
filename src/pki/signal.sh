# Makes a unit use its files. Runs as root. Arguments: ACTION UNIT. ACTION is reload, restart, start, or log, which
# prints the last lines of the unit's log since it was last started, or told to start. Prints `done ACTION UNIT`.
set -eu
case $1 in
reload)
    # Not `systemctl reload`: it runs a client of the daemon's plain port, which is closed.
    pid=$(systemctl show -p MainPID --value -- "$2")
    [ "${pid:-0}" -gt 0 ] || { echo "$2 does not run" >&2; exit 1; }
    kill -HUP "$pid"
    ;;
restart) systemctl restart -- "$2" ;;
start) systemctl start -- "$2" ;;
log)
    # systemd checks conditions at each start, also where there are none.
    since=$(systemctl show --timestamp=unix --property=ConditionTimestamp --value -- "$2") || since=
    case $since in
    @*) ;;
    *) since=@0 ;;
    esac
    journalctl --no-pager --quiet --output cat --lines 10 --since "$since" --unit "$2"
    ;;
*) exit 2 ;;
esac
echo "done $1 $2"
echo end
