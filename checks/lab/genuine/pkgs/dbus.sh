# Debian's daemon reads its configuration below /usr; NixOS has it in /etc.
mkdir -p "$out/libexec"
ln -s ../lib/dbus-1.0/dbus-daemon-launch-helper "$out/libexec/dbus-daemon-launch-helper"
find "$out/lib/systemd" -name '*.service' -exec sed -i '/^ExecStart=/s|--system |--config-file=/etc/dbus-1/system.conf |' {} +
rm -rf "$out/etc" "$out/lib/tmpfiles.d" "$out/lib/sysusers.d"
