# A program as it is: machines have what it was linked with on the machine that made it (../node.nix).
install -D -m 755 "$program" "$out/bin/${name%%-*}"
