#!/bin/bash
# installShellCompletion [--cmd NAME] [--bash|--fish|--zsh] FILE…: copies completions to where shells look for them.
set -eu
cmd= shell=
while [ $# -gt 0 ]; do
  case $1 in
    --cmd) cmd=$2; shift 2; continue ;;
    --bash | --fish | --zsh) shell=${1#--}; shift; continue ;;
    --*) echo "installShellCompletion: the stand-in does not know $1" >&2; exit 1 ;;
  esac
  kind=${shell:-${1##*.}}
  name=${cmd:-$(basename "${1%.*}")}
  case $kind in
    bash) target=$out/share/bash-completion/completions/$name ;;
    fish) target=$out/share/fish/vendor_completions.d/$name.fish ;;
    zsh) target=$out/share/zsh/site-functions/_${name#_} ;;
    *) echo "installShellCompletion: which shell is $1 for?" >&2; exit 1 ;;
  esac
  mkdir -p "$(dirname "$target")"
  cat "$1" >"$target"
  shift
done
