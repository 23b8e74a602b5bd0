# shellcheck shell=bash
# The package set of virtual machines (`packages --vm`): that of NixOS nodes with a copy of vm/ in it, which genuine/set.nix adds.

MACHINES=$CACHE/vm

vm_nixpkgs() {
    local debs host source dir new old programs
    genuine_ready || return
    debs=$(genuine_debs "$MACHINES" "$GENUINE/packages.nix" "$HERE/vm/packages.nix") &&
        host=$(genuine_debs "$MACHINES" "$HERE/vm/host-packages.nix") && source=$(genuine_source) &&
        programs=$(vm_programs) || return
    dir=$MACHINES/set-$({ cat "$debs/debs.json" "$host/debs.json" && echo "$source $programs" && genuine_hash && vm_hash; } | sha256sum | cut -c1-16)
    if [ ! -d "$dir" ]; then
        new=$dir.partial
        rm -rf "$new"
        genuine_set "$new" "$debs" "$source" &&
            mkdir "$new/vm" &&
            (cd "$HERE/vm" && genuine_files | tar -c --null -T - | tar -x -C "$new/vm") &&
            cp "$host/debs.json" "$new/vm/host-debs.json" &&
            echo "$programs" >"$new/vm/programs.json" &&
            mv "$new" "$dir" || return
        for old in "$MACHINES"/{debs,set}-*/; do
            case ${old%/} in "$debs" | "$host" | "$dir") ;; *) rm -rf "$old" ;; esac
        done
    fi
    echo "$dir"
}

# Prints the programs in $NOMAD and $CONSUL as JSON: name → version, and its store path as a locked input.
vm_programs() {
    local name file path version
    for name in nomad consul; do
        file=${name^^} file=${!file:-}
        [ -n "$file" ] || continue
        version=$("$file" version | sed -n '1s/.* v//p') && path=$(lab_nix '' store add-path --name "$name" "$file") || return
        genuine_locked "$path" | jq --arg name "$name" --arg version "$version" '{ ($name): { version: $version, from: . } }' || return
    done | jq -s add
}

vm_hash() { (cd "$HERE/vm" && genuine_files | sort -z | xargs -0 sha256sum | sha256sum); }
