//! Differences between the lab's two kinds of nodes that tests have to know: Debian with a stand-in
//! for NixOS, and genuine NixOS.

/// Whether the lab's nodes are genuine NixOS, which `LAB_NIXOS` asks for.
pub fn genuine() -> bool {
    std::env::var_os("LAB_NIXOS").is_some_and(|value| !value.is_empty())
}

/// The part of a bare node's system path that identifies it.
pub fn bare_system() -> &'static str {
    if genuine() {
        "nixos-system-unnamed"
    } else {
        "nixos-system-bare"
    }
}

/// The command that stops a node's sshd.
pub fn stop_sshd() -> &'static str {
    if genuine() {
        "systemctl stop sshd.service"
    } else {
        "systemctl stop ssh.socket ssh.service"
    }
}

/// The command that starts sshd again.
pub fn start_sshd() -> &'static str {
    if genuine() {
        "systemctl start sshd.service"
    } else {
        "systemctl start ssh.service"
    }
}

/// The setuid program `sudo` of a node.
pub fn sudo() -> &'static str {
    if genuine() {
        "/run/wrappers/bin/sudo"
    } else {
        "/usr/bin/sudo"
    }
}

/// The folder of systemd's programs that are not on PATH.
pub fn systemd_programs() -> &'static str {
    if genuine() {
        "/run/current-system/systemd/lib/systemd"
    } else {
        "/lib/systemd"
    }
}

/// The folder on every user's PATH for programs installed by hand.
pub fn programs_by_hand() -> &'static str {
    if genuine() {
        "/nix/var/nix/profiles/default/bin"
    } else {
        "/usr/local/bin"
    }
}

/// A module that stops sshd. Going back to the former system starts it again.
pub fn deaf() -> String {
    disturbing("deaf", stop_sshd(), start_sshd())
}

/// A module that cuts the network.
pub fn mute() -> String {
    disturbing("mute", "ip link set host0 down", "ip link set host0 up")
}

/// At boot the unit starts after what it disturbs.
fn disturbing(name: &str, script: &str, back: &str) -> String {
    format!(
        r#"systemd.services.{name} = {{ path = [ pkgs.iproute2 ]; after = [ "network.target" ]; wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; serviceConfig.RemainAfterExit = true; script = "{script}"; preStop = "{back}"; }};"#
    )
}

/// A module whose kernel only a restart activates. NixOS nodes of the lab are containers, whose systems
/// have no kernel: any file in its place will do, as nothing starts it.
pub fn other_kernel() -> &'static str {
    if genuine() {
        r#"system.extraSystemBuilderCmds = "ln -s ${pkgs.writeText "kernel" "another one"} $out/kernel";"#
    } else {
        "boot.kernelPackages = pkgs.linuxPackages_latest;"
    }
}
