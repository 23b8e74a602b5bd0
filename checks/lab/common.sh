# shellcheck shell=bash
# Names, paths and small helpers that every part of the lab uses. Sourced by checks/lab/lab.

CACHE=${NIXCFG_LAB_DIR:-/var/cache/nixcfg-lab}
LAB=${LAB:-lab}
RUN=/run/nixcfg-lab           # what is true until the machine restarts: numbers, locks
STATE=$CACHE/labs/$LAB        # this lab's disks, host keys, ssh_config
KEY=$CACHE/key/id_ed25519     # the administrators' key, the same in all labs
FAULTS=$RUN/$LAB.faults      # what is wrong with the cables now
HUB=nixcfg.$LAB               # network namespace of the bridge

say() { printf '%s\n' "$*" >&2; }
die() { printf 'lab: %s\n' "$*" >&2; exit 1; }
usage_error() { printf 'lab: %s\n(see checks/lab/lab --help)\n' "$*" >&2; exit 2; }

# A clock in milliseconds, for the lab's own messages.
now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }
seconds() { printf '%d.%02d s' $(($1 / 1000)) $(($1 % 1000 / 10)); }

# wait_until SECONDS COMMAND…: succeeds as soon as COMMAND does, fails after SECONDS.
wait_until() {
    local end=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        (($(now_ms) < end)) || return 1
        sleep 0.05
    done
}

need_root() { [ "$(id -u)" = 0 ] || die "must run as root: it makes namespaces, mounts and loop devices"; }

check_lab_name() {
    [[ $LAB =~ ^[a-z0-9]{1,20}$ ]] || usage_error "LAB='$LAB': a lab's name is 1 to 20 of a-z and 0-9"
}

# with_lock NAME COMMAND…: runs COMMAND while no other process of any lab holds NAME. node_start closes the descriptor for
# long-running children.
with_lock() {
    local name=$1 fd
    shift
    mkdir -p "$RUN"
    exec {fd}>"$RUN/$name.lock"
    flock -w 900 "$fd" || die "another lab command has held $RUN/$name.lock for 15 minutes"
    LOCK_FDS+=("$fd")
    "$@"
    unset 'LOCK_FDS[-1]'
    exec {fd}>&-
}
LOCK_FDS=()

# write_file FILE: replaces FILE by standard input in one step.
write_file() {
    local new=$1.new.$BASHPID
    cat >"$new" && mv -f "$new" "$1"
}

# The Debian archive: the given one, that of this machine's apt or, on other systems, that of debootstrap.
debian_mirror() {
    local mirror=${NIXCFG_LAB_MIRROR:-}
    [ -n "$mirror" ] || mirror=$(apt_mirror)
    if [ -z "$mirror" ]; then # apt knows whose archive it is only after an update
        apt-get -q update >"$CACHE/apt.log" 2>&1 || true
        mirror=$(apt_mirror)
    fi
    [ -n "$mirror" ] || mirror=$(grep -ohE 'https?://[^" ]+/debian/?' "$(command -v debootstrap)" \
        /usr/share/debootstrap/scripts/{sid,trixie} | grep -v archive | head -n 1)
    [ -n "$mirror" ] || die "apt's configuration has no Debian mirror: set NIXCFG_LAB_MIRROR"
    echo "$mirror"
}

apt_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "main" && $3 !~ /-/ && !found++ { print $4 }'
}
