# Tries the sudo password, read from standard input, once.
IFS= read -r password
printf '%s\n' "$password" | sudo -k -S -p '' true
