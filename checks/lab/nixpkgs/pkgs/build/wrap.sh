#!/bin/bash
# makeWrapper PROGRAM WRAPPER FLAG… or wrapProgram PROGRAM FLAG…: a script that sets the environment and runs PROGRAM.
set -eu
if [ "${0##*/}" = wrapProgram ]; then
  wrapper=$1
  program=$(dirname "$1")/.$(basename "$1")-wrapped
  mv "$1" "$program"
  shift
else
  program=$1 wrapper=$2
  shift 2
fi
lines=() flags=
argv0=
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) lines+=("export $2=$(printf %q "$4")\${$2:+$(printf %q "$3")}\${$2-}"); shift 4 ;;
    --suffix) lines+=("export $2=\${$2-}\${$2:+$(printf %q "$3")}$(printf %q "$4")"); shift 4 ;;
    --set) lines+=("export $2=$(printf %q "$3")"); shift 3 ;;
    --set-default) lines+=("export $2=\${$2-$(printf %q "$3")}"); shift 3 ;;
    --unset) lines+=("unset $2"); shift 2 ;;
    --run) lines+=("$2"); shift 2 ;;
    --chdir) lines+=("cd $(printf %q "$2")"); shift 2 ;;
    --add-flags) flags="$flags $2"; shift 2 ;;
    --add-flag) flags="$flags $(printf %q "$2")"; shift 2 ;;
    --inherit-argv0) argv0='-a "$0" '; shift ;;
    --argv0) argv0="-a $(printf %q "$2") "; shift 2 ;;
    *) echo "makeWrapper: the stand-in does not know $1" >&2; exit 1 ;;
  esac
done
mkdir -p "$(dirname "$wrapper")"
{
  echo '#!/bin/bash'
  [ ${#lines[@]} -eq 0 ] || printf '%s\n' "${lines[@]}"
  echo "exec $argv0$(printf %q "$program")$flags \"\$@\""
} >"$wrapper"
chmod 555 "$wrapper"
