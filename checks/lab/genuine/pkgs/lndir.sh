# lndir [-silent] FROM [TO]: makes a tree of links to all files of another tree.
mkdir -p "$out/bin"
cat >"$out/bin/lndir" <<'SCRIPT'
#!/bin/sh
set -e
[ "$1" != -silent ] || shift
to=${2:-.}
cd "$to"
(cd "$1" && find . -type d) | while read -r folder; do mkdir -p "$folder"; done
(cd "$1" && find . ! -type d) | while read -r file; do [ -e "$file" ] || ln -s "$1/${file#./}" "$file"; done
SCRIPT
chmod 755 "$out/bin/lndir"
