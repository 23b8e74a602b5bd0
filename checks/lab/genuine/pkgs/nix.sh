# As on NixOS, everybody may ask the daemon.
rm -rf "$out/etc" "$out/lib/sysusers.d"
sed -i 's|^d  */nix/var/nix/daemon-socket .*|d /nix/var/nix/daemon-socket 0755 root root|' "$out"/lib/tmpfiles.d/*.conf
sed -i '/^SocketMode\|^SocketGroup\|^DirectoryMode/d; s|^\[Socket\]|[Socket]\nSocketMode=0666|' "$out/lib/systemd/system/nix-daemon.socket"
