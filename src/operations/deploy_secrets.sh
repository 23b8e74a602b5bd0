# Writes files, then reloads or restarts the units that use changed ones. Runs as root, after install.sh's functions.
# Input: the manifest; `reload UNIT FILE` and `restart UNIT FILE` for each use of a file; `end`. Due units are noted
# before the files are in place, and removed from the note once done. So the next run finishes what an interrupted run
# or a failed unit left. A restart of the node does all of it.
# shellcheck disable=SC2154 # variables of install.sh
uses='' note=/run/nixcfg-secrets.due

uses() {
  while IFS= read -r line; do
    [ "$line" != end ] || return 0
    uses=$uses$line$newline
  done
  refuse "the input ended early: was the connection lost?"
}

# Whether the file $1 was among those that changed.
changed() {
  case $newline$touched in
  *" $1$newline"*) return 0 ;;
  esac
  return 1
}

# The units to reload or restart ($1): those with a changed file, those due from an earlier run, and those to restart
# that failed.
due() {
  left=$uses
  while [ -n "$left" ]; do
    line=${left%%"$newline"*} left=${left#*"$newline"}
    [ "${line%% *}" = "$1" ] || continue
    line=${line#* }
    unit=${line%% *}
    if changed "${line#* }" || grep -qsxF -- "$1 $unit" "$note" || { [ "$1" = restart ] && systemctl --quiet is-failed -- "$unit"; }; then
      echo "$unit"
    fi
  done | sort -u
}

remember() { # LINES
  if [ -z "$1" ]; then rm -f "$note"; else printf '%s' "$1" >"$note.new" && mv -f "$note.new" "$note"; fi
}

act() { # reload|restart UNIT
  if [ "$(systemctl show --property=LoadState --value -- "$2")" = not-found ]; then
    echo "absent $2"
  elif [ "$1" = reload ] && ! systemctl --quiet is-active -- "$2"; then
    echo "inactive $2"
  elif systemctl "$1" -- "$2"; then
    echo "${1}ed $2"
  else
    owed="$owed$1 $2$newline"
    echo "failed $2"
  fi
}

lock
stage
uses
touched=$pending owed=''
restarts=$(due restart)
for unit in $restarts; do owed="${owed}restart $unit$newline"; done
for unit in $(due reload); do
  case $newline$restarts$newline in
  *"$newline$unit$newline"*) ;;
  *) owed="${owed}reload $unit$newline" ;;
  esac
done
remember "$owed" || refuse "cannot write $note"
commit
work=$owed owed=''
while [ -n "$work" ]; do
  line=${work%%"$newline"*} work=${work#*"$newline"}
  act "${line%% *}" "${line#* }"
done
remember "$owed"
echo end
