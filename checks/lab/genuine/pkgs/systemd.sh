# Moves units to where nixpkgs looks for them, with programs by their path in the store.
mkdir -p "$out/example" "$out/share/dbus-1/interfaces"
rm -rf "$out/etc" "$out/lib/udev/hwdb.d" "$out/lib/udev/hwdb.bin" "$out/lib/pcrlock.d" "$out/share/pkgconfig"
for folder in tmpfiles.d sysctl.d sysusers.d; do cp -a "$out/lib/$folder" "$out/example/"; done
mkdir -p "$out/example/systemd"
for folder in system user; do mv "$out/lib/systemd/$folder" "$out/example/systemd/"; done
find "$out/example/systemd" -type f | while read -r unit; do
    sed -i -E "s,/usr/lib/systemd/,$out/lib/systemd/,g; s,/usr/bin/(systemd-|systemctl|journalctl|udevadm|loginctl),$out/bin/\\1,g
        s,^(Exec[A-Za-z]*=[-@:+!]*)(systemctl|systemd-[a-z-]*|journalctl|udevadm|loginctl)\\b,\\1$out/bin/\\2,
        s,^(Exec[A-Za-z]*=[-@:+!]*)(/usr)?/?(s?bin/)?(mount|umount|agetty|sulogin|swapon)\\b,\\1$utillinux/bin/\\4,
        s,^(Exec[A-Za-z]*=[-@:+!]*)(/usr)?/?(s?bin/)?(modprobe|kmod)\\b,\\1$kmod/bin/\\4," "$unit"
done
# Adds empty units for those that nixpkgs names and Debian's package lacks.
for unit in $absent; do
    [ -e "$out/example/systemd/system/$unit" ] || printf '[Unit]\nDescription=%s, which Debian has not\n' "$unit" >"$out/example/systemd/system/$unit"
done
rpath=$out/lib/systemd
