# shellcheck shell=bash
# Functions of the builders beside this file.

unpack() { # PACKAGE.deb…: unpacks to ./tree, without setuid and setgid bits, which Nix forbids to builders.
    local deb
    mkdir -p tree
    for deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-permissions --no-same-owner -C tree; done
}

is_elf() {
    local magic
    LC_ALL=C IFS= read -r -N 4 magic <"$1" 2>/dev/null && [ "$magic" = $'\x7fELF' ]
}

# patch_programs DIR RPATH: makes every program and library below DIR use the libraries in RPATH.
patch_programs() {
    local file
    while IFS= read -r -d '' file; do
        is_elf "$file" || continue
        chmod u+w "$file"
        if patchelf --print-interpreter "$file" >/dev/null 2>&1; then patchelf --set-interpreter "$interpreter" "$file"; fi
        # Static programs have nothing to patch.
        if patchelf --print-rpath "$file" >/dev/null 2>&1; then patchelf --force-rpath --set-rpath "$2" "$file"; fi
    done < <(find "$1" -type f -print0)
}

# Makes links to /usr and the like point into the package, and removes links to nothing.
mend_links() { # DIR
    local link target
    while IFS= read -r -d '' link; do
        target=$(readlink "$link")
        case $target in
        /usr/lib/"$triplet"/* | /lib/"$triplet"/*) target=$1/lib/${target##*/"$triplet"/} ;;
        /usr/bin/* | /usr/sbin/* | /bin/* | /sbin/*) target=$1/bin/${target##*/} ;;
        /usr/*) target=$1${target#/usr} ;;
        /lib/*) target=$1$target ;;
        esac
        ln -sfn "$target" "$link"
    done < <(find "$1" -type l -lname '/*' ! -lname '/nix/*' -print0)
    # Again, as a link may point to one that was removed.
    while find "$1" -xtype l -print -delete | grep -q .; do :; done
}

# Makes scripts of the shell run by the one in the folder SHELLS. Removes scripts in other languages, which nodes have no interpreter for.
mend_scripts() { # DIR SHELLS
    local file line
    while IFS= read -r -d '' file; do
        line=$(LC_ALL=C head -c 64 "$file" | tr -d '\0' | head -n 1)
        case $line in
        '#!'*/bash* | '#!'*/sh*) sed -i -E "1s,^#! *[^ ]*/(bash|sh),#!$2/\\1," "$file" ;;
        '#!'*) rm "$file" ;;
        esac
    done < <(find "$1" -type f -perm /111 -print0)
}

# Makes units start the package's own programs.
mend_units() { # DIR
    [ ! -d "$1/lib/systemd" ] || find "$1/lib/systemd" -type f \( -name '*.service' -o -name '*.socket' \) \
        -exec sed -i "s|/usr/s\?bin/|$1/bin/|g; s|/usr/lib/|$1/lib/|g" {} +
}
