#!/bin/sh
# Runs the machine's own @program@: the first on PATH that is not in the Nix store, else one in the usual places.
IFS=:
for folder in $PATH /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin "$HOME/.cargo/bin" /root/.cargo/bin; do
  case $folder in
    /nix/store/* | /run/current-system/* | '') ;;
    *) [ -x "$folder/@program@" ] && [ ! -d "$folder/@program@" ] && exec "$folder/@program@" "$@" ;;
  esac
done
echo "@program@: not on this machine (the stand-in package @package@ runs the machine's own program)" >&2
exit 127
