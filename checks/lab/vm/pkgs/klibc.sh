# ipconfig needs klibc at a path below /usr/lib, where ../initrd.nix puts both. NixOS copies the program from bin.static and gives it the
# loader of glibc, which would break it, so a script stands there.
patch_programs() { :; }
mend_scripts() { :; }
mkdir -p "$out/lib/klibc/bin.static"
printf '#!/bin/sh\nexec /usr/lib/klibc/bin/ipconfig "$@"\n' >"$out/lib/klibc/bin.static/ipconfig"
chmod 755 "$out/lib/klibc/bin.static/ipconfig"
