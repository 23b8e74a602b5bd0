//! Host keys of machines that are not known yet.

use std::net::IpAddr;
use std::time::Duration;

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::process::Command;

/// A host key that a machine presented and nobody has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// Its line for `known_hosts`.
    pub line: String,
    /// The fingerprint to compare on the machine's own console.
    pub fingerprint: String,
}

/// The longest answer, in bytes.
const MOST: usize = 64 << 10;
/// How long ssh-keyscan may take, whatever its own limit is.
const LONGEST: Duration = Duration::from_secs(60);

/// Asks a machine for its Ed25519 host key (`ssh-keyscan`).
pub async fn scan(node: &Name, address: IpAddr, port: u16) -> Result<HostKey> {
    let command = Command::new("ssh-keyscan").args([
        "-T",
        "10",
        "-t",
        "ed25519",
        "-p",
        &port.to_string(),
        &address.to_string(),
    ]);
    let command = command.bounded(MOST, LONGEST);
    let done = command.run(|_| ()).await;
    let done = done.map_err(|e| e.exit(Exit::Probe).on(node))?;
    let text = String::from_utf8_lossy(&done.stdout);
    let Some(line) = key_line(&text) else {
        return Err(Error::new(
            Exit::Probe,
            format!("no SSH server shows an Ed25519 host key at {address}, port {port}"),
        )
        .on(node)
        .running(command.display())
        .saying(done.stderr_tail));
    };
    let command = Command::new("ssh-keygen")
        .args(["-l", "-E", "sha256", "-f", "-"])
        .stdin(format!("{line}\n"));
    let done = command.run(|_| ()).await?;
    let shown = String::from_utf8_lossy(&done.stdout);
    match shown
        .split_whitespace()
        .find(|word| word.starts_with("SHA256:"))
    {
        Some(fingerprint) if done.success => Ok(HostKey {
            line: line.to_owned(),
            fingerprint: fingerprint.to_owned(),
        }),
        _ => Err(Error::new(Exit::Probe, "its host key cannot be read")
            .on(node)
            .running(command.display())
            .saying(done.stderr_tail)),
    }
}

/// The key in the output of `ssh-keyscan`, whose lines with `#` are comments.
fn key_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| {
        !line.starts_with('#') && line.split_whitespace().nth(1) == Some("ssh-ed25519")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_and_other_keys_are_passed_over() {
        let text = "# 192.0.2.1:22 SSH-2.0\n192.0.2.1 ssh-rsa AAAA\n192.0.2.1 ssh-ed25519 BBBB\n";
        assert_eq!(key_line(text), Some("192.0.2.1 ssh-ed25519 BBBB"));
        assert_eq!(key_line("# nothing\n"), None);
    }
}
