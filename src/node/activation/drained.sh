# Notes that the node is drained in Nomad, or that it is no longer. Runs as root.
# Arguments: since when, who, the operation; none: no longer.
file=/var/lib/nixcfg/drained
if [ $# = 0 ]; then
  rm -f "$file"
  exec sync "${file%/*}"
fi
umask 022
mkdir -p "${file%/*}"
printf '%s\n' "since $1" "who $2" "for $3" >"$file.new" && sync "$file.new" && mv -f "$file.new" "$file" && sync "${file%/*}"
