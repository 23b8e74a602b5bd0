//! What is known of a node before it is logged in to.

use std::path::Path;

use super::{Access, BEGIN, user};
use crate::cluster::Name;
use crate::error::Result;
use crate::process::Command;

/// What ssh would do to log in to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The machine that it would go to.
    pub host: String,
    /// The name that the host key is looked up by.
    pub known_as: String,
    /// Whether a host key is known by that name.
    pub key: bool,
}

impl Access {
    /// Asks ssh, which logs in to nobody.
    pub async fn known(&self, node: &Name) -> Result<Known> {
        let login = user::resolve(self.options(node), node).await?;
        let known_as = login.known_as();
        let mut key = false;
        for file in login.known_hosts().iter().map(Path::new) {
            let find = Command::new("ssh-keygen")
                .args(["-F", &known_as, "-f"])
                .arg(file)
                .bounded(1 << 20, BEGIN);
            // The usual files need not be there.
            key = key || file.is_file() && find.run(|_| {}).await?.success;
        }
        Ok(Known {
            host: login.host().to_owned(),
            known_as,
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Patience;
    use super::*;

    #[tokio::test]
    async fn a_host_key_is_looked_up_where_ssh_looks() {
        let folder = tempfile::tempdir().unwrap();
        let known = folder.path().join("known_hosts");
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        std::fs::write(&known, format!("[192.0.2.1]:2222 {key}\n")).unwrap();
        let config = folder.path().join("ssh_config");
        let text = format!(
            "Host alder\n  HostName 192.0.2.1\n  Port 2222\nHost *\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n",
            known.display()
        );
        std::fs::write(&config, text).unwrap();
        let patience = Patience::seconds(Patience::USUAL);
        let access = Access::new(Some(config), None, patience).unwrap();
        let of = async |node: &str| access.known(&node.parse().unwrap()).await.unwrap();
        let alder = of("alder").await;
        assert_eq!(alder.known_as, "[192.0.2.1]:2222");
        assert!(alder.key);
        let birch = of("birch").await;
        assert_eq!(birch.host, "birch");
        assert!(!birch.key);
    }
}
