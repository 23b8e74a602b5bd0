# All libraries in one folder, each bound to the others there.
unpack $debs
mkdir -p "$out/lib"
for folder in tree/{usr/,}lib/"$triplet"{,/systemd,/vdeplug}; do
    [ ! -d "$folder" ] || find "$folder" -maxdepth 1 -name '*.so*' -exec cp -a -t "$out/lib" {} +
done
mend_links "$out"
for file in "$out"/lib/*; do
    case ${file##*/} in
    # The loader finds these; a path in them is of no use to it.
    ld-linux* | libc.so.*) ;;
    *) if [ ! -L "$file" ] && is_elf "$file"; then
        chmod u+w "$file"
        patchelf --force-rpath --set-rpath "$out/lib" "$file"
    fi ;;
    esac
done
