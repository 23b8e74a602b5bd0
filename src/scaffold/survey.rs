//! The survey of a machine that is no node yet.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::host_key::HostKey;
use crate::cluster::Name;
use crate::error::{Context, Error, Exit, Result};
use crate::node::ssh::at_most;
use crate::process::Command;

/// `sh` runs it on the machine, as the user who logs in. It changes nothing.
const SCRIPT: &str = include_str!("survey.sh");

/// How a machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// By UEFI.
    Efi,
    /// By a BIOS, from this disk, if it could be found.
    Bios(Option<String>),
}

/// The result of a survey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Nix's name of its platform, such as `x86_64-linux`.
    pub system: String,
    pub firmware: Firmware,
    /// Its hardware configuration, if it has `nixos-generate-config`.
    pub hardware: Option<String>,
}

impl Survey {
    /// Parses the script's output.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parts = text.splitn(4, '\n');
        let mut line = || parts.next().unwrap_or_default().trim();
        let system = match line() {
            "x86_64" => "x86_64-linux",
            "aarch64" => "aarch64-linux",
            other => {
                let what = format!("its processor is ‘{other}’; nodes are x86_64 or aarch64");
                return Err(Error::new(Exit::Probe, what));
            }
        };
        let firmware = match line() {
            "efi" => Firmware::Efi,
            bios => {
                let disk = bios.strip_prefix("bios").unwrap_or_default().trim();
                Firmware::Bios(disk.starts_with("/dev/").then(|| disk.to_owned()))
            }
        };
        let hardware = match line() {
            "nixos" => Some(parts.next().unwrap_or_default().to_owned()),
            _ => None,
        };
        if hardware.as_ref().is_some_and(|text| text.trim().is_empty()) {
            let what = "nixos-generate-config printed no hardware configuration";
            return Err(Error::new(Exit::Probe, what));
        }
        Ok(Self {
            system: system.to_owned(),
            firmware,
            hardware,
        })
    }
}

/// The longest answer, in bytes.
const MOST: usize = 1 << 20;
/// How long the survey may take; the operator may have to unlock a key.
const LONGEST: Duration = Duration::from_secs(180);

/// Logs in to a machine with a known host key, and surveys it.
pub async fn survey(
    node: &Name,
    address: IpAddr,
    port: u16,
    user: Option<&str>,
    key: &HostKey,
    private: &Path,
) -> Result<Survey> {
    let known_hosts = private.join("known_hosts");
    tokio::fs::write(&known_hosts, format!("{}\n", key.line))
        .await
        .context(|| format!("cannot write {}", known_hosts.display()))?;
    let mut command = Command::new("ssh")
        .args(["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10"])
        .args(["-o", "ClearAllForwardings=yes"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
        .args(["-o", "GlobalKnownHostsFile=/dev/null", "-p"])
        .arg(port.to_string());
    if let Some(user) = user {
        command = command.args(["-l", user]);
    }
    let command = command
        .args(["--", &address.to_string(), "sh", "-s"])
        .stdin(SCRIPT)
        .bounded(MOST, at_most("the survey", LONGEST));
    let done = command.run(|_| ()).await;
    let done = done.map_err(|e| e.exit(Exit::Probe).on(node))?;
    if !done.success {
        return Err(Error::new(Exit::Probe, "cannot look at the machine")
            .on(node)
            .running(command.display())
            .saying(done.stderr_tail)
            .help(
                "log in by a key that your ssh finds, or leave the look at it out with --no-survey",
            ));
    }
    Survey::parse(&String::from_utf8_lossy(&done.stdout)).map_err(|e| e.on(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_nixos_tells_its_hardware() {
        let survey = Survey::parse("x86_64\nefi\nnixos\n{ lib, ... }:\n{ }\n").unwrap();
        assert_eq!(survey.system, "x86_64-linux");
        assert_eq!(survey.firmware, Firmware::Efi);
        assert_eq!(survey.hardware.as_deref(), Some("{ lib, ... }:\n{ }\n"));
    }

    #[test]
    fn another_linux_tells_its_disk() {
        let survey = Survey::parse("aarch64\nbios /dev/vda\nother\n").unwrap();
        assert_eq!(survey.system, "aarch64-linux");
        assert_eq!(survey.firmware, Firmware::Bios(Some("/dev/vda".into())));
        assert_eq!(survey.hardware, None);
    }

    #[test]
    fn a_disk_that_was_not_found_is_none() {
        let survey = Survey::parse("x86_64\nbios \nother\n").unwrap();
        assert_eq!(survey.firmware, Firmware::Bios(None));
    }

    #[test]
    fn a_processor_that_nodes_cannot_have_is_refused() {
        let error = Survey::parse("riscv64\nefi\nother\n").unwrap_err();
        assert_eq!(error.exit, Exit::Probe);
        assert!(error.what.contains("riscv64"));
    }

    #[test]
    fn a_generator_that_printed_nothing_is_refused() {
        assert!(Survey::parse("x86_64\nefi\nnixos\n\n").is_err());
    }
}
