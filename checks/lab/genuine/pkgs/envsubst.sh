# nixpkgs has another program of this name, which takes its files as options: -i IN -o OUT.
mkdir -p "$out/libexec"
mv "$out/bin/envsubst" "$out/libexec/envsubst"
rm -rf "$out"/bin/* "$out/share"
cat >"$out/bin/envsubst" <<SCRIPT
#!/bin/sh
if [ "\$1" = -i ] && [ "\$3" = -o ]; then exec "$out/libexec/envsubst" <"\$2" >"\$4"; fi
exec "$out/libexec/envsubst" "\$@"
SCRIPT
chmod 755 "$out/bin/envsubst"
