# The program is not patched: machines have the loader and the C library where it looks for them (../node.nix).
install -D -m 755 "$program" "$out/bin/${name%%-*}"
