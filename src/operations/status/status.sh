# Tells what the probe does not: whether a restart is pending, what watches over
# the node, how full its disk is, what runs, and what waits for files.
same() { [ "$(readlink -e "/run/booted-system/$1")" = "$(readlink -e "/run/current-system/$1")" ]; }
for part in kernel initrd kernel-modules systemd; do
  same "$part" || echo "restart $part"
done
echo "generation $(readlink /nix/var/nix/profiles/system)"
df -Pk /nix/store | tail -n 1 | while read -r _ size used _; do echo "disk $size $used"; done
# What did not start as files were missing: of each unit whose conditions were looked at and not met, those paths.
systemctl list-units --type=service --state=active --plain --no-legend --full --no-pager 2>/dev/null |
  while read -r unit _; do echo "active $unit"; done
{
  systemctl show --type=service --state=inactive -p Id -p ConditionResult -p ConditionTimestampMonotonic '*' 2>/dev/null
  echo
} | while IFS='=' read -r key value; do
  case $key in
  Id) unit=$value ;;
  ConditionResult) met=$value ;;
  ConditionTimestampMonotonic) looked=$value ;;
  '')
    if [ "${met:-}" = no ] && [ "${looked:-0}" != 0 ]; then
      systemctl status --full --no-pager --lines=0 -- "$unit" 2>/dev/null |
        sed -n "s|.*ConditionPathExists=\(/.*\) was not met\$|unmet $unit \1|p"
    fi
    met=
    ;;
  esac
done
echo end
