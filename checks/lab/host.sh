# shellcheck shell=bash
# `lab setup`: the host's packages, and the root below all nodes' disks.

host_packages() { "$REPOSITORY/checks/setup" nodes >&2 || die 'this machine lacks what is named above'; }

# Each node needs about six of root's inotify instances, and the usual limit of 128 is for the whole machine.
raise_limits() {
    local limit=/proc/sys/fs/inotify/max_user_instances
    [ "$(cat "$limit")" -ge 1024 ] || echo 1024 >"$limit" || die "cannot raise $limit, which ends at some 20 nodes"
}

root_hash() { (cd "$HERE" && find root.sh node bare -type f -exec sha256sum {} + | sort -k2 | sha256sum | cut -c1-16); }
# The root of this lab's nodes: NixOS's or the stand-in's.
root_dir() { readlink "$STATE/nixos" || echo "$CACHE/root-$(root_hash)"; }

# Removes roots of earlier recipes that no disk uses.
remove_old_roots() {
    local root
    for root in "$CACHE"/root-*/; do
        root=${root%/}
        [ "$root" = "$1" ] || readlink "$CACHE"/labs/*/nodes/*/base | grep -x "$root" >/dev/null || rm -rf "$root"
    done
}

build_root() {
    local dir log=$CACHE/root.log started mirror
    dir=$CACHE/root-$(root_hash)
    [ ! -d "$dir" ] || return 0
    mirror=$(debian_mirror)
    say "lab: building the nodes' root (once; about a minute; log in $log)"
    started=$(now_ms)
    rm -rf "$CACHE"/root-*.partial
    mkdir -p "$dir.partial"
    # New mount and process namespaces, so that an interrupt leaves no mount and no process.
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        "$HERE/root.sh" "$dir.partial" "$mirror" >"$log" 2>&1 </dev/null ||
        { tail -n 20 "$log" >&2; die "the nodes' root could not be built: see $log"; }
    mv "$dir.partial" "$dir"
    remove_old_roots "$dir"
    say "lab: root ready after $(seconds $(($(now_ms) - started)))"
}

make_key() {
    [ ! -f "$KEY" ] || return 0
    install -d -m 700 "${KEY%/*}"
    rm -f "$KEY.new" "$KEY.new.pub"
    ssh-keygen -q -t ed25519 -N '' -C nixcfg-lab -f "$KEY.new"
    mv "$KEY.new.pub" "$KEY.pub"
    mv "$KEY.new" "$KEY"
}

cmd_setup() {
    need_root
    with_lock setup setup_locked
}

setup_locked() {
    mkdir -p "$CACHE"
    host_packages
    raise_limits
    make_key
    build_root
}
