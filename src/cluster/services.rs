//! What operators reach on the cluster.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Name;

/// A TCP port that `tlsproxy` carries to a host of the cluster as it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// The port on the operator's machine.
    pub local_port: u16,
    /// The host, as a node calls it.
    pub host: String,
    /// The port of that host.
    pub port: u16,
}

/// Forwards by name.
pub type Forwards = BTreeMap<Name, Forward>;
