# shellcheck shell=bash
# The lab's network: a namespace with a bridge, one leg of it in the machine's namespace, and a namespace for each node.
# A node has its lab address 10.77.<lab>.<10+index> and the addresses that its cluster documents, all on host0.

node_ns() { echo "$HUB.$1"; }
node_index() { cat "$STATE/nodes/$1/index"; }
node_address() { echo "10.77.$(lab_number).$((10 + $(node_index "$1")))"; }
node_mac() { printf '02:4e:43:%02x:00:%02x' "$(lab_number)" "$(node_index "$1")"; }

# This lab's number on this machine, until a wipe or a restart of the machine: its ssh_config never leads into another lab.
lab_number() { cut -d' ' -f1 "$RUN/$LAB.lab"; }
claim_number() { with_lock numbers claim_number_locked; }
claim_number_locked() {
    local number owner
    if [ -e "$RUN/$LAB.lab" ]; then
        read -r number owner <"$RUN/$LAB.lab"
        if [ "$owner" != "$CACHE" ]; then
            ! hub_exists || die "a lab named $LAB runs with NIXCFG_LAB_DIR=$owner: choose another name with LAB=…"
            echo "$number $CACHE" | write_file "$RUN/$LAB.lab"
        fi
        return
    fi
    for number in {0..199}; do
        grep -qs "^$number " "$RUN"/*.lab && continue
        ip link show "nixcfg$number" >/dev/null 2>&1 && continue
        echo "$number $CACHE" | write_file "$RUN/$LAB.lab"
        return
    done
    die "200 labs are too many"
}

hub_exists() { [ -e "/run/netns/$HUB" ]; }

hub_up() {
    local leg
    leg=nixcfg$(lab_number)
    if hub_exists && ip link show "$leg" >/dev/null 2>&1; then return; fi
    ip link del "$leg" 2>/dev/null || true
    ip netns del "$HUB" 2>/dev/null || true
    ip netns add "$HUB"
    # The namespace forwards frames only, without addresses of its own.
    ip netns exec "$HUB" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
    ip -n "$HUB" link add br0 type bridge
    ip -n "$HUB" link set br0 up
    ip link add "$leg" type veth peer name host netns "$HUB"
    ip -n "$HUB" link set host master br0 up
    ip addr add "10.77.$(lab_number).1/24" dev "$leg"
    ip link set "$leg" up
}

hub_down() {
    local ns leg
    for ns in $(ip netns list | awk -v hub="$HUB." 'index($1, hub) == 1 { print $1 }'); do ip netns del "$ns"; done
    rm -rf "$FAULTS"
    if hub_exists; then
        # The kernel would remove the machine's leg too, but later.
        leg=$(ip -n "$HUB" -o link show host 2>/dev/null | sed -n 's/^[0-9]*: host@if\([0-9]*\):.*/\1/p')
        leg=$(ip -o link | awk -F '[:@] *' -v index_="$leg" '$1 == index_ && $2 ~ /^nixcfg/ { print $2 }')
        [ -z "$leg" ] || ip link del "$leg"
        ip netns del "$HUB"
    fi
}

# Makes a new network namespace for NODE, without the firewall and addresses of its former boot. The cable stays, so that its faults
# outlive a reboot.
net_fresh() {
    local node=$1 ns index
    ns=$(node_ns "$node") index=$(node_index "$node")
    if [ -e "/run/netns/$ns" ]; then
        ip -n "$ns" link set host0 netns "$HUB" name "h$index" 2>/dev/null || true
        ip netns del "$ns"
    fi
    ip netns add "$ns"
    if ip -n "$HUB" link show "h$index" >/dev/null 2>&1; then
        ip -n "$HUB" link set "h$index" netns "$ns" name host0
    else
        ip -n "$HUB" link del "v$index" 2>/dev/null || true
        ip -n "$HUB" link add "v$index" type veth peer name host0 address "$(node_mac "$node")" netns "$ns"
        ip -n "$HUB" link set "v$index" up
        cable_connect "$node"
    fi
    # The operator is behind a router, in effect: a node that is cut off is silent, instead of "no route to host".
    ip neigh replace "$(node_address "$node")" lladdr "$(node_mac "$node")" nud permanent dev "nixcfg$(lab_number)"
    net_configure "$node" "$ns"
}

# Connects NODE's end of the cable to the bridge, or its relay's if frames are delayed or lost; neither while it is cut.
cable_connect() {
    local index used unused
    index=$(node_index "$1") used=v$index unused=p$index
    if [ -e "$FAULTS/$1.link" ]; then used=p$index unused=v$index; fi
    ip -n "$HUB" link set "$unused" nomaster 2>/dev/null || true # p<i> is made for the first relay
    if [ -e "$FAULTS/$1.cut" ]; then
        ip -n "$HUB" link set "$used" nomaster
    else
        ip -n "$HUB" link set "$used" master br0
    fi
}

net_configure() {
    local node=$1 ns=$2 own4 own6 other4 other6 peer
    read -r own4 own6 <"$STATE/nodes/$node/addresses"
    {
        echo "link set lo up"
        echo "addr add $(node_address "$node")/24 dev host0"
        [ "$own4" = - ] || echo "addr add $own4/32 dev host0"
        [ "$own6" = - ] || echo "addr add $own6/128 dev host0 nodad"
        echo "link set host0 up"
        for peer in $(all_nodes); do
            [ "$peer" != "$node" ] || continue
            read -r other4 other6 <"$STATE/nodes/$peer/addresses"
            [ "$own4" = - ] || [ "$other4" = - ] || echo "route add $other4/32 dev host0 src $own4"
            [ "$own6" = - ] || [ "$other6" = - ] || echo "route add $other6/128 dev host0 src $own6"
        done
    } | ip -n "$ns" -batch -
}

all_nodes() {
    local dir
    for dir in "$STATE"/nodes/*/; do [ ! -e "$dir/index" ] || basename "$dir"; done
}
