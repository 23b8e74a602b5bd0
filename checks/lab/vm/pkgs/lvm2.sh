sed -i "s|/usr/sbin/|$out/bin/|g" "$out"/lib/udev/rules.d/*.rules
rm -rf "$out/etc"
