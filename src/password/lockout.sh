# Prints of each user whether the password file is missing, unusable or fine. Runs as root. The files stay on the node.
# Input: lines `USER FILE`, then `end`.
while read -r user path; do
  if [ "$user" = end ]; then
    echo end
    exit 0
  fi
  if ! [ -f "$path" ]; then
    echo "missing $user"
    continue
  fi
  # The prefixes that NixOS accepts. The file is one line with the hash.
  case $(cat "$path") in
  *"$newline"*) echo "unusable $user" ;;
  "\$y\$"?* | "\$gy\$"?* | "\$7\$"?* | "\$2"[aby]"\$"?* | "\$6\$"?*) echo "fine $user" ;;
  *) echo "unusable $user" ;;
  esac
done
echo "the input ended early" >&2
exit 1
