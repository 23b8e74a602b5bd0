# Functions that write files on a node, each of them whole or not at all. Runs
# as root; a manifest is read from standard input, its format is that of mod.rs.
#
# Everything is made ready under other names first and renamed at the end, so
# that whatever fails until then (the connection, the disk) leaves all files as
# they were. A path is walked from / and its folder entered: from then on
# nobody can put another folder in its place.
umask 077
export LC_ALL=C
newline='
'
pending='' cleaned='' here=''
# Nobody can foresee it: what is made in a folder of a service's user is not there before.
read -r token </proc/sys/kernel/random/uuid

refuse() {
  printf '%s\n' "$*" >&2
  exit 1
}

# What was made ready and not put in place goes, however the script ends.
discard() {
  left=$pending pending=
  while [ -n "$left" ]; do
    path=${left%%"$newline"*} left=${left#*"$newline"}
    path=${path#* * }
    cd "${path%/*}/" 2>/dev/null && rm -f "./.nixcfg-new.$token.${path##*/}"
  done
}

# One at a time on a node. In a folder of root's alone: flock(1) needs no more than a file
# that can be read, and whoever holds it would keep everybody out.
lock() {
  trap discard EXIT
  trap 'exit 1' HUP INT TERM PIPE
  ( umask 022 && mkdir -p /run/nixcfg ) && mkdir -p /run/nixcfg/locks || refuse "cannot write in /run/nixcfg"
  command exec 9>/run/nixcfg/locks/install || refuse "cannot lock /run/nixcfg/locks/install"
  # Longer than a change of passwords waits for its proof.
  flock -w 150 9 || refuse "another run has been writing files on this node for minutes"
}

# Takes the numbers of a user and a group.
identify() {
  uid=$(id -u "$1" 2>/dev/null) ||
    refuse "there is no user $1 on this node: deploy the configuration that makes it first"
  gid=$(getent group "$2") ||
    refuse "there is no group $2 on this node: deploy the configuration that makes it first"
  gid=${gid#*:*:}
  gid=${gid%%:*}
}

# Enters the folder $1, making what is missing of it. Refuses folders in which
# somebody other than root and the user $2 could exchange what is written.
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
  # The group's place shows the mask of an access control list, where there is one (acl(5)).
  case $(ls -ld .) in
  ?????w????+*) refuse "an access control list lets others write in $1: setfacl -b $1" ;;
  esac
}

# Removes what a run that was killed left in this folder; no other is at work. What cannot
# be removed is the folder's owner's, and in nobody's way.
clean() {
  case $newline$cleaned in
  *"$newline${here#* }$newline"*) return ;;
  esac
  rm -f ./.nixcfg-new.* ./.nixcfg-old.* 2>/dev/null || :
  cleaned=$cleaned${here#* }$newline
}

# The user $1 gets something at $2, which must not be there as anything but a file or a link.
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
  # Neither an existing file nor a link is written through, and what is
  # changed by number cannot be exchanged meanwhile.
  set -C
  {
    # Where a device or the like is in its place, `set -C` lets the shell open that.
    [ -f /proc/self/fd/3 ] && printf '%s\n' "$5" | base64 -d >&3 &&
      chown "$uid:$gid" /proc/self/fd/3 &&
      chmod "$1" /proc/self/fd/3 &&
      sync /proc/self/fd/3
  } 3>"./$new" || refuse "cannot write $4"
  set +C
}

# stage_link USER PATH TARGET: the user is the one who may own the folder.
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

# stage_absent USER PATH: as for a link.
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

# Reads the manifest to its last line and makes everything ready.
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

# Puts everything in its place. A connection that is lost now stops nothing.
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
