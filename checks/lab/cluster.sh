# shellcheck shell=bash
# Starts and stops the nodes of a cluster.

# Prints one line a node: name, IPv4, IPv6 (- for none), administrators separated by commas.
cluster_nodes() {
    local evaluated log=$STATE/evaluation.log
    # Nix reports the override of nixpkgs at length, which matters only if it fails.
    evaluated=$(lab_nix "" eval --json "$REPOSITORY#clusters.$1" 2>"$log") || { cat "$log" >&2; return 1; }
    jq -er <<<"$evaluated" '.nodes | to_entries[] | [.key, .value.address.ipv4 // "-", .value.address.ipv6 // "-",
                ((.value.admins // []) | if . == [] then "-" else join(",") end)] | join(" ")'
}

cmd_up() {
    local cluster=prod names='' nixos=${LAB_NIXOS:-} wanted=() described started
    while [ $# -gt 0 ]; do
        case $1 in
        --cluster) cluster=${2:?} && shift 2 ;;
        --nodes) names=${2:?} && shift 2 ;;
        --nixos) nixos=1 && shift ;;
        -*) usage_error "up: unknown option $1" ;;
        *) wanted+=("$1") && shift ;;
        esac
    done
    need_root
    started=$(now_ms)
    cmd_setup
    mkdir -p "$STATE/nodes"
    [ -z "$nixos" ] || with_lock nixos take_nixos
    if [ -n "$names" ]; then
        described=$(tr ',' '\n' <<<"$names" | sed 's/$/ - - -/')
    else
        described=$(cluster_nodes "$cluster") || die "the cluster $cluster could not be evaluated (or give --nodes a,b,c)"
    fi
    with_lock "$LAB" up_locked "$described" "${wanted[@]}"
    say "lab: $LAB is up after $(seconds $(($(now_ms) - started)))"
    echo "ssh_config: $STATE/ssh_config"
}

up_locked() {
    local described=$1 node ipv4 ipv6 admins known=' ' wanted
    shift
    STARTED=()
    AWAITING=()
    trap 'up_undo' EXIT
    trap 'exit 130' INT TERM
    claim_number
    mkdir -p "$FAULTS"
    while read -r node ipv4 ipv6 admins; do
        [[ $node =~ ^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$ ]] || die "'$node' cannot be a node's name"
        register_node "$node" "$ipv4" "$ipv6" "$admins"
        known+="$node "
    done <<<"$described"
    for node in "$@"; do [[ $known == *" $node "* ]] || die "no node $node in the cluster (there are:$known)"; done
    write_ssh_files
    hub_up
    wanted=("$@")
    [ $# -gt 0 ] || read -ra wanted <<<"$known"
    SINCE_MS=$(now_ms)
    for node in "${wanted[@]}"; do
        if ! node_running "$node"; then
            STARTED+=("$node")
            node_start "$node"
        fi
    done
    await_logins "${wanted[@]}"
    trap - EXIT INT TERM
}

# Does not wait for a node that a requested fault keeps from answering.
await_logins() {
    local node pid bad=0
    AWAITING=()
    for node in "$@"; do
        if [ -e "$FAULTS/$node.cut" ] || [ "$(node_state "$node")" = frozen ]; then
            say "lab: $node is cut off or frozen, and stays so (fault $node clear)"
        else
            await_login "$node" 90 &
            AWAITING+=($!)
        fi
    done
    for pid in "${AWAITING[@]}"; do wait "$pid" || bad=1; done
    AWAITING=()
    [ "$bad" = 0 ] || die "not all nodes came up"
}

# A failed `up` leaves the former state.
up_undo() {
    local node
    [ ${#AWAITING[@]} = 0 ] || kill "${AWAITING[@]}" 2>/dev/null || true
    for node in "${STARTED[@]}"; do
        cgroup_kill "$node"
        cgroup_remove "$node"
    done
    [ -e "${CGROUPS[0]}" ] || down_locked
}

cmd_down() {
    need_root
    with_lock "$LAB" down_locked
}

down_locked() {
    local group node
    for group in "${CGROUPS[0]}"/*/; do
        [ -d "$group" ] || continue
        node=$(basename "$group")
        cgroup_kill "$node"
        cgroup_remove "$node"
    done
    hub_down
}

cmd_wipe() {
    cmd_down
    rm -rf "$STATE" "$RUN/$LAB.lab"
}

cmd_reset() {
    local nodes=("$@")
    [ $# -gt 0 ] || usage_error "reset: which nodes? (or --all)"
    [ "$1" != --all ] || read -ra nodes <<<"$(all_nodes | tr '\n' ' ')"
    need_root
    with_lock "$LAB" reset_locked "${nodes[@]}"
}

reset_locked() {
    local node
    for node in "$@"; do known_node "$node"; done
    claim_number
    mkdir -p "$FAULTS"
    write_ssh_files
    SINCE_MS=$(now_ms)
    for node in "$@"; do
        node_reset "$node"
        node_start "$node"
    done
    await_logins "$@"
}

cmd_status() {
    local node state
    [ -d "$STATE/nodes" ] || { echo "lab $LAB: no nodes"; return; }
    printf '%-14s %-8s %-15s %-8s %-9s %s\n' NODE STATE ADDRESS MEMORY DISK SYSTEM
    for node in $(all_nodes); do
        state=off
        ! node_running "$node" || state=$(node_state "$node")
        printf '%-14s %-8s %-15s %-8s %-9s %s\n' "$node" "$state" \
            "$([ ! -e "$RUN/$LAB.lab" ] || node_address "$node")" "$(node_memory "$node")" \
            "$(du -sm "$STATE/nodes/$node/disk.img" 2>/dev/null | cut -f1)M" \
            "$([ "$state" != up ] || node_enter "$node" readlink /run/current-system || true)"
    done
}

node_state() {
    if grep -qs '^frozen 1' "${CGROUPS[0]}/$1/cgroup.events"; then
        echo frozen
    elif [ -z "$(cgroup_init "$1")" ]; then
        echo booting
    else
        echo up
    fi
}

# The memory of its processes in MiB, with shared pages by their share.
node_memory() {
    local group=${CGROUPS[0]}/$1
    [ -d "$group" ] || { echo -; return; }
    find "$group" -name cgroup.procs -exec cat {} + | sed 's|.*|/proc/&/smaps_rollup|' |
        xargs -r cat 2>/dev/null | awk '$1 == "Pss:" { sum += $2 } END { printf "%dM\n", sum / 1024 }'
}

cmd_env() {
    local claimed
    claimed=$([ ! -e "$RUN/$LAB.lab" ] || lab_number)
    printf '%s=%q\n' LAB "$LAB" NIXCFG_LAB_DIR "$CACHE" LAB_NUMBER "$claimed" LAB_STATE "$STATE" LAB_SSH_CONFIG "$STATE/ssh_config" \
        LAB_KNOWN_HOSTS "$STATE/known_hosts" LAB_KEY "$KEY" LAB_NIXPKGS "$NIXPKGS_DIR"
}
