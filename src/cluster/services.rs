//! Forwards, apps and scheduler settings of a cluster.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Name;

/// A TCP port that `tlsproxy` forwards unchanged to a host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// The port on the operator's machine, on loopback.
    pub local_port: u16,
    /// The host, by a name that nodes resolve.
    pub host: String,
    /// The port of that host.
    pub port: u16,
}

/// Forwards by name.
pub type Forwards = BTreeMap<Name, Forward>;

/// The settings of Nomad's scheduler. Defaults are those of the earlier scripts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduler {
    /// `binpack` or `spread`.
    pub algorithm: String,
    /// Whether tasks may use more memory than they reserve.
    pub memory_oversubscription: bool,
    /// Which kinds of jobs may push out those of a lower priority.
    pub preemption: Preemption,
}

/// Which kinds of jobs may push out those of a lower priority.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)] // They are called as the kinds are.
pub struct Preemption {
    pub batch: bool,
    pub service: bool,
    pub sysbatch: bool,
    pub system: bool,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            algorithm: "binpack".into(),
            memory_oversubscription: true,
            preemption: Preemption {
                batch: true,
                service: true,
                sysbatch: true,
                system: true,
            },
        }
    }
}

/// The apps of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Apps {
    /// Those that are deployed before all others, in this order.
    pub order: Vec<Name>,
}

impl Default for Apps {
    fn default() -> Self {
        let order = ["core", "frontend", "telemetry", "garage", "directory"];
        Self {
            order: order
                .into_iter()
                .filter_map(|app| app.parse().ok())
                .collect(),
        }
    }
}
