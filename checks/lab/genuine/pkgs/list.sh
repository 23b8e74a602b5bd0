printf '%s' "$text" >"$out"
