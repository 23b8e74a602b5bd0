mkdir -p "$out"
: >"$out/modprobe.conf"
