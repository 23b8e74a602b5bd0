# Tells what the probe does not: whether a restart is pending, what watches over
# the node, how full its disk is.
same() { [ "$(readlink -e "/run/booted-system/$1")" = "$(readlink -e "/run/current-system/$1")" ]; }
for part in kernel initrd kernel-modules systemd; do
  same "$part" || echo "restart $part"
done
echo "generation $(readlink /nix/var/nix/profiles/system)"
df -Pk /nix/store | tail -n 1 | while read -r _ size used _; do echo "disk $size $used"; done
echo end
