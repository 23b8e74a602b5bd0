//! Consul and Nomad: the daemons that nodes run and operators reach.

use std::fmt;

use serde::Serialize;

use super::schema::PkiFiles;
use super::{Cluster, Role};

/// A daemon of the cluster, with an authority of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Daemon {
    Consul,
    Nomad,
}

impl Daemon {
    pub const ALL: [Self; 2] = [Self::Consul, Self::Nomad];

    /// Its name in file names, entries of the store and options: `consul`, `nomad`.
    pub const fn name(self) -> &'static str {
        match self {
            Daemon::Consul => "consul",
            Daemon::Nomad => "nomad",
        }
    }

    /// Its name for people: `Consul`, `Nomad`.
    pub const fn title(self) -> &'static str {
        match self {
            Daemon::Consul => "Consul",
            Daemon::Nomad => "Nomad",
        }
    }

    /// Whether the cluster's nodes run it.
    pub fn is_enabled(self, cluster: &Cluster) -> bool {
        match self {
            Daemon::Consul => cluster.consul.enable,
            Daemon::Nomad => cluster.nomad.enable,
        }
    }

    /// The port of its API on every node, with TLS.
    pub fn port(self, cluster: &Cluster) -> u16 {
        match self {
            Daemon::Consul => cluster.consul.https_port,
            Daemon::Nomad => cluster.nomad.http_port,
        }
    }

    /// Its files on the nodes, and its unit.
    pub fn place(self, cluster: &Cluster) -> &PkiFiles {
        match self {
            Daemon::Consul => &cluster.pki.consul,
            Daemon::Nomad => &cluster.pki.nomad,
        }
    }

    /// A name in its certificates: `<prefix>.<datacenter>.<domain>` for Consul,
    /// `<prefix>.<region>.nomad` for Nomad.
    pub fn dns_name(self, cluster: &Cluster, prefix: &str) -> String {
        match self {
            Daemon::Consul => format!(
                "{prefix}.{}.{}",
                cluster.consul.datacenter, cluster.consul.domain
            ),
            Daemon::Nomad => format!("{prefix}.{}.nomad", cluster.nomad.region),
        }
    }

    /// The name that the certificate of an agent on a node must hold.
    pub fn agent_name(self, cluster: &Cluster, role: Role) -> String {
        match role {
            Role::Server => self.dns_name(cluster, "server"),
            Role::Client => self.dns_name(cluster, "client"),
        }
    }
}

/// Prints [`Daemon::name`].
impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
