# Takes a node back to the system and the profile's generation in the record. It stays on the node while a switch is not
# confirmed, and is started there:
#   watch RUN SECONDS     a switch has ended: wait for its confirmation
#   overdue RUN           every quarter of a minute, whatever else happens
#   boot                  the node has started
#   now REASON RUN        go back
umask 022
PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin

count_down() { # RUN SECONDS
  exec systemd-run --quiet --collect --unit="nixcfg-confirm-$1" --description="nixcfg: go back unless $1 is confirmed" \
    --on-active="$2" --timer-property=AccuracySec=200ms /bin/sh "$state/return" now unconfirmed "$1"
}

switches() {
  case $(systemctl show --property=ActiveState --value "nixcfg-switch-$1.service") in
  active | activating | deactivating | reloading) true ;;
  *) false ;;
  esac
}

# Whether the lease has ended with its holder.
abandoned() {
  renewed=$(sed -n 's/^renewed //p' /run/nixcfg/node.lease 2>/dev/null)
  [ $(($(uptime_seconds) - ${renewed:-0})) -ge "$(recorded lease-age)" ]
}

# Waits for another switch-to-configuration that is still ending.
configure() { # SYSTEM ACTION
  own_switch_lock
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    NIXOS_NO_CHECK=1 LOCALE_ARCHIVE="$1/sw/lib/locale/locale-archive" \
      timeout --kill-after=10 "$(recorded longest)" "$1/bin/switch-to-configuration" "$2" 9>&-
    code=$?
    [ "$code" = 11 ] || break
    sleep 1
  done
  echo "$1/bin/switch-to-configuration $2 ended with $code"
}

# Restores the boot loader's choice and the profile's generation. A live `switch` back to the system that was both
# running and booted does this itself.
boots_as_before() {
  profile_back
  [ "$action" != test ] || return 0
  if [ "$action" = switch ] && [ "$before" = "$previous" ] && ! restarted; then return 0; fi
  configure "$before" boot
  [ "$code" = 0 ] || unbootable=1
}

# A node that cannot change back live restarts, once.
start_anew() {
  [ -z "$(recorded tries)" ] || return 0
  echo "starting anew to go back"
  { cat "$state/pending"; printf '%s\n' "tries 1" "reason $reason"; } | keep pending
  systemctl reboot
  exit 0
}

ended() { # OUTCOME
  keep last <<LAST
run $run
outcome $1
reason $reason
at $(date -u +%Y-%m-%dT%H:%M:%SZ)
current $(current)
profile $(readlink -f "$profile")
LAST
  audit "$1 ($reason)"
}

go_back() {
  # A holder of such a long time will not end either.
  alone --timeout 300
  [ "$(recorded run)" = "$run" ] || exit 0
  action=$(recorded action) previous=$(recorded previous)
  way_back
  # The reason is that of the restart for going back.
  began=$(recorded reason)
  reason=${began:-$reason} unbootable='' astray=''
  echo "nixcfg: going back to $before, $generation: $reason (run $run)"
  rm -f "$state/room"
  systemctl kill --signal=KILL "nixcfg-switch-$run.service" 2>/dev/null
  systemctl stop "nixcfg-switch-$run.service" 2>/dev/null
  if restarted; then
    previous=$before
    accounts_back
    boots_as_before
    if [ "$(current)" != "$previous" ]; then
      start_anew
      configure "$previous" test
    fi
  else
    [ "$action" = boot ] || accounts_back
    boots_as_before
    case $action in
    switch) if [ "$before" = "$previous" ]; then configure "$previous" switch; else configure "$previous" test; fi ;;
    test) configure "$previous" test ;;
    esac
    [ "$(current)" = "$previous" ] || start_anew
  fi
  accounts_shut
  if [ "$(current)" = "$previous" ] && [ "$(readlink -f "$profile")" = "$before" ] && [ -z "$unbootable$astray" ]; then
    ended returned
  else
    ended stuck
  fi
  forget "$run"
}

case $1 in
watch)
  if [ "$(recorded run)" = "$2" ]; then count_down "$2" "$3"; fi
  ;;
overdue)
  if [ "$(recorded run)" != "$2" ]; then
    systemctl stop "nixcfg-overdue-$2.timer"
    exit 0
  fi
  # The operator's side is gone before the restart, and the other timer counts far longer.
  if [ -n "$(recorded held)" ] && [ -z "$(recorded phase)" ] && abandoned; then
    run=$2 reason=abandoned
    go_back
    exit 0
  fi
  # The switch starts within seconds; after that, the other timer counts.
  waited=$(($(uptime_seconds) - $(recorded armed)))
  if [ "$waited" -lt 15 ] || systemctl is-active --quiet "nixcfg-confirm-$2.timer" "nixcfg-confirm-$2.service"; then exit 0; fi
  if switches "$2" && [ "$waited" -lt "$(recorded longest)" ]; then exit 0; fi
  run=$2 reason=overdue
  go_back
  ;;
boot)
  # A switch starts this unit too, but it is for a start of the machine only.
  run=$(recorded run)
  if [ -z "$run" ] || ! restarted; then exit 0; fi
  reason=restarted
  if [ "$(recorded phase)" = reboot ] && [ "$(current)" = "$(recorded system)" ]; then
    # One start only: a system that keeps restarting before its confirmation would wait for ever.
    case $(recorded started) in
    '')
      { cat "$state/pending"; echo "started $(boot_id)"; } | keep pending
      count_down "$run" "$(recorded seconds)"
      ;;
    "$(boot_id)") exit 0 ;;
    esac
  elif [ "$(recorded phase)" = reboot ]; then
    reason=other-system
  fi
  # In a unit of its own, as going back may start and await everything that this unit belongs to.
  exec systemd-run --quiet --no-block --collect --unit="nixcfg-return-$run" /bin/sh "$state/return" now "$reason" "$run"
  ;;
now)
  reason=$2 run=$3
  go_back
  ;;
esac
