# All libraries in one folder, in which each finds the others.
unpack $debs
mkdir -p "$out/lib"
for folder in tree/{usr/,}lib/"$triplet"{,/systemd,/vdeplug}; do
    [ ! -d "$folder" ] || find "$folder" -maxdepth 1 -name '*.so*' -exec cp -a -t "$out/lib" {} +
done
mend_links "$out"
for file in "$out"/lib/*; do
    case ${file##*/} in
    # The loader and the C library do not use the path.
    ld-linux* | libc.so.*) ;;
    *) if [ ! -L "$file" ] && is_elf "$file"; then
        chmod u+w "$file"
        patchelf --force-rpath --set-rpath "$out/lib" "$file"
    fi ;;
    esac
done
