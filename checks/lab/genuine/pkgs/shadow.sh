# Debian's util-linux has these two programs.
for name in newgrp sg; do ln -s "$utillinux/bin/$name" "$out/bin/$name"; done
rm -rf "$out/etc" "$out/lib/systemd" "$out/lib/tmpfiles.d"
