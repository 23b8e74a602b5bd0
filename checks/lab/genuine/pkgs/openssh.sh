mkdir -p "$out/libexec"
ln -s ../lib/openssh/sftp-server "$out/libexec/sftp-server"
rm -rf "$out/lib/systemd" "$out/lib/tmpfiles.d" "$out/lib/sysusers.d"
find "$out/etc" -type f ! -name moduli -delete
