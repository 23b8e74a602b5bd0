# shellcheck shell=bash
# Nodes of genuine NixOS (`up --nixos`): their package set, which is nixpkgs over Debian's programs, and their root. See genuine/.

GENUINE=$HERE/genuine

# Prints the nixpkgs to use as a locked input: the folder or store path $NIXPKGS, else the one in flake.lock.
genuine_source() {
    local path=${NIXPKGS:-}
    if [ -z "$path" ]; then
        jq -e '.nodes[.nodes.root.inputs.nixpkgs].locked' "$REPOSITORY/flake.lock"
        return
    fi
    [ -e "$path/nixos/lib/eval-config.nix" ] || die "NIXPKGS=$path has no nixos/lib/eval-config.nix"
    case $path in
    /nix/store/*) ;;
    *) path=$(lab_nix '' store add-path --name source "$path") || return ;;
    esac
    genuine_locked "$path"
}

# Prints a store path as a locked input.
genuine_locked() {
    lab_nix '' path-info --json "$1" |
        jq -e 'if type == "array" then .[0] else (to_entries[0] | .value + {path: .key}) end
               | {type: "path", path: .path, narHash: .narHash}'
}

# genuine_debs FOLDER FILE…: downloads the Debian packages that files such as genuine/packages.nix name, with their dependencies, once
# for each list. Prints their folder, which is below FOLDER.
genuine_debs() {
    local list dir new log=$CACHE/debs.log
    list=$(lab_nix '' eval --impure --raw --expr "import $GENUINE/names.nix [ ${*:2} ]") || return
    dir=$1/debs-$(sha256sum <<<"$list" | cut -c1-16)
    if [ ! -d "$dir" ]; then
        new=$dir.partial
        say "lab: fetching the Debian packages that ${*:2} name (once; 90 to 300 MB)"
        rm -rf "$new"
        mkdir -p "$new"
        (
            while read -r suite names; do
                # A package of bullseye comes alone; trixie has its dependencies.
                # shellcheck disable=SC2086 # a list
                if [ "$suite" = bullseye ]; then
                    download "$new/$suite" "$suite" download $names || exit
                else
                    download "$new/$suite" "$suite" install --download-only --no-install-recommends $names || exit
                fi
                mv "$new/$suite"/cache/archives/*.deb "$new/" || exit
                rm -rf "${new:?}/$suite"
            done <<<"$list"
            genuine_manifest "$new" "$dir" >"$new/debs.json"
        ) >"$log" 2>&1 </dev/null || { tail -n 20 "$log" >&2; die "Debian's packages could not be fetched: see $log"; }
        mv "$new" "$dir"
    fi
    echo "$dir"
}

# genuine_manifest FOLDER PLACE: prints the packages in FOLDER as JSON, with the paths that they will have in PLACE.
genuine_manifest() {
    local deb
    for deb in "$1"/*.deb; do
        dpkg-deb --show --showformat '${Package}\t${Version}\t' "$deb" || return
        printf '%s\t%s\n' "$2/${deb##*/}" "$(sha256sum "$deb" | cut -d' ' -f1)" || return
    done | jq -R -n '[inputs | split("\t") | {
        key: .[0],
        # The upstream version, without what Debian adds.
        value: { version: .[1] | sub("^[0-9]+:"; "") | sub("[-+~].*$"; ""), file: .[2], sha256: .[3] } }] | from_entries'
}

genuine_ready() {
    [ "$(uname -m)" = x86_64 ] || die "NixOS nodes need an x86_64 machine"
    # Builds need a compiler. They take HOME from the account; the caller's may be another.
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6) "$REPOSITORY/checks/setup" build >&2
}

# Makes the flake that takes the place of nixpkgs, and prints its folder. Whatever fails ends it, as a folder that exists counts as whole.
genuine_nixpkgs() {
    local debs source dir new
    genuine_ready || return
    debs=$(genuine_debs "$CACHE" "$GENUINE/packages.nix") && source=$(genuine_source) || return
    dir=$CACHE/nixpkgs-$({ cat "$debs/debs.json" && echo "$source" && genuine_hash; } | sha256sum | cut -c1-16)
    if [ ! -d "$dir" ]; then
        new=$dir.partial
        rm -rf "$new"
        genuine_set "$new" "$debs" "$source" && mv "$new" "$dir" || return
    fi
    echo "$dir"
}

# genuine_set DIR DEBS SOURCE: writes the set's files to DIR, for the packages in DEBS and the input SOURCE.
genuine_set() {
    mkdir -p "$1" &&
        (cd "$GENUINE" && genuine_files | tar -c --null -T - | tar -x -C "$1") &&
        cp "$2/debs.json" "$1/" &&
        echo "$3" >"$1/source.json"
}
# The files of the package set. A changed test must not make the set anew.
genuine_files() { find . -type f ! -name "test*" -print0; }
genuine_hash() { (cd "$GENUINE" && genuine_files | sort -z | xargs -0 sha256sum | sha256sum); }

# Makes the root under the disks of NixOS nodes, and prints its folder. It is a store with their first system, which makes the rest when
# it starts.
genuine_root() {
    local nixpkgs=$1 dir new top log=$CACHE/nixos.log started
    dir=$CACHE/nixos-${nixpkgs##*-}
    if [ ! -d "$dir" ]; then
        new=$dir.partial
        started=$(now_ms)
        say "lab: building the first system of NixOS nodes (once; some minutes; log in $log)"
        rm -rf "$new"
        mkdir -p "$new"/{boot,etc,usr,nix/var/nix/profiles}
        {
            top=$(lab_nix '' build --no-link --json "path:$nixpkgs#bare.config.system.build.toplevel" | jq -er '.[0].outputs.out' || true)
            [ -n "$top" ] && lab_nix '' copy --no-check-sigs --to "local?root=$new" "$top"
        } >"$log" 2>&1 </dev/null || { tail -n 30 "$log" >&2; die "no NixOS system could be built: see $log"; }
        ln -s "$top" "$new/nix/var/nix/profiles/system-1-link" &&
            ln -s system-1-link "$new/nix/var/nix/profiles/system" &&
            echo "$top" >"$new/boot/default" &&
            mv "$new" "$dir" || return
        remove_old_sets "$nixpkgs"
        say "lab: NixOS ready after $(seconds $(($(now_ms) - started)))"
    fi
    echo "$dir"
}

# Removes the sets and roots that neither a lab nor the package set $1 uses.
remove_old_sets() {
    local dir used
    used=$({ readlink "$CACHE"/labs/*/{nixos,nixpkgs,nodes/*/base}; echo "$1"; } | sed 's/.*-//')
    for dir in "$CACHE"/{nixos,nixpkgs}-*/; do
        dir=${dir%/}
        grep -x "${dir##*-}" <<<"$used" >/dev/null || rm -rf "$dir"
    done
    for dir in "$CACHE"/debs-*/; do grep -sF "\"${dir}" "$CACHE"/nixpkgs-*/debs.json >/dev/null || rm -rf "$dir"; done
}

# Makes this lab's nodes NixOS.
take_nixos() {
    local nixpkgs root disk
    nixpkgs=$(genuine_nixpkgs) && root=$(genuine_root "$nixpkgs") || die "there is no NixOS for the nodes"
    for disk in "$STATE"/nodes/*/disk.img; do
        [ ! -e "$disk" ] || [ -e "$STATE/nixos" ] || die "lab $LAB has nodes of the other kind: 'wipe' it, or take another one (LAB=…)"
    done
    ln -sfn "$nixpkgs" "$STATE/nixpkgs"
    ln -sfn "$root" "$STATE/nixos"
    NIXPKGS_DIR=$nixpkgs
}

# Makes the package set of NixOS nodes, or that of virtual machines, and prints the folder of its flake.
cmd_packages() {
    local set=genuine_nixpkgs
    case "$*" in '') ;; --vm) set=vm_nixpkgs ;; *) usage_error "packages: unknown argument: $*" ;; esac
    need_root
    cmd_setup
    with_lock nixos "$set" || die "there is no package set"
}
