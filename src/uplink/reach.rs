//! The options for reaching the cluster's APIs.

use std::str::FromStr;
use std::sync::Arc;

use super::Uplink;
use super::identity::{Identities, OfYear};
use super::route::{Route, order};
use crate::cluster::Daemon;
use crate::cluster::{Name, name};
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::store;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct Reach {
    /// Go through this node only [default: raft servers first, then the others]
    #[arg(long, value_name = "NODE")]
    via: Option<Name>,

    /// Use forwards that something else keeps: TLS ports of Nomad and Consul on this machine
    #[arg(
        long,
        value_name = "NOMAD:CONSUL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "14646:8501",
        conflicts_with = "via"
    )]
    no_ssh: Option<Ports>,
}

/// Ports of this machine that lead to the APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    nomad: u16,
    consul: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let port = |text: &str| text.parse().ok().filter(|port: &u16| *port != 0);
        text.split_once(':')
            .and_then(|(nomad, consul)| {
                Some(Self {
                    nomad: port(nomad)?,
                    consul: port(consul)?,
                })
            })
            .ok_or_else(|| "two ports are wanted, such as 14646:8501".to_owned())
    }
}

impl Reach {
    /// Whether nodes are logged in to.
    pub fn by_ssh(&self) -> bool {
        self.no_ssh.is_none()
    }

    /// The uplink of the operation's cluster. Makes no connection yet.
    pub fn uplink(&self, operation: &Operation) -> Result<Arc<Uplink>> {
        let cluster = &operation.cluster;
        let route = match self.no_ssh {
            Some(ports) => {
                Route::ports([(Daemon::Nomad, ports.nomad), (Daemon::Consul, ports.consul)])
            }
            None => {
                let nodes = match &self.via {
                    Some(node) if cluster.nodes.contains_key(node) => vec![node.clone()],
                    Some(node) => return Err(unknown(operation, node)),
                    None => order(cluster),
                };
                Route::ssh(operation.access.clone(), cluster, nodes)
            }
        };
        let store = store::open(cluster)?;
        let source = Arc::new(OfYear::of(store));
        Ok(Uplink::new(route, Identities::new(cluster, source)))
    }
}

/// The daemons that the cluster runs. Fails if there is none.
pub fn daemons(operation: &Operation) -> Result<Vec<Daemon>> {
    let daemons = operation.cluster.daemons();
    if daemons.is_empty() {
        return Err(Error::usage(format!(
            "the cluster ‘{}’ runs neither Nomad nor Consul",
            operation.cluster.name
        )));
    }
    Ok(daemons)
}

fn unknown(operation: &Operation, node: &Name) -> Error {
    let cluster = &operation.cluster;
    let names: Vec<&str> = cluster.nodes.keys().map(Name::as_str).collect();
    Error::usage(format!(
        "the cluster ‘{}’ has no node ‘{node}’",
        cluster.name
    ))
    .help(name::suggestion(node.as_str(), &names, "nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        reach: Reach,
        word: String,
    }

    #[test]
    fn the_ports_of_the_original_forwards_are_the_default() {
        let line = Line::try_parse_from(["x", "--no-ssh", "prod"]).unwrap();
        assert_eq!(line.word, "prod");
        assert_eq!(
            line.reach.no_ssh,
            Some(Ports {
                nomad: 14646,
                consul: 8501
            })
        );
    }

    #[test]
    fn other_ports_may_be_given_and_nonsense_may_not() {
        let line = Line::try_parse_from(["x", "--no-ssh=1:2", "prod"]).unwrap();
        assert_eq!(
            line.reach.no_ssh,
            Some(Ports {
                nomad: 1,
                consul: 2
            })
        );
        for wrong in ["--no-ssh=1", "--no-ssh=0:1", "--no-ssh=a:b"] {
            assert!(Line::try_parse_from(["x", wrong, "prod"]).is_err());
        }
        assert!(Line::try_parse_from(["x", "--no-ssh", "--via", "alder", "prod"]).is_err());
    }
}
