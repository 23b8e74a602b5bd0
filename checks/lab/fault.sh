# shellcheck shell=bash
# Faults of a node and its cable.

cmd_fault() {
    local node=${1:-} what=${2:-}
    [ -n "$what" ] || usage_error "fault: NODE and what happens to it"
    shift 2
    case $what in
    delay | loss) [[ ${1:-} =~ ^[0-9]+$ ]] || usage_error "fault NODE $what NUMBER" ;;
    kill | start | freeze | thaw | cut | join | reboot | fill-disk | free-disk | clear)
        [ $# = 0 ] || usage_error "fault NODE $what takes nothing more"
        ;;
    *) usage_error "fault: unknown fault $what" ;;
    esac
    need_root
    known_node "$node"
    SINCE_MS=$(now_ms)
    if [ "$what" = reboot ]; then
        fault_reboot "$node"
    else
        with_lock "$LAB" "fault_${what/-/_}" "$node" "$@"
    fi
    case $what in
    start | reboot) [ -e "$FAULTS/$node.cut" ] || await_login "$node" 90 ;;
    esac
}

fault_kill() { node_kill "$1"; }
fault_start() {
    claim_number
    mkdir -p "$FAULTS"
    write_ssh_files
    node_start "$1"
}
fault_freeze() { need_running "$1" && cgroup_freeze "$1" 1; }
fault_thaw() { need_running "$1" && cgroup_freeze "$1" 0; }

fault_cut() {
    need_running "$1"
    : >"$FAULTS/$1.cut"
    cable_connect "$1"
}
fault_join() {
    rm -f "$FAULTS/$1.cut"
    cable_connect "$1"
}

# Reboots the node from inside, and waits for its new process 1.
fault_reboot() {
    local node=$1 before
    need_running "$node"
    before=$(cgroup_init "$node")
    [ -n "$before" ] || die "$node is starting or stopping"
    node_enter "$node" systemctl reboot --no-block
    wait_until 90 init_is_new "$node" "$before" || die "$node does not reboot"
}
init_is_new() {
    local init
    init=$(cgroup_init "$1")
    [ -n "$init" ] && [ "$init" != "$2" ]
}

# Allocates every free block, root's too, without writing them. Repeats until nothing more can be written, as deleted files free
# their blocks a little later.
fault_fill_disk() {
    # shellcheck disable=SC2016 # expanded in the node
    node_enter "$1" sh -euc '
        mkdir -p /var/lab-full
        n=0
        while head -c 4096 /dev/zero 2>/dev/null >"/var/lab-full/probe.$n"; do
            size=$(($(df --output=avail -B1 / | tail -n 1)))
            while [ "$size" -ge 4096 ]; do
                fallocate -l "$size" "/var/lab-full/$n.$size" 2>/dev/null || rm -f "/var/lab-full/$n.$size"
                size=$((size / 2))
            done
            sync
            n=$((n + 1))
            [ "$n" -lt 100 ] || { echo "the disk does not fill up" >&2; exit 1; }
        done'
}
fault_free_disk() { node_enter "$1" sh -euc 'rm -rf /var/lab-full; sync'; }

fault_delay() { link_set "$1" "$2" "$(link_loss "$1")"; }
fault_loss() {
    [ "$2" -le 100 ] || usage_error "fault NODE loss PERCENT"
    link_set "$1" "$(link_delay "$1")" "$2"
}

fault_clear() {
    rm -f "$FAULTS/$1.cut"
    ! node_running "$1" || cgroup_freeze "$1" 0
    link_set "$1" 0 0
    [ -z "$(cgroup_init "$1")" ] || fault_free_disk "$1"
}

# The cable of NODE; v<i> is the lab's end. While it delays or loses frames, relay.py is between it and the bridge.
link_delay() { cut -d' ' -f1 "$FAULTS/$1.link" 2>/dev/null || echo 0; }
link_loss() { cut -d' ' -f2 "$FAULTS/$1.link" 2>/dev/null || echo 0; }

link_set() { # NODE MILLISECONDS PERCENT
    local node=$1 index fd
    index=$(node_index "$node")
    hub_exists || die "lab $LAB is down"
    cgroup_kill "link.$node"
    cgroup_remove "link.$node"
    rm -f "$FAULTS/$node.link"
    if [ "$2 $3" != "0 0" ]; then
        ip -n "$HUB" link show "v$index" >/dev/null 2>&1 || die "$node has not been started yet"
        ip -n "$HUB" link show "p$index" >/dev/null 2>&1 || ip -n "$HUB" link add "p$index" type veth peer name "q$index"
        ip -n "$HUB" link set "p$index" up
        ip -n "$HUB" link set "q$index" up
        echo "$2 $3" | write_file "$FAULTS/$node.link"
        (
            for fd in "${LOCK_FDS[@]}"; do exec {fd}>&-; done
            cgroup_join "link.$node"
            cd /
            exec setsid ip netns exec "$HUB" /usr/bin/python3 -I "$HERE/relay.py" "v$index" "q$index" "$2" "$3"
        ) </dev/null >>"$STATE/nodes/$node/link.log" 2>&1 &
        disown
        wait_until 10 cgroup_busy "link.$node" || die "the relay of $node does not run"
    fi
    cable_connect "$node"
}
