//! `clusters.<name>` as the flake prints it: schema 1, documented in `doc/cluster-schema.md`.
//! Unknown fields are ignored, so that the schema can grow.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde_json::Value;

use super::ownership::{Account, Mode};
use super::path::NodePath;
use super::services::{Apps, Forwards, Scheduler};
use super::{Daemon, Name};
use crate::error::{Error, Result};

/// The version of the schema that this tool reads.
pub const SCHEMA: u64 = 1;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Its name, which is that of its folder below `cluster/`.
    pub name: Name,
    /// The prefix of its entries in the password store, before `cluster/<name>`.
    pub secrets_prefix: String,
    /// Nodes by name.
    pub nodes: BTreeMap<Name, Node>,
    /// Whether users and passwords made by hand on a node stay. If not, every
    /// activation locks an administrator whose password file is missing.
    pub mutable_users: bool,
    /// The administrators of at least one node, by user name.
    #[serde(default)]
    pub admins: BTreeMap<Name, Admin>,
    /// Secrets that are made once and go to nodes.
    #[serde(default)]
    pub secrets: BTreeMap<Name, SecretSpec>,
    /// The certificates of Consul and Nomad.
    pub pki: Pki,
    pub consul: Consul,
    pub nomad: Nomad,
    #[serde(default)]
    pub apps: Apps,
    /// Ports that `tlsproxy` forwards beside the two APIs.
    #[serde(default)]
    pub forwards: Forwards,
}

/// A machine of the cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The name of its site.
    pub site: Name,
    /// Its platform, such as `x86_64-linux`.
    pub system: String,
    /// Whether it votes in the raft of Consul and Nomad.
    pub role: Role,
    /// Free labels, for selecting.
    #[serde(default)]
    pub tags: Vec<String>,
    /// As [`Cluster::mutable_users`], for this node; none in data of older flakes.
    #[serde(default)]
    pub mutable_users: Option<bool>,
    /// The administrators of this node.
    #[serde(default)]
    pub admins: Vec<Name>,
    /// Its attribute in `nixosConfigurations`.
    pub configuration: String,
    /// How other nodes reach it.
    #[serde(default)]
    pub address: Address,
    /// User and port of its SSH server, from its own configuration.
    #[serde(default)]
    pub ssh: Ssh,
    /// Checks that must pass on it after a switch, by name.
    #[serde(default)]
    pub checks: BTreeMap<String, Check>,
    /// The overlay, where there is one.
    #[serde(default)]
    pub wireguard: Overlay,
}

impl Node {
    /// The address by which other nodes reach its Consul and Nomad: in the overlay where there is one.
    pub fn inner_address(&self) -> Option<IpAddr> {
        let Address { ipv4, ipv6 } = self.address;
        let outer = ipv4.map(IpAddr::V4).or(ipv6.map(IpAddr::V6));
        self.wireguard.address.or(outer)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Address {
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

/// User and port of a node's SSH server, from its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Ssh {
    /// The user, where the configuration names one.
    #[serde(default)]
    pub user: Option<Name>,
    /// The port; none means 22.
    #[serde(default)]
    pub port: Option<u16>,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A program and its arguments, run as root on the node.
    Command(Vec<String>),
    /// A URL, requested on the node.
    Http(String),
    /// `host:port`, tried from the node.
    Tcp(String),
}

/// A check of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CheckData")]
pub struct Check {
    /// What it checks.
    pub probe: Probe,
    /// The number of attempts before it fails.
    pub attempts: u32,
    /// The pause between two attempts, in seconds.
    pub interval: u32,
    /// How long one attempt may take, in seconds.
    pub timeout: u32,
}

/// A check in the schema's form: one of `command`, `http` and `tcp` is set.
#[derive(Deserialize)]
struct CheckData {
    command: Option<Vec<String>>,
    http: Option<String>,
    tcp: Option<String>,
    attempts: u32,
    interval: u32,
    timeout: u32,
}

impl TryFrom<CheckData> for Check {
    type Error = String;

    /// Refuses a check of an unknown kind, which would otherwise pass unchecked.
    fn try_from(data: CheckData) -> Result<Self, String> {
        let probe = match (data.command, data.http, data.tcp) {
            (Some(command), None, None) => Probe::Command(command),
            (None, Some(url), None) => Probe::Http(url),
            (None, None, Some(endpoint)) => Probe::Tcp(endpoint),
            (None, None, None) => {
                return Err("a check has neither command, http nor tcp: it may be of a kind that this nixcfg does not know".into());
            }
            _ => return Err("a check has more than one of command, http and tcp".into()),
        };
        Ok(Self {
            probe,
            attempts: data.attempts,
            interval: data.interval,
            timeout: data.timeout,
        })
    }
}

/// A node in the overlay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Overlay {
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Its public key, if the cluster's files have it.
    #[serde(default, rename = "publicKey")]
    pub public_key: Option<String>,
}

/// The certificates of Consul and Nomad.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pki {
    /// Whether each node has certificates of its own.
    pub per_node: bool,
    pub consul: PkiFiles,
    pub nomad: PkiFiles,
}

/// Where a daemon's certificates are on the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PkiFiles {
    pub directory: NodePath,
    /// The owner of the files in it.
    pub owner: Account,
    pub group: Account,
    /// Whether the daemon reads them as a member of that group, not as their owner.
    #[serde(default)]
    pub group_reads: bool,
    /// The systemd unit that uses them.
    pub unit: String,
}

/// Consul on the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consul {
    /// Whether the nodes run it.
    pub enable: bool,
    pub datacenter: String,
    /// The domain of the names in its certificates.
    pub domain: String,
    /// The port of its API on every node, by TLS.
    pub https_port: u16,
}

/// Nomad on the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nomad {
    /// Whether the nodes run it.
    pub enable: bool,
    pub region: String,
    /// The port of its API on every node, by TLS.
    pub http_port: u16,
    /// The wanted settings of its scheduler.
    #[serde(default)]
    pub scheduler: Scheduler,
}

/// A node's role in Consul and Nomad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Votes in the raft.
    Server,
    /// Runs jobs only.
    Client,
}

/// An administrator of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// Public SSH keys.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The file on the nodes that holds the hash of the password.
    pub password_file: NodePath,
}

/// A secret that is made once and goes to nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretSpec {
    pub generator: Generator,
    /// How many characters (`random`) or bytes (`hex`, `base64`).
    pub length: usize,
    /// Program and arguments, for the generator `command`.
    pub command: Vec<String>,
    /// The file on the nodes.
    pub path: NodePath,
    /// The file's owner.
    pub owner: Account,
    /// The file's group.
    pub group: Account,
    /// The file's permissions.
    pub mode: Mode,
    /// Whether each node has a value of its own.
    pub per_node: bool,
    /// The nodes that get it.
    pub nodes: Vec<Name>,
    /// Units to reload after a change.
    pub reload_units: Vec<String>,
    /// Units to restart after a change.
    pub restart_units: Vec<String>,
}

/// How a secret is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// Letters and digits.
    Random,
    /// Random bytes in hexadecimal digits.
    Hex,
    /// Random bytes in base64.
    Base64,
    /// A random UUID.
    Uuid,
    /// A private key of WireGuard.
    Wireguard,
    /// An Ed25519 private key of OpenSSH.
    SshHost,
    /// The output of a command.
    Command,
}

impl Cluster {
    /// The daemons that the nodes run.
    pub fn daemons(&self) -> Vec<Daemon> {
        let daemons = Daemon::ALL.into_iter();
        daemons.filter(|daemon| daemon.is_enabled(self)).collect()
    }

    /// Whether activations of a node leave the passwords of its accounts alone.
    pub fn leaves_passwords(&self, node: &Name) -> bool {
        let own = self.nodes.get(node).and_then(|node| node.mutable_users);
        own.unwrap_or(self.mutable_users)
    }

    /// Parses the output of `nix eval --json`. Errors name the field, or the schema if that is
    /// unknown.
    pub fn parse(data: &Value) -> Result<Self> {
        match data.get("schema").and_then(Value::as_u64) {
            Some(SCHEMA) => {}
            Some(other) => {
                return Err(Error::usage(format!(
                    "the cluster's data has schema {other}; this nixcfg reads schema {SCHEMA}"
                ))
                .help("use the nixcfg of the same flake: nix run .#…"));
            }
            None => {
                return Err(Error::usage(
                    "the cluster's data names no schema: is it made by lib.mkClusters?",
                ));
            }
        }
        let cluster: Self = serde_json::from_value(data.clone()).map_err(|e| {
            Error::usage(format!(
                "the cluster's data does not follow schema {SCHEMA}: {e}"
            ))
        })?;
        if cluster.nodes.is_empty() {
            return Err(Error::usage(format!(
                "the cluster ‘{}’ has no nodes",
                cluster.name
            )));
        }
        Ok(cluster)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn example() -> Cluster {
        let node = |site: &str, role: &str, tags: &[&str]| json!({"site": site, "system": "x86_64-linux", "role": role, "tags": tags, "admins": ["alice"], "configuration": "prod-x", "address": {"ipv4": null}});
        let files = |app: &str, owner: &str| json!({"directory": format!("/var/lib/{app}/pki"), "owner": owner, "group": owner, "unit": format!("{app}.service")});
        Cluster::parse(&json!({
            "schema": 1, "name": "prod", "domain": "prod.example.org", "secretsPrefix": "example", "mutableUsers": true, "new": {"field": 1},
            "nodes": {"alder": node("lyon", "server", &["ssd"]), "birch": node("lyon", "client", &[]), "cedar": node("brest", "server", &["ssd"])},
            "admins": {"alice": {"keys": [], "passwordFile": "/var/lib/nixcfg/passwords/alice"}},
            "pki": {"perNode": false, "consul": files("consul", "consul"), "nomad": files("nomad", "root")},
            "consul": {"enable": true, "datacenter": "prod", "domain": "consul", "httpsPort": 8501},
            "nomad": {"enable": true, "region": "prod", "httpPort": 4646},
        }))
        .unwrap()
    }

    #[test]
    fn unknown_fields_are_left_alone() {
        assert_eq!(example().nodes.len(), 3);
    }

    #[test]
    fn a_newer_schema_is_refused_with_what_to_do() {
        let error = Cluster::parse(&json!({"schema": 2})).unwrap_err();
        assert!(error.what.contains("schema 2"));
        assert!(error.help.is_some());
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = Cluster::parse(&json!({"schema": 1, "name": "prod", "nodes": {}})).unwrap_err();
        assert!(error.what.contains("secretsPrefix"), "{error}");
    }

    #[test]
    fn a_node_name_that_ssh_would_read_as_an_option_is_refused() {
        let data = json!({"schema": 1, "name": "prod", "secretsPrefix": "x", "nodes": {"-oProxyCommand=reboot": {}}});
        assert!(Cluster::parse(&data).is_err());
    }
}
