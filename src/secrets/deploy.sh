# Writes files and then reloads or restarts the units that use those that
# changed. Runs as root, after install.sh's functions. Input: the manifest;
# `reload UNIT FILE` and `restart UNIT FILE` for each use of a file; `end`.
# shellcheck disable=SC2154 # variables of install.sh
uses=''

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

# The units that are to be reloaded or restarted ($1): those with a changed
# file, and those to restart that failed, which is how an earlier run may have left them.
due() {
  left=$uses
  while [ -n "$left" ]; do
    line=${left%%"$newline"*} left=${left#*"$newline"}
    [ "${line%% *}" = "$1" ] || continue
    line=${line#* }
    unit=${line%% *}
    if changed "${line#* }" || { [ "$1" = restart ] && systemctl --quiet is-failed -- "$unit"; }; then
      echo "$unit"
    fi
  done | sort -u
}

act() { # reload|restart UNIT
  if [ "$(systemctl show --property=LoadState --value -- "$2")" = not-found ]; then
    echo "absent $2"
  elif [ "$1" = reload ] && ! systemctl --quiet is-active -- "$2"; then
    echo "inactive $2"
  elif systemctl "$1" -- "$2"; then
    echo "${1}ed $2"
  else
    echo "failed $2"
  fi
}

lock
stage
uses
touched=$pending
commit
restarts=$(due restart)
for unit in $restarts; do act restart "$unit"; done
for unit in $(due reload); do
  case $newline$restarts$newline in
  *"$newline$unit$newline"*) ;;
  *) act reload "$unit" ;;
  esac
done
echo end
