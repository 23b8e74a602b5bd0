# Prints the paths of a closure, then the size of each, in the same order.
# Argument: its root.
paths=$(nix-store --query --requisites "$1") || exit
printf '%s\n' "$paths"
printf '%s\n' "$paths" | xargs nix-store --query --size || exit
echo end
