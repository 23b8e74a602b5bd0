# Tells what neither the probe nor status does: the time, Nix, and whether it answers this user.
echo "time $(date +%s)"
echo "nix $(nix-store --version 2>/dev/null)"
if nix-store --check-validity "$(readlink -f /run/current-system)" >/dev/null 2>&1; then echo 'answers yes'; fi
echo end
