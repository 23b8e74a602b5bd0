//! The files of a cluster as texts: values in, Nix and ssh_config out.

use std::net::IpAddr;

use super::survey::{Firmware, Survey};
use crate::cluster::Name;
use crate::nix::syntax::{attribute, string};

/// `system.stateVersion` of a new cluster.
const STATE_VERSION: &str = "26.05";

/// A new node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: Name,
    /// Its address in its site.
    pub address: IpAddr,
    /// The port of its SSH server.
    pub port: u16,
    /// Whether it votes in Consul and Nomad.
    pub server: bool,
}

/// `cluster.nix`.
pub fn cluster(domain: &str, prefix: &str, admin: &Name, key: &str) -> String {
    format!(
        "{{\n  cluster = {{\n    domain = {};\n    secretsPrefix = {};\n\n    admins.{}.keys = [\n      {}\n    ];\n  }};\n\n  system.stateVersion = \"{STATE_VERSION}\";\n}}\n",
        string(domain),
        string(prefix),
        attribute(admin.as_str()),
        string(key),
    )
}

/// `site/<site>.nix`.
pub fn site(name: &Name) -> String {
    format!(
        "{{\n  cluster.sites.{} = {{ }};\n}}\n",
        attribute(name.as_str())
    )
}

/// `node/<node>.nix`.
pub fn node(node: &Node, site: &Name, survey: Option<&Survey>) -> String {
    let family = match node.address {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    let mut lines = vec![format!("    site = {};", string(site.as_str()))];
    if let Some(survey) = survey
        && survey.system != "x86_64-linux"
    {
        lines.push(format!("    system = {};", string(&survey.system)));
    }
    let role = if node.server { "server" } else { "client" };
    lines.push(format!("    role = \"{role}\";"));
    lines.push(format!(
        "    address.{family} = {};",
        string(&node.address.to_string())
    ));
    if node.port != 22 {
        lines.push(format!("    ssh.port = {};", node.port));
    }
    format!(
        "{{\n  imports = [ ../hardware/{}.nix ];\n\n{}  cluster.nodes.{} = {{\n{}\n  }};\n}}\n",
        node.name,
        boot(survey),
        attribute(node.name.as_str()),
        lines.join("\n"),
    )
}

/// The boot loader, which a hardware configuration leaves open.
fn boot(survey: Option<&Survey>) -> String {
    match survey.map(|survey| &survey.firmware) {
        Some(Firmware::Bios(Some(disk))) => {
            format!("  boot.loader.grub.device = {};\n\n", string(disk))
        }
        Some(Firmware::Bios(None)) => {
            "  # The disk that the boot loader is on could not be found out.\n  boot.loader.grub.device = \"/dev/sda\";\n\n".to_owned()
        }
        Some(Firmware::Efi) | None => {
            "  boot.loader = {\n    systemd-boot.enable = true;\n    efi.canTouchEfiVariables = true;\n  };\n\n".to_owned()
        }
    }
}

/// `hardware/<node>.nix`: the machine's own result, or a guess with partitions by label.
pub fn hardware(survey: Option<&Survey>) -> String {
    match survey.and_then(|survey| survey.hardware.as_ref()) {
        Some(found) => found.clone(),
        None => "# Nobody has looked at this machine's disks. Put here what `nixos-generate-config --show-hardware-config` prints on it.\n{\n  fileSystems.\"/\" = {\n    device = \"/dev/disk/by-label/nixos\";\n    fsType = \"ext4\";\n  };\n}\n".to_owned(),
    }
}

/// `hardware/<node>.nix` of a machine that runs already: a guess would keep it from starting.
pub fn no_hardware(cluster: &Name, node: &Name) -> String {
    let message = format!(
        "cluster/{cluster}/hardware/{node}.nix: put here what `nixos-generate-config --show-hardware-config` prints on {node}"
    );
    format!(
        "# Nobody has looked at this machine's disks.\n{{\n  assertions = [\n    {{\n      assertion = false;\n      message = {};\n    }}\n  ];\n}}\n",
        string(&message)
    )
}

/// The beginning of `ssh_config`.
pub fn ssh_config(cluster: &Name) -> String {
    format!(
        "Host *\n  UserKnownHostsFile ./cluster/{cluster}/known_hosts\n  StrictHostKeyChecking yes\n"
    )
}

/// A node's part of `ssh_config`.
pub fn host(node: &Node) -> String {
    let mut text = format!("\nHost {}\n  HostName {}\n", node.name, node.address);
    if node.port != 22 {
        text += &format!("  Port {}\n", node.port);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alder() -> Node {
        Node {
            name: "alder".parse().unwrap(),
            address: "192.0.2.11".parse().unwrap(),
            port: 22,
            server: true,
        }
    }

    #[test]
    fn a_node_says_what_is_not_the_default() {
        let site = "lyon".parse().unwrap();
        assert_eq!(
            node(&alder(), &site, None),
            "{\n  imports = [ ../hardware/alder.nix ];\n\n  boot.loader = {\n    systemd-boot.enable = true;\n    efi.canTouchEfiVariables = true;\n  };\n\n  cluster.nodes.alder = {\n    site = \"lyon\";\n    role = \"server\";\n    address.ipv4 = \"192.0.2.11\";\n  };\n}\n"
        );
        let survey = Survey {
            system: "aarch64-linux".into(),
            firmware: Firmware::Bios(Some("/dev/vda".into())),
            hardware: None,
        };
        let other = Node {
            address: "2001:db8::1".parse().unwrap(),
            port: 2222,
            server: false,
            ..alder()
        };
        assert_eq!(
            node(&other, &site, Some(&survey)),
            "{\n  imports = [ ../hardware/alder.nix ];\n\n  boot.loader.grub.device = \"/dev/vda\";\n\n  cluster.nodes.alder = {\n    site = \"lyon\";\n    system = \"aarch64-linux\";\n    role = \"client\";\n    address.ipv6 = \"2001:db8::1\";\n    ssh.port = 2222;\n  };\n}\n"
        );
    }

    #[test]
    fn a_name_that_begins_with_a_digit_is_quoted() {
        assert_eq!(
            site(&"1st".parse().unwrap()),
            "{\n  cluster.sites.\"1st\" = { };\n}\n"
        );
    }

    #[test]
    fn ssh_finds_nodes_on_other_ports() {
        let other = Node {
            port: 2222,
            ..alder()
        };
        assert_eq!(
            host(&other),
            "\nHost alder\n  HostName 192.0.2.11\n  Port 2222\n"
        );
    }

    #[test]
    fn hardware_is_the_machines_own_where_it_told() {
        let survey = Survey {
            system: "x86_64-linux".into(),
            firmware: Firmware::Efi,
            hardware: Some("{ }\n".into()),
        };
        assert_eq!(hardware(Some(&survey)), "{ }\n");
        assert!(hardware(None).contains("by-label/nixos"));
    }
}
