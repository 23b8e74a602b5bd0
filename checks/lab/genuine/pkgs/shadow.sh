# Debian's util-linux has these programs.
for name in newgrp nologin sg; do ln -s "$utillinux/bin/$name" "$out/bin/$name"; done
rm -rf "$out/etc" "$out/lib/systemd" "$out/lib/tmpfiles.d"
