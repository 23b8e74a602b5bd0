mkdir -p "$out/bin"
