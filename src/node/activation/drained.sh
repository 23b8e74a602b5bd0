# Notes that the node is drained in Nomad. Runs as root. Arguments: since when, who, the operation. Without arguments it
# removes the note.
file=/var/lib/nixcfg/drained
if [ $# = 0 ]; then
  rm -f "$file"
  exec sync "${file%/*}"
fi
umask 022
mkdir -p "${file%/*}"
printf '%s\n' "since $1" "who $2" "for $3" >"$file.new" && sync "$file.new" && mv -f "$file.new" "$file" && sync "${file%/*}"
