# A script in place of perl gives it the paths of its modules by the environment.
mv "$out/bin/perl" "$out/lib/perl-program"
find "$out/bin" \( -type f -o -type l \) -delete
modules=
for folder in "$out"/lib/perl-base "$out"/share/perl5 "$out"/lib/perl/5.40 "$out"/share/perl/5.40; do
    [ ! -e "$folder" ] || modules+=${modules:+:}$folder
done
cat >"$out/bin/perl" <<SCRIPT
#!/bin/sh
PERL5LIB=$modules\${PERL5LIB:+:\$PERL5LIB} exec $out/lib/perl-program "\$@"
SCRIPT
chmod 755 "$out/bin/perl"
rm -rf "$out/etc"
find "$out" -name '*.pod' -delete
# Without headers for C and East Asian alphabets, which are half of the package.
find "$out" -name 'libperl.so*' -delete
rm -rf "$out"/lib/perl/*/CORE "$out"/lib/perl/*/auto/Encode/{CN,JP,KR,TW} "$out"/share/perl/*/Unicode/Collate
