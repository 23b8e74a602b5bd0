rm -rf "$out/etc" "$out/lib/systemd" "$out/lib/tmpfiles.d"
