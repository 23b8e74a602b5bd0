# Tells how a switch ended, over a connection of its own, without being root.
# Arguments: name of the run, seconds to wait.
run=$1 left=$(($2 * 5))
while ! [ -f "/run/nixcfg/$run/result" ] && [ "$left" -gt 0 ]; do
  state=$(systemctl show --property=ActiveState --value "nixcfg-switch-$run" 2>/dev/null)
  case $state in
  active | activating | deactivating | reloading) sleep 0.2 ;;
  # The unit may have ended between the two looks.
  *) [ -f "/run/nixcfg/$run/result" ] || echo "died"; break ;;
  esac
  left=$((left - 1))
done
cat "/run/nixcfg/$run/result" 2>/dev/null
echo "now $(readlink -f /run/current-system)"
echo "generation $(readlink -f /nix/var/nix/profiles/system)"
