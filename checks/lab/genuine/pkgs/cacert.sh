# All certificates in one file, where NixOS looks for them.
mkdir -p "$out/etc/ssl/certs" "$out/etc/ssl/trust-source"
: >"$out/etc/ssl/trust-source/.none"
cat "$out"/share/ca-certificates/*/*.crt >"$out/etc/ssl/certs/ca-bundle.crt"
rm -r "$out/share" "$out/bin" "$out/etc/ca-certificates"* "$out/sbin"
