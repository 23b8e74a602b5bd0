#!/bin/bash
# root.sh DIR MIRROR: makes in DIR the root under the disks of all nodes: Debian with systemd, sshd, sudo and Nix, and with the parts of
# NixOS that a deployment checks. `lab setup` runs it in namespaces of its own, so that nothing outlives it. After a change of this file,
# node/ or bare/, setup makes a new root.
set -euo pipefail
dir=${1:?DIR} mirror=${2:?MIRROR}
here=$(dirname "$(readlink -f "$0")")
suite=trixie

in_root() { chroot "$dir" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }

# In two steps, as debootstrap alone installs the dependencies of Nix in an order that fails.
install_packages() {
    debootstrap --variant=minbase "$suite" "$dir" "$mirror"
    mountpoint -q "$dir/proc" || mount -t proc proc "$dir/proc" # ends with this namespace
    cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
    apt-config dump | grep -E '^Acquire::[a-z]+::Proxy' >"$dir/etc/apt/apt.conf.d/90lab-proxy" || true
    printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d" # no service starts in the chroot
    chmod +x "$dir/usr/sbin/policy-rc.d"
    in_root apt-get install -y --no-install-recommends \
        systemd systemd-sysv dbus libpam-systemd libnss-myhostname openssh-server sudo nix-bin nix-setup-systemd \
        iproute2 iputils-ping nftables procps ca-certificates curl openssl
    rm "$dir/usr/sbin/policy-rc.d" "$dir/etc/apt/apt.conf.d/90lab-proxy" "$dir/etc/resolv.conf"
    in_root apt-get clean
    rm -rf "$dir"/var/lib/apt/lists/* "$dir"/usr/share/{doc,man,locale}
}

# A node gets its own host keys and identity when its disk is made.
remove_identity() {
    rm -f "$dir"/etc/ssh/ssh_host_* "$dir/var/lib/dbus/machine-id" "$dir/etc/hostname"
    : >"$dir/etc/machine-id"
}

configure_login() {
    cat >"$dir/etc/ssh/sshd_config.d/lab.conf" <<'CONF'
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
# Tests fail logins on purpose, all from one address.
PerSourcePenalties no
CONF
    in_root groupadd --system wheel
    printf '%%wheel ALL=(ALL:ALL) ALL\nDefaults secure_path="%s"\n' "$path" >"$dir/etc/sudoers.d/lab"
    chmod 440 "$dir/etc/sudoers.d/lab"
    # As on NixOS, a session has all programs in its PATH, also those of sbin.
    printf 'PATH=%s\n' "$path" >"$dir/etc/environment"
}
path=/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin

configure_nix() {
    # On Debian only members of a group may ask the daemon; on NixOS and here everybody may, but it trusts root alone.
    sed 's|^d  */nix/var/nix/daemon-socket .*|d /nix/var/nix/daemon-socket 0755 root root|' \
        "$dir/usr/lib/tmpfiles.d/nix-daemon.conf" >"$dir/etc/tmpfiles.d/nix-daemon.conf"
    chmod 755 "$dir/nix/var/nix/daemon-socket"
    mkdir -p "$dir/etc/systemd/system/nix-daemon.socket.d"
    printf '[Socket]\nSocketMode=0666\nDirectoryMode=0755\n' >"$dir/etc/systemd/system/nix-daemon.socket.d/lab.conf"
}

# Installs the first generation: into the store, the system profile and the boot loader.
install_bare_system() {
    local top
    cp -r "$here/bare" "$dir/tmp/nixos-system-bare"
    printf '%s-linux' "$(uname -m)" >"$dir/tmp/nixos-system-bare/system"
    top=$(in_root nix-store --add /tmp/nixos-system-bare)
    rm -r "$dir/tmp/nixos-system-bare"
    in_root nix-env -p /nix/var/nix/profiles/system --set "$top"
    echo "$top" >"$dir/boot/default"
    ln -sfn /run/current-system "$dir/nix/var/nix/gcroots/current-system"
    ln -sfn /run/booted-system "$dir/nix/var/nix/gcroots/booted-system"
    cp -r "$here/bare/etc/." "$dir/etc/"
    : >"$dir/etc/NIXOS"
}

configure_boot() {
    install -D -m755 "$here/node/lab-boot" "$dir/usr/local/lib/lab-boot"
    install -m644 "$here/node/lab-boot.service" "$dir/etc/systemd/system/"
    in_root systemctl -q enable lab-boot.service
    mkdir -p "$dir/var/log/journal" # the journal outlives a restart, as on NixOS
    mkdir -p "$dir/etc/systemd/journald.conf.d"
    printf '[Journal]\nSystemMaxUse=50M\n' >"$dir/etc/systemd/journald.conf.d/lab.conf"
    # The lab configures the network. The other units wait for hardware or the network, or only slow the boot.
    in_root systemctl -q mask systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
        systemd-firstboot.service ldconfig.service console-getty.service getty@tty1.service getty-static.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
}

install_packages
remove_identity
configure_login
configure_nix
install_bare_system
configure_boot
