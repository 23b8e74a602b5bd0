#!/bin/bash
# supervise.sh NODE: runs one node until it is switched off, booting it again when it reboots. Started by `lab up` inside the
# node's control group; LAB and NIXCFG_LAB_DIR as for the lab. With --boot, one boot in the mount namespace made for it: the disk
# and the root are mounted for the node alone and are gone with its last process.
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")")
# shellcheck source=common.sh
. "$HERE/common.sh"
# shellcheck source=net.sh
. "$HERE/net.sh"

main() {
    local node=$1 status
    while :; do
        net_fresh "$node"
        status=0
        unshare --mount --propagation private "$HERE/supervise.sh" --boot "$node" || status=$?
        [ "$status" = 133 ] || exit "$status" # systemd-nspawn's way to say that the node wants to reboot
    done
}

boot() {
    local node=$1 dir=$STATE/nodes/$1 start=(--boot)
    mkdir -p "$dir/disk" "$dir/root"
    # Only processes of the lab lose power, not the machine, so write barriers are off.
    mount -o loop,barrier=0 "$dir/disk.img" "$dir/disk"
    [ -e "$dir/disk/ready" ] || rm -rf "$dir/disk/upper" "$dir/disk/work"
    mkdir -p "$dir/disk/upper" "$dir/disk/work"
    mount -t overlay -o "lowerdir=$(readlink "$dir/base"),upperdir=$dir/disk/upper,workdir=$dir/disk/work" lab "$dir/root"
    if [ ! -e "$dir/disk/ready" ]; then
        install_node "$node" "$dir" "$dir/root"
        if [ -x "$dir/root/usr/sbin/useradd" ]; then debian_users "$dir" "$dir/root"; else nixos_users "$dir" "$dir/root"; fi
        : >"$dir/disk/ready"
    fi
    export UNIFIED_CGROUP_HIERARCHY=1 # the node sees cgroup v2 alone, whatever the machine has
    # NixOS boots by the `init` of the system that its boot loader selects.
    [ -x "$dir/root/usr/sbin/useradd" ] || start=("$(next_system "$dir/root")/init")
    exec systemd-nspawn --quiet --directory="$dir/root" --machine="$node" --register=no --keep-unit --console=pipe \
        --network-namespace-path="/run/netns/$(node_ns "$node")" --capability=CAP_NET_ADMIN \
        --resolv-conf=off --timezone=off --link-journal=no "${start[@]}"
}

# The system in the boot loader's file or, without that, in the system profile.
next_system() {
    local root=$1 top
    top=$(cat "$root/boot/default" || true)
    [ -n "$top" ] && [ -e "$root$top/init" ] || top=$(readlink "$root/nix/var/nix/profiles/$(readlink "$root/nix/var/nix/profiles/system")")
    echo "$top"
}

# The result of an installation: a name, an identity and host keys; then the administrators.
install_node() {
    local node=$1 dir=$2 root=$3
    install -d "$root/etc/ssh"
    echo "$node" >"$root/etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    install -m 600 "$dir/ssh_host_ed25519_key" "$root/etc/ssh/"
    install -m 644 "$dir/ssh_host_ed25519_key.pub" "$root/etc/ssh/"
}

debian_users() {
    local dir=$1 root=$2 user password
    while read -r user password; do
        chroot "$root" useradd --create-home --shell /bin/bash --groups sudo,wheel "$user"
        printf '%s:%s\n' "$user" "$password" | chroot "$root" chpasswd
        install -d -m 700 "$root/home/$user/.ssh"
        install -m 600 "$KEY.pub" "$root/home/$user/.ssh/authorized_keys"
        chroot "$root" chown -R "$user:" "/home/$user/.ssh"
    done <"$dir/users"
}

# Before NixOS's first activation, which adds its accounts and keeps these.
nixos_users() {
    local dir=$1 root=$2 user password uid=1000 members
    members=$(cut -d' ' -f1 "$dir/users" | paste -sd,)
    printf 'wheel:x:1:%s\nusers:x:100:\n' "$members" >"$root/etc/group"
    (umask 077 && : >"$root/etc/shadow")
    : >"$root/etc/passwd"
    while read -r user password; do
        printf '%s:x:%s:100::/home/%s:/run/current-system/sw/bin/bash\n' "$user" "$uid" "$user" >>"$root/etc/passwd"
        printf '%s:%s:1::::::\n' "$user" "$(openssl passwd -6 -stdin <<<"$password")" >>"$root/etc/shadow"
        install -d -m 700 -o "$uid" -g 100 "$root/home/$user" "$root/home/$user/.ssh"
        install -m 600 -o "$uid" -g 100 "$KEY.pub" "$root/home/$user/.ssh/authorized_keys"
        uid=$((uid + 1))
    done <"$dir/users"
}

if [ "$1" = --boot ]; then boot "$2"; else main "$1"; fi
exit
