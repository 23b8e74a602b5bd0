# shellcheck shell=bash
# Each node has a control group for all its processes. The kernel's list of them is the lab's only record of what runs: there are
# no PID files.

CGROUPS=() # one folder of this lab in each hierarchy: cgroup v2 first, then systemd's own where the machine has both

cgroup_find() {
    local mount
    while read -r mount; do
        CGROUPS+=("$mount/nixcfg-lab.$LAB")
    done < <(awk '{ for (i = 1; $i != "-"; i++); if ($(i + 1) == "cgroup2") print 0, $5
                    else if ($(i + 1) == "cgroup" && $NF ~ /name=systemd/) print 1, $5 }' /proc/self/mountinfo |
        sort -u | cut -d' ' -f2)
    [ ${#CGROUPS[@]} -gt 0 ] || die "this machine has no cgroup v2 hierarchy mounted"
}

cgroup_join() { # NODE: the calling process and all it starts from now on
    local group
    for group in "${CGROUPS[@]}"; do
        mkdir -p "$group/$1"
        echo "$BASHPID" >"$group/$1/cgroup.procs"
    done
}

cgroup_busy() { # NODE: does any process of it run
    local events=${CGROUPS[0]}/$1/cgroup.events
    [ -e "$events" ] && grep -q '^populated 1' "$events"
}
cgroup_idle() { ! cgroup_busy "$1"; }

cgroup_kill() { # NODE: every process of it, at once
    if cgroup_busy "$1"; then
        echo 1 >"${CGROUPS[0]}/$1/cgroup.kill"
        wait_until 20 cgroup_idle "$1" || die "the processes of $1 do not end"
    fi
}

cgroup_remove() { # NODE
    local group
    for group in "${CGROUPS[@]}"; do
        [ ! -d "$group/$1" ] || find "$group/$1" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        rmdir "$group" 2>/dev/null || true
    done
}

cgroup_freeze() { # NODE 0|1
    echo "$2" >"${CGROUPS[0]}/$1/cgroup.freeze"
    wait_until 10 grep -q "^frozen $2" "${CGROUPS[0]}/$1/cgroup.events" || die "$1: the kernel does not freeze or thaw it"
}

# The machine's ID of the node's process 1; nothing without one.
cgroup_init() {
    local group=${CGROUPS[0]}/$1
    [ -d "$group" ] || return 0
    # Processes may end meanwhile; that is no failure.
    # shellcheck disable=SC2016 # awk's own variables
    find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | sed 's|.*|/proc/&/status|' |
        xargs -r grep -H '^NSpid:' 2>/dev/null | awk 'NF == 3 && $3 == 1 { print $2 }' | head -n 1 || true
}
