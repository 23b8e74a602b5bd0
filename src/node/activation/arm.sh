# Prepares the way back, before anything is changed. Included in other scripts: needs the shared functions, and the
# variables toplevel, action, run, seconds, who, what, restart, longest, lease_age and return_text.
room=8 # MiB that are set aside for going back on a full disk

boot_text() {
  cat <<'UNIT'
[Unit]
Description=Go back to the system before an unconfirmed switch
DefaultDependencies=no
After=sysinit.target local-fs.target
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists=/var/lib/nixcfg/rollback/pending

[Service]
Type=oneshot
ExecStart=/bin/sh /var/lib/nixcfg/rollback/return boot
UNIT
}

# The next system to boot looks for the record: by its own unit, or by one in a folder that systemd reads besides.
arm_boot() {
  for system in "$toplevel" "$before" $fallback; do
    if ! [ -e "$system/etc/systemd/system/$boot_unit" ]; then
      arm_beside
      return
    fi
  done
}
arm_beside() {
  for target in multi-user emergency rescue; do
    mkdir -p "$control/$target.target.wants" && ln -sfn "../$boot_unit" "$control/$target.target.wants/$boot_unit" || return
  done
  boot_text >"$control/$boot_unit" && sync "$control/$boot_unit" "$control"
}

# A node that only has to boot the wanted system goes back to its booted system, as the wanted one may not boot.
find_fallback() {
  fallback='' fallback_generation=''
  if [ "$before" != "$toplevel" ] || [ "$restart" = never ]; then return; fi
  booted=$(readlink -f /run/booted-system)
  if [ "$booted" = "$before" ]; then return; fi
  for link in "${profile%/*}"/system-*-link; do
    if [ "$(readlink -f "$link")" = "$booted" ]; then fallback=$booted fallback_generation=${link##*/}; fi
  done
}

arm() {
  previous=$(current) generation=$(readlink "$profile") before=$(readlink -f "$profile")
  find_fallback
  newest=0
  for link in "${profile%/*}"/system-*-link; do
    number_of=${link##*/system-} number_of=${number_of%-link}
    if [ "$number_of" -gt "$newest" ] 2>/dev/null; then newest=$number_of; fi
  done
  ( umask 022 && mkdir -p "$state" ) || return
  rm -f "$state"/*.new
  # Some file systems cannot reserve space without writing it.
  fallocate -l "${room}M" "$state/room" 2>/dev/null || head -c "${room}M" /dev/zero >"$state/room" || return
  return_text | keep return || return
  keep_accounts || return
  mkdir -p /nix/var/nix/gcroots
  ln -sfn "$previous" /nix/var/nix/gcroots/nixcfg-previous && ln -sfn "$before" /nix/var/nix/gcroots/nixcfg-previous-profile || return
  arm_boot || return
  # This timer works however the switch and its watcher end.
  systemd-run --quiet --collect --unit="nixcfg-overdue-$run" --description="nixcfg: look after the switch $run" \
    --on-calendar='*-*-* *:*:00/15' --timer-property=AccuracySec=1s /bin/sh "$state/return" overdue "$run" || return
  keep pending <<RECORD
run $run
action $action
system $toplevel
previous $previous
profile $before
generation $generation
fallback $fallback
fallback-generation $fallback_generation
newest $newest
boot $(boot_id)
armed $(uptime_seconds)
since $(date -u +%Y-%m-%dT%H:%M:%SZ)
seconds $seconds
longest $longest
lease-age $lease_age
who $who
what $what
RECORD
}
