# json2toml JSON TOML: converts settings of services. Tables are written inline.
mkdir -p "$out/bin"
cat >"$out/toml.jq" <<'JQ'
def key: if test("^[A-Za-z0-9_-]+$") then . else tojson end;
def value:
  if type == "object" then "{ " + (to_entries | map((.key | key) + " = " + (.value | value)) | join(", ")) + " }"
  elif type == "array" then "[" + (map(value) | join(", ")) + "]"
  else tojson end;
to_entries[] | select(.value != null) | (.key | key) + " = " + (.value | value)
JQ
printf '#!%s/bin/sh\nexec %s/bin/jq -r -f %s/toml.jq "$1" >"$2"\n' "$bash" "$jq" "$out" >"$out/bin/json2toml"
chmod 755 "$out/bin/json2toml"
