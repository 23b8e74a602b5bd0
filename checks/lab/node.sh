# shellcheck shell=bash
# Nodes: disks, start, stop, access.

DISK_SIZE=${NIXCFG_LAB_DISK:-2G}

# register_node NAME IPV4 IPV6 ADMINS: records a node for `up`. An address or ADMINS may be `-` for none; commas separate ADMINS.
register_node() {
    local node=$1 ipv4=$2 ipv6=$3 admins=$4 dir=$STATE/nodes/$1 index=1
    mkdir -p "$dir"
    if [ ! -e "$dir/index" ]; then
        while grep -qsx "$index" "$STATE"/nodes/*/index; do index=$((index + 1)); done
        [ "$index" -le 200 ] || die "200 nodes are too many"
        echo "$index" | write_file "$dir/index"
    fi
    [ ! -e "$dir/addresses" ] || [ "$ipv4 $ipv6" = "$(cat "$dir/addresses")" ] || ! node_running "$node" ||
        say "lab: $node has other addresses in the cluster now, and takes them when it boots ('fault $node reboot')"
    echo "$ipv4 $ipv6" | write_file "$dir/addresses"
    [ ! -e "$dir/disk.img" ] || [ "$(node_users "$admins")" = "$(cat "$dir/users")" ] ||
        say "lab: $node keeps its disk, made for other administrators ('reset $node' for a new one)"
    node_users "$admins" | (umask 077 && write_file "$dir/users")
    if [ ! -e "$dir/ssh_host_ed25519_key" ]; then
        rm -f "$dir/hostkey" "$dir/hostkey.pub"
        ssh-keygen -q -t ed25519 -N '' -C "$node" -f "$dir/hostkey"
        mv "$dir/hostkey.pub" "$dir/ssh_host_ed25519_key.pub"
        mv "$dir/hostkey" "$dir/ssh_host_ed25519_key"
    fi
}

# Prints the administrators and their passwords, which are no secrets. Every node has alice.
node_users() {
    local user
    for user in $(tr ',' '\n' <<<"alice,$1" | sed 's/^-$//' | awk 'NF && !seen[$0]++'); do
        if [ "$user" = alice ]; then echo "alice wonderland"; else echo "$user wonderland-$user"; fi
    done
}

known_node() { [ -e "$STATE/nodes/$1/index" ] || die "no node $1 in lab $LAB (there are: $(all_nodes | tr '\n' ' '))"; }
node_running() { cgroup_busy "$1"; }
need_running() {
    known_node "$1"
    node_running "$1" || die "$1 does not run (checks/lab/lab up, or fault $1 start)"
}

# Makes an empty disk if there is none, or if the root under it is gone.
node_disk() {
    local node=$1 dir=$STATE/nodes/$1
    if [ -e "$dir/disk.img" ] && [ -d "$(readlink -f "$dir/base")" ]; then
        [ "$(readlink "$dir/base")" = "$(root_dir)" ] ||
            say "lab: $node keeps its disk, made from an older root ('reset $node' for a new one)"
        return
    fi
    rm -f "$dir/disk.new"
    truncate -s "$DISK_SIZE" "$dir/disk.new"
    # Without blocks reserved for root, so that a full disk is full for root too. The file contains zeros already.
    mkfs.ext4 -q -m 0 -E lazy_itable_init=1,lazy_journal_init=1 "$dir/disk.new"
    ln -sfn "$(root_dir)" "$dir/base"
    mv "$dir/disk.new" "$dir/disk.img"
}

node_start() {
    local node=$1 dir=$STATE/nodes/$1 fd
    ! node_running "$node" || return 0
    [ -d "$(root_dir)" ] || die "the nodes' root is not built: run checks/lab/lab setup"
    cgroup_remove "$node"
    hub_up
    node_disk "$node"
    # The node inherits no locks or pipes of the caller.
    (
        for fd in "${LOCK_FDS[@]}"; do exec {fd}>&-; done
        cgroup_join "$node"
        cd /
        exec env LAB="$LAB" NIXCFG_LAB_DIR="$CACHE" setsid "$HERE/supervise.sh" "$node"
    ) </dev/null >>"$dir/console.log" 2>&1 &
    disown
    wait_until 10 node_running "$node" || die "$node: its first process does not run (see $dir/console.log)"
}

# A power cut: ends all processes. The network stays, so the node refuses connections.
node_kill() { cgroup_kill "$1"; }

node_reset() {
    cgroup_kill "$1"
    rm -f "$STATE/nodes/$1/disk.img" "$STATE/nodes/$1/console.log"
}

login_works() { ssh -F "$STATE/ssh_config" -o ConnectTimeout=5 "$1" true >/dev/null 2>&1 </dev/null; }

# Ends the wait below. One success is enough, as a node may restart by itself a moment later.
login_or_end() {
    ! login_works "$1" || { ANSWERED=yes; return 0; }
    ! node_running "$1"
}

# await_login NODE SECONDS: waits for a login, and prints the time since SINCE_MS.
await_login() {
    local ANSWERED=''
    wait_until "$2" login_or_end "$1" || true
    if [ -n "$ANSWERED" ]; then
        say "lab: $1 answers after $(seconds $(($(now_ms) - SINCE_MS)))"
    else
        say "lab: $1 does not answer; the end of its console:"
        tail -n 15 "$STATE/nodes/$1/console.log" >&2
        return 1
    fi
}

# node_enter NODE COMMAND…: runs COMMAND as root inside the node, by its namespaces instead of sshd.
node_enter() {
    local node=$1 init
    shift
    need_running "$node"
    init=$(cgroup_init "$node")
    [ -n "$init" ] || die "$node is starting or stopping: it has no process 1"
    nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup -- /usr/bin/env -i TERM="${TERM:-dumb}" LANG=C.UTF-8 \
        HOME=/root USER=root PATH=/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

write_ssh_files() {
    local node ipv4 ipv6
    {
        for node in $(all_nodes); do
            printf 'Host %s\n  HostName %s\n' "$node" "$(node_address "$node")"
        done
        printf 'Host *\n  User alice\n  IdentityFile %s\n  IdentitiesOnly yes\n  BatchMode yes\n' "$KEY"
        printf '  StrictHostKeyChecking yes\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n' "$STATE/known_hosts"
    } | write_file "$STATE/ssh_config"
    for node in $(all_nodes); do
        read -r ipv4 ipv6 <"$STATE/nodes/$node/addresses"
        printf '%s,%s' "$node" "$(node_address "$node")"
        [ "$ipv4" = - ] || printf ',%s' "$ipv4"
        [ "$ipv6" = - ] || printf ',%s' "$ipv6"
        printf ' %s\n' "$(cut -d' ' -f1,2 "$STATE/nodes/$node/ssh_host_ed25519_key.pub")"
    done | write_file "$STATE/known_hosts"
}

cmd_ssh() { exec ssh -F "$STATE/ssh_config" "$@"; }

cmd_root() {
    local node=$1
    shift
    need_root
    [ $# -gt 0 ] || set -- bash -l
    node_enter "$node" "$@"
}

cmd_logs() {
    need_root
    cat "$STATE/nodes/$1/console.log"
    [ -z "$(cgroup_init "$1")" ] || node_enter "$1" journalctl --no-pager
}
