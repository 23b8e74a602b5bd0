# A package: programs in bin, and other files where Debian has them, without documentation.
unpack $debs
mkdir -p "$out/bin"
for folder in tree/{,usr/}{bin,sbin}; do [ ! -d "$folder" ] || cp -a "$folder/." "$out/bin/"; done
ln -s bin "$out/sbin"
for folder in tree/{,usr/}lib; do
    [ -d "$folder" ] || continue
    mkdir -p "$out/lib"
    cp -a "$folder/." "$out/lib/"
done
if [ -d "$out/lib/$triplet" ]; then
    cp -a "$out/lib/$triplet/." "$out/lib/"
    rm -r "${out:?}/lib/$triplet"
fi
for folder in libexec share; do [ ! -d "tree/usr/$folder" ] || cp -a "tree/usr/$folder" "$out/$folder"; done
[ ! -d tree/etc ] || cp -a tree/etc "$out/etc"
rm -rf "$out"/share/{doc,man,info,locale,lintian,bug,bash-completion,zsh,polkit-1,metainfo} "$out"/etc/{init.d,default,cron.*,apparmor.d}
chmod -R u+w,go-w,-s "$out"
rpath=
# shellcheck source=/dev/null
[ -z "$special" ] || source "$special"
mend_links "$out"
mend_scripts "$out" "${shell:-$out/bin}"
mend_units "$out"
patch_programs "$out" "$libs/lib:$out/lib${rpath:+:$rpath}"
find "$out" -mindepth 1 -type d -empty -delete
