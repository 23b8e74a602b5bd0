# Prints the generations of the system profile: number, time of creation, path.
for link in /nix/var/nix/profiles/system-*-link; do
  [ -L "$link" ] || continue
  number=${link##*/system-}
  echo "generation ${number%-link} $(date -u -d "@$(stat -c %Y "$link")" +%Y-%m-%dT%H:%M:%SZ) $(readlink -f "$link")"
done
echo "boots $(readlink /nix/var/nix/profiles/system)"
echo end
