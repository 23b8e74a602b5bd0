//! The two kinds of nodes that the lab has, where a test has to know: Debian
//! with a stand-in for NixOS, and NixOS itself.

/// Whether the lab's nodes are genuine NixOS, which `LAB_NIXOS` asks for.
pub fn genuine() -> bool {
    std::env::var_os("LAB_NIXOS").is_some_and(|value| !value.is_empty())
}

/// The part of its path by which the system of a bare node is known.
pub fn bare_system() -> &'static str {
    match genuine() {
        true => "nixos-system-unnamed",
        false => "nixos-system-bare",
    }
}

/// What stops a node's sshd.
pub fn stop_sshd() -> &'static str {
    match genuine() {
        true => "systemctl stop sshd.service",
        false => "systemctl stop ssh.socket ssh.service",
    }
}

/// What starts it again.
pub fn start_sshd() -> &'static str {
    match genuine() {
        true => "systemctl start sshd.service",
        false => "systemctl start ssh.service",
    }
}

/// Where a node has systemd's programs that are on no PATH.
pub fn systemd_programs() -> &'static str {
    match genuine() {
        true => "/run/current-system/systemd/lib/systemd",
        false => "/lib/systemd",
    }
}

/// Where a node has programs that somebody put there, and everybody finds them.
pub fn programs_by_hand() -> &'static str {
    match genuine() {
        true => "/nix/var/nix/profiles/default/bin",
        false => "/usr/local/bin",
    }
}

/// A part of a system to which nobody can log in; whoever goes back from it has sshd again.
pub fn deaf() -> String {
    disturbing("deaf", stop_sshd(), start_sshd())
}

/// The same without a network.
pub fn mute() -> String {
    disturbing("mute", "ip link set host0 down", "ip link set host0 up")
}

/// In a start of the node it comes after what it disturbs.
fn disturbing(name: &str, script: &str, back: &str) -> String {
    format!(
        r#"systemd.services.{name} = {{ path = [ pkgs.iproute2 ]; after = [ "network.target" ]; wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; serviceConfig.RemainAfterExit = true; script = "{script}"; preStop = "{back}"; }};"#
    )
}

/// A part of a system that only a restart brings. NixOS nodes of the lab are containers, whose systems have no kernel:
/// the file that would be it is enough, for nothing starts it.
pub fn other_kernel() -> &'static str {
    match genuine() {
        true => {
            r#"system.extraSystemBuilderCmds = "ln -s ${pkgs.writeText "kernel" "another one"} $out/kernel";"#
        }
        false => "boot.kernelPackages = pkgs.linuxPackages_latest;",
    }
}
