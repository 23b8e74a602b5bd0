# Changes passwords and password files together, and undoes all of it unless it is told to keep it. Runs as root, after
# install.sh's functions. Argument: how long to wait for that, in seconds. Input: the manifest of the files; `set USER
# HASH` and `lock USER` for accounts; `end`. It prints "applied"; `keep` follows once the operator is proved not to be
# locked out.
# shellcheck disable=SC2154 # variables of install.sh
former='' wanted='' touched='' kept=''

known() { # USER
  field "$1" || refuse "there is no account $1 on this node"
}

# Reads which accounts to change, and their present hashes.
accounts() {
  while IFS= read -r line; do
    rest=${line#* }
    case $line in
    set\ *) user=${rest%% *} hash=${rest#* } ;;
    lock\ *) user=$rest hash= ;;
    end) return ;;
    *) refuse "unknown word: ${line%% *}" ;;
    esac
    known "$user"
    former=$former$user:$field$newline
    wanted=$wanted$user:${hash:-!$field}$newline
  done
  refuse "the input ended early: was the connection lost?"
}

# Whether accounts have the hashes of the list $1.
effective() {
  left=$1
  while [ -n "$left" ]; do
    line=${left%%"$newline"*} left=${left#*"$newline"}
    known "${line%%:*}"
    [ "$field" = "${line#*:}" ] || return 1
  done
}

# Makes the hashes of the list $1 effective. chpasswd changes all or none of them.
change() {
  left=$1 plain=''
  while [ -n "$left" ]; do
    line=${left%%"$newline"*} left=${left#*"$newline"}
    if [ -z "${line#*:}" ]; then
      passwd --quiet --delete "${line%%:*}" >/dev/null || return 1
    else
      plain=$plain$line$newline
    fi
  done
  [ -z "$plain" ] || printf '%s' "$plain" | chpasswd -e || return 1
  effective "$1"
}

# Runs a function for each file that is changed, in its folder.
each_touched() {
  left=$touched
  while [ -n "$left" ]; do
    path=${left%%"$newline"*} left=${left#*"$newline"}
    uid=${path%% *} path=${path#* }
    state=${path%% *} path=${path#* }
    enter "${path%/*}" "$uid"
    base=${path##*/}
    "$1"
  done
}

# The old file stays under another name, which takes no room.
remember() {
  [ "$state" = created ] || ln -P "./$base" "./.nixcfg-old.$base" || refuse "cannot keep the old $path"
}

restore() {
  if [ "$state" = created ]; then
    rm -f "./$base"
  elif [ -e "./.nixcfg-old.$base" ]; then
    mv -f -T "./.nixcfg-old.$base" "./$base"
  fi && sync .
}

forget() {
  rm -f "./.nixcfg-old.$base" && sync .
}

# Undoes an unconfirmed change at any end, accounts first.
finish() {
  trap '' HUP INT TERM PIPE
  trap - EXIT
  if [ -z "$kept" ] && [ -n "$applying" ]; then
    effective "$former" || change "$former" || echo "the passwords could not be put back" >&2
    trap 'echo "the password files could not be put back" >&2' EXIT
    each_touched restore
    trap - EXIT
    echo "everything was put back as it was" >&2
  fi
  discard
}

applying=''
lock
stage
accounts
trap finish EXIT
touched=$pending
each_touched remember
applying=1
commit
trap 'exit 1' HUP INT TERM
change "$wanted" || refuse "the passwords could not be made effective"
echo applied
if [ "$(timeout "$1" head -n 1)" != keep ]; then
  refuse "nobody said that the change may stay"
fi
kept=1
trap '' HUP INT TERM
each_touched forget
echo kept
