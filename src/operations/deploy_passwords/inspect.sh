# Compares the administrators' passwords with the wanted ones. Runs as root. The hashes come on standard input and stay
# on the node. Input: `admin USER` for each administrator, `hash USER HASH FILE` for each hash, `folder PATH` for each
# folder of password files, `end`.
admins=$newline

state() {
  if ! field "$1"; then
    echo absent
  elif [ -n "$2" ] && [ "$field" = "$2" ]; then
    echo same
  else
    case $field in
    '!'* | '*'*) echo locked ;;
    *) echo different ;;
    esac
  fi
}

# Reports a user who could become root and is no administrator.
left_over() {
  case $admins in
  *"$newline$1$newline"*) return ;;
  esac
  [ "$1" = root ] || echo "removed $1 $(state "$1" '')"
}

# Whether the file $1 may be a former administrator's password. Other files are not this tool's to remove, nor are those
# of root and of accounts that cannot become root.
former() {
  case $(cat "$1") in
  \$?*\$?*) ;;
  *) return 1 ;;
  esac
  [ "${1##*/}" != root ] || return 1
  getent passwd "${1##*/}" >/dev/null || return 0
  wheel=$(getent group wheel)
  case ,${wheel##*:}, in
  *",${1##*/},"*) ;;
  *) return 1 ;;
  esac
}

while IFS= read -r line; do
  rest=${line#* }
  case $line in
  admin\ *) admins=$admins$rest$newline ;;
  hash\ *)
    user=${rest%% *} rest=${rest#* }
    hash=${rest%% *} path=${rest#* }
    if ! [ -e "$path" ]; then
      file=absent
    elif [ -f "$path" ] && ! [ -L "$path" ] && [ "$(stat -c '%u %g %a' "$path")" = '0 0 600' ] &&
      [ "$(cat "$path")" = "$hash" ]; then
      file=same
    else
      file=different
    fi
    echo "user $user $(state "$user" "$hash") $file"
    ;;
  folder\ *)
    for path in "$rest"/*; do
      [ -f "$path" ] || continue
      case $admins in
      *"$newline${path##*/}$newline"*) ;;
      *) ! former "$path" || echo "file ${path##*/}" ;;
      esac
    done
    ;;
  end)
    members=$(getent group wheel) && members=${members##*:},
    while [ -n "$members" ]; do
      left_over "${members%%,*}"
      members=${members#*,}
    done
    [ -w /etc/shadow ] || echo readonly
    echo end
    exit 0
    ;;
  esac
done
echo "the input ended early" >&2
exit 1
