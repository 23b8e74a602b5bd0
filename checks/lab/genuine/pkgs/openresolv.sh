# Its scripts are part of the package.
sed -i "s,^LIBEXECDIR=.*,LIBEXECDIR=$out/lib/resolvconf," "$out/bin/resolvconf"
rm -rf "$out/etc"
