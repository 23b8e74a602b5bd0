# NixOS knows systemd by this path.
sed -i "s|/usr/sbin/|$out/bin/|g; s|/usr/bin/systemd-run|/run/current-system/systemd/bin/systemd-run|g" "$out"/lib/udev/rules.d/*.rules
rm -rf "$out/etc"
