# What all scripts of a switch share. They use what Debian has: bash, coreutils, systemd, util-linux.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
umask 022
shopt -s nullglob

say() { printf '%s\n' "$*" >&2; }
joined() { # WORD…: sorted, with commas between them
  printf '%s\n' "$@" | sort -u | paste -sd, | sed 's/,/, /g'
}
# Replaces a file by what comes on stdin, whole or not at all.
write_file() { # MODE OWNER PATH
  local temporary
  temporary=$(mktemp "$(dirname -- "$3")/.$(basename -- "$3").XXXXXX") || return
  if cat >"$temporary" && chown "$2" "$temporary" && chmod "$1" "$temporary" && mv -fT -- "$temporary" "$3"; then
    return
  fi
  rm -f -- "$temporary"
  return 1
}
# Replaces a file by a link.
write_link() { # TARGET PATH
  local temporary=$2.new-$$
  ln -sfn -- "$1" "$temporary" && mv -fT -- "$temporary" "$2"
}
