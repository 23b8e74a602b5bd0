mv "$out/libexec/nsncd" "$out/bin/"
rm -rf "$out/lib/systemd"
