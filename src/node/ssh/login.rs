//! Logins by `ssh_config`, and by a node's own configuration.

use std::net::IpAddr;

use crate::cluster::Node;

/// A way to log in, as `ssh -G` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    host: String,
    port: u16,
    user: String,
    alias: Option<String>,
    known_hosts: Vec<String>,
}

impl Login {
    /// Parses the output of `ssh -G`.
    pub fn read(text: &str) -> Self {
        let value = |key: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            lines
                .clone()
                .find(|(k, _)| *k == key)
                .map(|(_, value)| value.to_owned())
        };
        Self {
            host: value("hostname").unwrap_or_default(),
            port: value("port")
                .and_then(|port| port.parse().ok())
                .unwrap_or(22),
            user: value("user").unwrap_or_default(),
            alias: value("hostkeyalias").filter(|alias| alias != "none"),
            known_hosts: ["userknownhostsfile", "globalknownhostsfile"]
                .iter()
                .filter_map(|key| value(key))
                .flat_map(|files| {
                    let files = files.split_whitespace().map(str::to_owned);
                    files.collect::<Vec<_>>()
                })
                .collect(),
        }
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// The machine that is logged in to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The files that host keys are looked up in.
    pub fn known_hosts(&self) -> &[String] {
        &self.known_hosts
    }

    /// The name that the machine's host key is looked up by.
    pub fn known_as(&self) -> String {
        match (&self.alias, self.port) {
            (Some(alias), _) => alias.clone(),
            (None, 22) => self.host.clone(),
            (None, port) => format!("[{}]:{port}", self.host),
        }
    }

    /// The other logins that the node's configuration implies. With `fixed` the operator named the
    /// user, which stays. An address that the node had before (`known`) is not tried.
    pub fn others(&self, fixed: bool, told: &Node, known: &[IpAddr]) -> Vec<Self> {
        let user = match &told.ssh.user {
            Some(user) if !fixed => user.to_string(),
            _ => self.user.clone(),
        };
        let port = told.ssh.port.unwrap_or(22);
        let addresses = [
            told.address.ipv4.map(IpAddr::from),
            told.address.ipv6.map(IpAddr::from),
        ];
        let new = addresses
            .into_iter()
            .flatten()
            .filter(|ip| !known.contains(ip));
        let mut others: Vec<Self> = Vec::new();
        for host in [self.host.clone()]
            .into_iter()
            .chain(new.map(|ip| ip.to_string()))
        {
            let other = Self {
                host,
                port,
                user: user.clone(),
                alias: self.alias.clone(),
                known_hosts: self.known_hosts.clone(),
            };
            if other != *self && !others.contains(&other) {
                others.push(other);
            }
        }
        others
    }

    /// The settings of this login for `ssh -o`; everything else is from `ssh_config`. The host key
    /// is known under the name in `before`.
    pub fn options(&self, before: &Self) -> Vec<String> {
        let alias = before.known_as();
        vec![
            format!("HostName={}", self.host),
            format!("Port={}", self.port),
            format!("User={}", self.user),
            format!("HostKeyAlias={alias}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;
    use crate::cluster::{Address, Ssh};

    const RESOLVED: &str = "host alder\nuser alice\nhostname 10.0.0.1\nport 22\n";

    fn node(port: Option<u16>, user: Option<&str>, ipv4: Option<&str>) -> Node {
        let mut nodes = example().nodes;
        let mut node = nodes.pop_first().unwrap().1;
        node.ssh = Ssh {
            user: user.map(|user| user.parse().unwrap()),
            port,
        };
        node.address = Address {
            ipv4: ipv4.map(|ip| ip.parse().unwrap()),
            ipv6: None,
        };
        node
    }

    #[test]
    fn a_node_that_is_as_ssh_config_says_has_no_other_login() {
        assert!(
            Login::read(RESOLVED)
                .others(false, &node(None, None, None), &[])
                .is_empty()
        );
        assert!(
            Login::read(RESOLVED)
                .others(false, &node(Some(22), Some("alice"), Some("10.0.0.1")), &[])
                .is_empty()
        );
    }

    #[test]
    fn where_host_keys_are_looked_up_is_read() {
        let login = Login::read(
            "hostname 10.0.0.1\nport 2222\nuserknownhostsfile /a /b\nglobalknownhostsfile /c\n",
        );
        assert_eq!(login.known_as(), "[10.0.0.1]:2222");
        assert_eq!(login.known_hosts(), ["/a", "/b", "/c"]);
    }

    #[test]
    fn a_changed_port_user_and_address_are_followed() {
        let others = Login::read(RESOLVED).others(
            false,
            &node(Some(2222), Some("deploy"), Some("10.0.0.9")),
            &[],
        );
        let seen: Vec<_> = others
            .iter()
            .map(|o| (o.host.as_str(), o.port, o.user.as_str()))
            .collect();
        assert_eq!(
            seen,
            [("10.0.0.1", 2222, "deploy"), ("10.0.0.9", 2222, "deploy")]
        );
        let others = Login::read(RESOLVED).others(true, &node(None, Some("deploy"), None), &[]);
        assert!(others.is_empty(), "the user that the operator named stays");
        let had = ["10.0.0.9".parse().unwrap()];
        let others = Login::read(RESOLVED).others(false, &node(None, None, Some("10.0.0.9")), &had);
        assert!(
            others.is_empty(),
            "an address that the node had before is no news"
        );
    }

    #[test]
    fn the_host_key_is_looked_up_under_the_name_it_is_known_by() {
        let before = Login::read(RESOLVED);
        let other = &before.others(false, &node(Some(2222), None, None), &[])[0];
        let options = other.options(&before);
        assert_eq!(
            options,
            [
                "HostName=10.0.0.1",
                "Port=2222",
                "User=alice",
                "HostKeyAlias=10.0.0.1"
            ]
        );
    }
}
