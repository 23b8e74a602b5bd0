# Notes that the node is drained in Nomad. Runs as root. Arguments: since when, who, the operation. Without arguments it
# removes the note.
file=/var/lib/nixcfg/drained
if [ $# = 0 ]; then
  rm -f "$file" && sync "${file%/*}" || exit
  echo "drained no"
  echo end
  exit
fi
umask 022
mkdir -p "${file%/*}"
named since who what -- "$@"
printf '%s\n' "since $since" "who $who" "for $what" >"$file.new" && sync "$file.new" &&
  mv -f "$file.new" "$file" && sync "${file%/*}" || exit
echo "drained yes"
echo end
