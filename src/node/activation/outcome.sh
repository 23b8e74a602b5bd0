# Prints how a switch ended, over a connection of its own, without root. Arguments: the run's name, seconds to wait, the
# system, the parts that only a restart brings.
named run seconds toplevel parts -- "$@"
left=$((seconds * 5))
beat
if [ "$(recorded run)" = "$run" ] && [ "$(recorded phase)" = reboot ]; then
  if restarted; then
    # Its units may take half of the time to start; the rest is for checking them.
    timeout "$(($(recorded seconds) / 2))" systemctl is-system-running --wait >/dev/null 2>&1
    echo "code restarted"
  else
    echo "code restarting"
  fi
else
  while ! [ -f "/run/nixcfg/$run/result" ] && [ "$left" -gt 0 ]; do
    state_now=$(systemctl show --property=ActiveState --value "nixcfg-switch-$run" 2>/dev/null)
    case $state_now in
    active | activating | deactivating | reloading) sleep 0.2 ;;
    # The unit may have ended since the first look.
    *) [ -f "/run/nixcfg/$run/result" ] || break ;;
    esac
    left=$((left - 1))
  done
  cat "/run/nixcfg/$run/result" 2>/dev/null || echo "code died"
fi
still
echo "now $(current)"
echo "booted $(readlink -f /run/booted-system)"
echo "generation $(readlink -f "$profile")"
restart_for "$toplevel" | while read -r part; do echo "restart $part"; done
failed_units
# A node on its way back is at neither system.
if systemctl is-active --quiet "nixcfg-confirm-$run.service" "nixcfg-return-$run.service"; then echo "returning $run"; fi
[ "$(recorded run)" != "$run" ] || echo "pending $run"
if [ "$(sed -n 's/^run //p' "$state/last" 2>/dev/null)" = "$run" ]; then
  sed -n 's/^outcome /went /p; s/^reason /because /p' "$state/last"
fi
echo end
