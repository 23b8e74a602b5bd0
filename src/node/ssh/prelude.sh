# Every script begins with this.
newline='
'

# named NAME… -- "$@": sets each NAME to VALUE of its argument NAME=VALUE. These come first, in any order, up to a `--` or the end;
# `taken` is how many words they are. One that is missing or has another name ends the script.
named() {
  names=' ' taken=0
  until [ "$1" = -- ]; do names="$names$1 " && shift; done
  shift
  for word; do
    taken=$((taken + 1))
    [ "$word" != -- ] || break
    case $word in
    *=*) ;;
    *) word= ;;
    esac
    case $names in
    *" ${word%%=*} "*) ;;
    *) echo "an argument has no known name" >&2; exit 2 ;;
    esac
    key=${word%%=*}
    before=${names%%" $key "*} names=${names#*" $key "}
    names="$before $names"
    eval "$key=\${word#*=}"
  done
  [ "$names" = ' ' ] || { echo "arguments are missing:$names" >&2; exit 2; }
}

uptime_seconds() { read -r up _ </proc/uptime && echo "${up%%.*}"; }

# Units that have failed. What a system does not have any more, and systemd still knows as failed, is nobody's to repair.
failed_units() {
  systemctl list-units --failed --plain --no-legend --full --no-pager 2>/dev/null |
    while read -r unit loaded _; do [ "$loaded" = not-found ] || echo "failed $unit"; done
}

# Those of $parts, parts of a system that only a restart brings, that are others in SYSTEM than in the one that was booted.
other_parts() { # SYSTEM
  for part in $parts; do
    [ "$(readlink -e "/run/booted-system/$part")" = "$(readlink -e "$1/$part")" ] || echo "$part"
  done
}
