# shellcheck shell=bash
# Nix as on the operator's machine, in the machine's version or one of three others: without the network, with a folder in place of
# the flake's nixpkgs.

# A lab of NixOS nodes has its own nixpkgs (genuine.sh).
NIXPKGS_DIR=$(readlink "$STATE/nixpkgs" || echo "${NIXPKGS:-$HERE/nixpkgs}")

# Version of the client: its Debian suite.
client_suite() {
    case $1 in
    2.8) echo bookworm ;;
    2.26) echo trixie ;;
    2.34) echo sid ;;
    *) usage_error "no Nix client $1: there are 2.8, 2.26 and 2.34" ;;
    esac
}

# Parallel evaluations of one flake damage Nix 2.8's cache.
nix_config() {
    printf '%s\n' 'experimental-features = nix-command flakes' 'substituters =' 'flake-registry =' 'sandbox = false' \
        'build-users-group =' 'warn-dirty = false' 'eval-cache = false'
}

cmd_nix() {
    local client=''
    if [ "${1:-}" = --client ]; then
        client=${2:?}
        shift 2
    fi
    [ $# -gt 0 ] || usage_error "nix: which command?"
    lab_nix "$client" "$@"
}

# lab_nix CLIENT ARGS…: an empty CLIENT is the machine's Nix.
lab_nix() {
    local client=$1 words=1
    shift
    case $1 in
    eval | build | run | develop | shell | print-dev-env | path-info | copy | log | edit | search | bundle | why-depends | fmt | repl) ;;
    flake)
        words=2
        case ${2:-} in check | show | metadata | info | lock | archive) ;; *) words=0 ;; esac
        ;;
    derivation | show-derivation | profile) [ "$1" = show-derivation ] || words=2 ;;
    *) words=0 ;;
    esac
    [[ " $* " != *" --expr "* && " $* " != *" --file "* && " $* " != *" -f "* ]] || words=0 # no flake is meant
    local head=("${@:1:words}") rest=("${@:words+1}") override=()
    if [ "$words" = 0 ]; then
        head=() rest=("$@")
    else
        [ -e "$NIXPKGS_DIR/flake.nix" ] || die "no flake in $NIXPKGS_DIR to take in the place of nixpkgs"
        override=(--override-input nixpkgs "path:$NIXPKGS_DIR")
    fi
    if [ -n "$client" ]; then
        in_client "$client" nix "${head[@]}" "${override[@]}" "${rest[@]}"
    else
        NIX_CONFIG=$(nix_config) nix "${head[@]}" "${override[@]}" "${rest[@]}"
    fi
}

cmd_client() {
    [ $# -ge 2 ] || usage_error "client: VERSION COMMAND…"
    in_client "$@"
}

# in_client VERSION COMMAND…: runs COMMAND with that Nix first on PATH, in a mount namespace with its own /nix, and with its own
# HOME.
in_client() {
    local version=$1 dir
    shift
    need_root
    client_suite "$version" >/dev/null
    dir=$CACHE/client/$version
    with_lock "client-$version" build_client "$version"
    mkdir -p /nix "$dir/nix" "$dir/home" "$dir/conf"
    # Cargo and rustup have their files in the old HOME.
    local cargo=${CARGO_HOME:-$HOME/.cargo} rustup=${RUSTUP_HOME:-$HOME/.rustup}
    # shellcheck disable=SC2016 # expanded by the shell that is started
    NIX_CONFIG=$(nix_config) NIX_CONF_DIR=$dir/conf PATH=$dir/bin:$PATH \
        CARGO_HOME=$cargo RUSTUP_HOME=$rustup HOME=$dir/home \
        XDG_CACHE_HOME=$dir/home/.cache XDG_CONFIG_HOME=$dir/home/.config XDG_STATE_HOME=$dir/home/.local/state \
        unshare --mount --propagation private sh -euc 'mount --bind "$0" /nix; exec "$@"' "$dir/nix" "$@"
}

build_client() {
    local version=$1 dir=$CACHE/client/$1 suite log=$CACHE/client-$1.log
    [ ! -x "$dir/bin/nix" ] || return 0
    suite=$(client_suite "$version")
    unpacked "nix-$suite" "$suite" install --download-only --no-install-recommends nix-bin
    rm -rf "$dir.partial" "${dir:?}/bin" "${dir:?}/lib"
    relocate_client "$CACHE/nix-$suite/tree" "$dir.partial" "$dir" >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; die "Nix $version could not be made: see $log"; }
    mkdir -p "$dir"
    mv "$dir.partial/lib" "$dir/lib"
    mv "$dir.partial/bin" "$dir/bin" # last: it is what is looked for
    rm -rf "$dir.partial" "$CACHE/nix-$suite"
    say "lab: $("$dir/bin/nix" --version)"
}

# relocate_client TREE NEW DIR: copies Nix and its libraries from a suite's TREE to NEW, linked for their later place, DIR.
relocate_client() {
    local tree=$1 new=$2 dir=$3 loader path='' found name
    mkdir -p "$new/bin" "$new/lib"
    loader=$(basename "$(patchelf --print-interpreter "$tree/usr/bin/nix")")
    for found in "$tree"/usr/bin/nix "$tree"/usr/lib/nix/*.so; do
        [ ! -e "$found" ] || patchelf --remove-rpath "$found" || return # 2.8's leads to the machine's own libraries
    done
    for found in "$tree"/{usr/,}lib/*-linux-gnu* "$tree/usr/lib/nix"; do [ ! -d "$found" ] || path+=$found: ; done
    found=$(find "$tree" -name "$loader" | head -n 1)
    cp -L "$found" "$new/lib/$loader" || return
    "$new/lib/$loader" --inhibit-cache --library-path "$path" --list "$tree/usr/bin/nix" |
        awk '$3 ~ /^\// { print $3 }' >"$new/needs" || return
    while read -r found; do
        [[ $found == "$tree"/* || $found == "$new/lib/$loader" ]] || { echo "$found is not of the suite"; return 1; }
        [ -e "$new/lib/${found##*/}" ] || cp -L "$found" "$new/lib/" || return
    done <"$new/needs"
    cp "$tree/usr/bin/nix" "$new/bin/nix" || return
    patchelf --set-interpreter "$dir/lib/$loader" --force-rpath --set-rpath "$dir/lib" "$new/bin/nix" || return
    for name in nix-build nix-channel nix-collect-garbage nix-copy-closure nix-daemon nix-env nix-hash nix-instantiate nix-prefetch-url \
        nix-shell nix-store; do ln -s nix "$new/bin/$name"; done
}
