mkdir -p "$out/libexec"
# NixOS copies these two into an initrd from there, links as links.
for name in sshd-session sshd-auth; do
    mv "$out/lib/openssh/$name" "$out/libexec/"
    ln -s "../../libexec/$name" "$out/lib/openssh/$name"
done
ln -s ../lib/openssh/sftp-server "$out/libexec/sftp-server"
rm -rf "$out/lib/systemd" "$out/lib/tmpfiles.d" "$out/lib/sysusers.d"
find "$out/etc" -type f ! -name moduli -delete
