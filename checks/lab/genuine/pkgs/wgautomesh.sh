# Stands in for wgautomesh, which has nothing to do on nodes that share one cable.
mkdir -p "$out/bin"
printf '#!%s/bin/sh\necho "all peers are on the cable of the lab: nothing to find"\nexec %s/bin/sleep infinity\n' "$bash" "$coreutils" \
    >"$out/bin/wgautomesh"
chmod 755 "$out/bin/wgautomesh"
