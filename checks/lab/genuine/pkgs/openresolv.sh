# The program finds its scripts in the package.
sed -i "s,^LIBEXECDIR=.*,LIBEXECDIR=$out/lib/resolvconf," "$out/bin/resolvconf"
rm -rf "$out/etc"
