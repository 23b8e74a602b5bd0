# Functions that write files on a node, each file whole or not at all. Runs as root. Reads a manifest, in the format of
# mod.rs, from standard input.
#
# Everything is written under other names first and renamed at the end. So any failure before that (the connection, the
# disk) leaves all files as they were. The script walks a path from / and enters its folder: from then on nobody can
# replace that folder.
umask 077
export LC_ALL=C
pending='' cleaned='' here=''
# Nobody can guess it, so a service's user cannot create such a file in its folder before.
read -r token </proc/sys/kernel/random/uuid

refuse() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Removes prepared files that were not put in place, at any end of the script.
discard() {
  left=$pending pending=
  while [ -n "$left" ]; do
    path=${left%%"$newline"*} left=${left#*"$newline"}
    path=${path#* * }
    cd "${path%/*}/" 2>/dev/null && rm -f "./.nixcfg-new.$token.${path##*/}"
  done
}

# One run at a time on a node. The lock is in a folder of root's alone: any account can hold a lock that it can read.
lock() {
  trap discard EXIT
  trap 'exit 1' HUP INT TERM PIPE
  ( umask 022 && mkdir -p /run/nixcfg ) && mkdir -p /run/nixcfg/locks || refuse "cannot write in /run/nixcfg"
  command exec 9>/run/nixcfg/locks/install || refuse "cannot lock /run/nixcfg/locks/install"
  # Longer than a change of passwords may wait for its proof.
  flock -w 150 9 || refuse "another run has been writing files on this node for minutes"
}

# Looks up the numbers of a user and a group.
identify() {
  uid=$(id -u "$1" 2>/dev/null) ||
    refuse "there is no user $1 on this node: deploy the configuration that makes it first"
  gid=$(getent group "$2") ||
    refuse "there is no group $2 on this node: deploy the configuration that makes it first"
  gid=${gid#*:*:}
  gid=${gid%%:*}
}

# Enters the folder $1, and makes missing parts of it. Refuses folders in which somebody other than root and the user $2
# could replace files.
enter() {
  if [ "$here" = "$2 $1" ]; then return; fi
  here=
  cd / || refuse "cannot enter /"
  trusted / "$2"
  walked='' rest=${1#/}
  while [ -n "$rest" ]; do
    part=${rest%%/*}
    case $rest in
    */*) rest=${rest#*/} ;;
    *) rest= ;;
    esac
    walked=$walked/$part
    if [ -L "./$part" ]; then
      refuse "$walked is a symbolic link: name the file by its real path, below $(readlink -f "./$part")"
    elif ! [ -e "./$part" ]; then
      { mkdir -m 755 "./$part" && sync .; } || refuse "cannot make the folder $walked"
      printf 'created %s\n' "$walked"
    elif ! [ -d "./$part" ]; then
      refuse "$walked is not a folder"
    fi
    { cd -P "./$part" && [ "$(pwd -P)" = "$walked" ]; } || refuse "cannot enter $walked"
    trusted "$walked" "$2"
  done
  here="$2 $1"
}

trusted() {
  facts=$(stat -c '%u %g %a' .) || refuse "cannot look at $1"
  if [ "${facts%% *}" != 0 ] && [ "${facts%% *}" != "$2" ]; then
    refuse "$1 belongs to $(stat -c %U .), who could exchange what is written there"
  fi
  facts=${facts#* }
  case $facts in
  *[2367]) refuse "everybody may write in $1, and exchange what is written there" ;;
  0\ *) ;;
  *[2367]?) refuse "the group $(stat -c %G .) may write in $1, and exchange what is written there" ;;
  esac
  # With an access control list, the group's bits show its mask (acl(5)).
  case $(ls -ld .) in
  ?????w????+*) refuse "an access control list lets others write in $1: setfacl -b $1" ;;
  esac
}

# Removes what a killed run left in this folder; the lock excludes other runs. What cannot be removed belongs to the
# folder's owner, and does no harm.
clean() {
  case $newline$cleaned in
  *"$newline${here#* }$newline"*) return ;;
  esac
  rm -f ./.nixcfg-new.* ./.nixcfg-old.* 2>/dev/null || :
  cleaned=$cleaned${here#* }$newline
}

# Prepares to write $2 for the user $1. Fails if $2 exists and is neither a file nor a link.
prepare() {
  enter "${2%/*}" "$1"
  clean
  base=${2##*/} new=.nixcfg-new.$token.${2##*/}
  if [ -L "./$base" ] || [ -f "./$base" ]; then
    state=changed
  elif [ -e "./$base" ]; then
    refuse "$2 is there, and not a file"
  else
    state=created
  fi
}

# stage_file MODE USER GROUP PATH CONTENT: CONTENT in base64.
stage_file() {
  identify "$2" "$3"
  prepare "$uid" "$4"
  if [ $state = changed ] && ! [ -L "./$base" ] &&
    [ "$(stat -c '%u %g %a' "./$base")" = "$uid $gid $1" ] &&
    printf '%s\n' "$5" | base64 -d | timeout 20 cmp -s - "./$base"; then
    printf 'unchanged %s\n' "$4"
    return
  fi
  pending="$pending$uid $state $4$newline"
  # Writes through neither an existing file nor a link. Nobody can replace a file that is changed by its descriptor.
  set -C
  {
    # `set -C` would still open a device or the like in its place.
    [ -f /proc/self/fd/3 ] && printf '%s\n' "$5" | base64 -d >&3 &&
      chown "$uid:$gid" /proc/self/fd/3 &&
      chmod "$1" /proc/self/fd/3 &&
      sync /proc/self/fd/3
  } 3>"./$new" || refuse "cannot write $4"
  set +C
}

# stage_link USER PATH TARGET: USER may own the folder.
stage_link() {
  uid=$(id -u "$1" 2>/dev/null) ||
    refuse "there is no user $1 on this node: deploy the configuration that makes it first"
  prepare "$uid" "$2"
  if [ -L "./$base" ] && [ "$(readlink "./$base")" = "$3" ]; then
    printf 'unchanged %s\n' "$2"
    return
  fi
  pending="$pending$uid $state $2$newline"
  ln -s "$3" "./$new" || refuse "cannot make the link $2"
}

# stage_absent USER PATH: USER may own the folder.
stage_absent() {
  if ! [ -e "$2" ] && ! [ -L "$2" ]; then
    printf 'unchanged %s\n' "$2"
    return
  fi
  uid=$(id -u "$1" 2>/dev/null) ||
    refuse "there is no user $1 on this node: deploy the configuration that makes it first"
  prepare "$uid" "$2"
  pending="$pending$uid removed $2$newline"
}

# make_folder MODE USER GROUP PATH
make_folder() {
  identify "$2" "$3"
  enter "${4%/*}" "$uid"
  base=${4##*/} state=changed
  if [ -L "./$base" ]; then
    refuse "$4 is a symbolic link: name the folder by its real path, $(readlink -f "./$base")"
  elif ! [ -e "./$base" ]; then
    state=created
    { mkdir "./$base" && sync .; } || refuse "cannot make the folder $4"
  elif ! [ -d "./$base" ]; then
    refuse "$4 is there, and not a folder"
  fi
  here=
  { cd -P "./$base" && [ "$(pwd -P)" = "$4" ]; } || refuse "cannot enter $4"
  if [ "$(stat -c '%u %g %a' .)" = "$uid $gid $1" ]; then
    [ $state = created ] || state=unchanged
  else
    { chown "$uid:$gid" . && chmod "$1" .; } || refuse "cannot give $4 to $2:$3 with mode $1"
  fi
  printf '%s %s\n' $state "$4"
}

# Reads the manifest to its last line and prepares everything.
stage() {
  while IFS= read -r line; do
    kind=${line%% *} rest=${line#* }
    case $kind in
    file | folder)
      mode=${rest%% *} rest=${rest#* }
      user=${rest%% *} rest=${rest#* }
      group=${rest%% *} path=${rest#* }
      if [ "$kind" = folder ]; then
        make_folder "$mode" "$user" "$group" "$path"
      elif IFS= read -r content; then
        stage_file "$mode" "$user" "$group" "$path" "$content"
        content=
      else
        break
      fi
      ;;
    link)
      IFS= read -r target || break
      stage_link "${rest%% *}" "${rest#* }" "$target"
      ;;
    absent) stage_absent "${rest%% *}" "${rest#* }" ;;
    end) return ;;
    *) refuse "the manifest holds an unknown word: $kind" ;;
    esac
  done
  refuse "the manifest ended early: was the connection lost?"
}

# Puts everything in place. A lost connection no longer stops it.
commit() {
  trap '' HUP INT TERM PIPE
  while [ -n "$pending" ]; do
    path=${pending%%"$newline"*}
    uid=${path%% *} path=${path#* }
    state=${path%% *} path=${path#* }
    enter "${path%/*}" "$uid"
    base=${path##*/}
    if [ "$state" = removed ]; then
      { rm -f "./$base" && sync .; } || refuse "cannot remove $path"
    else
      { mv -f -T "./.nixcfg-new.$token.$base" "./$base" && sync .; } || refuse "cannot put $path in its place"
    fi
    pending=${pending#*"$newline"}
    printf '%s %s\n' "$state" "$path" || :
  done
}
