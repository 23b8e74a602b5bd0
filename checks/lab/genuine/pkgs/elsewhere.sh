mkdir -p "$out/bin"
printf '#!%s/bin/sh\necho "the lab has no %s" >&2\nexit 127\n' "$bash" "$name" >"$out/bin/$name"
chmod 755 "$out/bin/$name"
