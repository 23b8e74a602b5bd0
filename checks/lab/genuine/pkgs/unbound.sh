rm -rf "$out/lib/systemd" "$out/etc" "$out/libexec" "$out/lib/tmpfiles.d"
