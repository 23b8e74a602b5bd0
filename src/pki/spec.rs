//! The content of each certificate. `doc/pki.md` says what Consul and Nomad look for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cluster::{Cluster, Name, Role};

use super::layout::{Holder, PairId};
use super::{CA_DAYS, LEAF_DAYS};
use crate::cluster::Daemon;

/// The content of a certificate to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its common name, at most 64 characters (RFC 5280, ub-common-name). Nothing checks it.
    pub common_name: String,
    /// The organization: the cluster.
    pub organization: String,
    /// Its permitted use.
    pub usage: Usage,
    /// Its DNS names.
    pub dns: BTreeSet<String>,
    /// Its IP addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// How long it is valid, in days.
    pub days: i64,
}

/// The permitted use of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// To sign other certificates.
    Authority,
    /// To serve and to connect.
    Agent,
    /// To connect only.
    Client,
}

impl Spec {
    /// The certificate `pair` of a cluster.
    pub fn of(cluster: &Cluster, pair: &PairId) -> Self {
        let spec = |usage, dns: Vec<String>| Self {
            common_name: pair.stem().chars().take(64).collect(),
            organization: cluster.name.to_string(),
            usage,
            dns: dns.into_iter().collect(),
            addresses: match usage {
                Usage::Agent => [
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(Ipv6Addr::LOCALHOST),
                ]
                .into(),
                _ => BTreeSet::new(),
            },
            days: match usage {
                Usage::Authority => CA_DAYS,
                _ => LEAF_DAYS,
            },
        };
        let servers = || {
            cluster
                .nodes
                .iter()
                .filter(|(_, node)| node.role == Role::Server)
                .map(|(name, _)| name)
        };
        match &pair.holder {
            Holder::Authority | Holder::Retired => spec(Usage::Authority, vec![]),
            Holder::Servers(_) => spec(Usage::Agent, server_names(cluster, pair.daemon, servers())),
            Holder::Agents(_) => spec(Usage::Agent, agent_names(cluster, pair.daemon)),
            Holder::Node(_, name) => {
                let server = cluster
                    .nodes
                    .get(name)
                    .is_some_and(|node| node.role == Role::Server);
                spec(
                    Usage::Agent,
                    if server {
                        server_names(cluster, pair.daemon, std::iter::once(name))
                    } else {
                        agent_names(cluster, pair.daemon)
                    },
                )
            }
            Holder::Operator(_) => spec(Usage::Client, vec![pair.daemon.dns_name(cluster, "cli")]),
        }
    }
}

/// The names of servers. Only raft servers have a `server.…` name, which `verify_server_hostname`
/// requires.
fn server_names<'a>(
    cluster: &Cluster,
    daemon: Daemon,
    servers: impl Iterator<Item = &'a Name>,
) -> Vec<String> {
    let mut names = vec![daemon.dns_name(cluster, "server"), "localhost".into()];
    if daemon == Daemon::Consul {
        names.push(format!(
            "consul.service.{}.{}",
            cluster.consul.datacenter, cluster.consul.domain
        ));
        names.extend(servers.map(|node| daemon.dns_name(cluster, &format!("{node}.server"))));
    }
    names
}

fn agent_names(cluster: &Cluster, daemon: Daemon) -> Vec<String> {
    vec![daemon.dns_name(cluster, "client"), "localhost".into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;
    use crate::pki::Year;

    const YEAR: Year = Year::new(2026);

    fn dns(daemon: Daemon, holder: Holder) -> Vec<String> {
        Spec::of(&example(), &PairId { daemon, holder })
            .dns
            .into_iter()
            .collect()
    }

    #[test]
    fn a_server_of_consul_has_all_names_by_which_it_is_asked() {
        let names = [
            "alder.server.prod.consul",
            "cedar.server.prod.consul",
            "consul.service.prod.consul",
            "localhost",
            "server.prod.consul",
        ];
        assert_eq!(dns(Daemon::Consul, Holder::Servers(YEAR)), names);
        assert_eq!(
            dns(Daemon::Nomad, Holder::Servers(YEAR)),
            ["localhost", "server.prod.nomad"]
        );
    }

    #[test]
    fn only_a_server_holds_a_servers_name() {
        for daemon in Daemon::ALL {
            let node = |name: &str| Holder::Node(YEAR, name.parse().unwrap());
            for holder in [Holder::Agents(YEAR), Holder::Operator(YEAR), node("birch")] {
                let names = dns(daemon, holder.clone());
                assert!(
                    !names.iter().any(|name| name.contains("server")),
                    "{holder:?}: {names:?}"
                );
            }
            assert!(dns(daemon, node("alder")).contains(&format!("server.prod.{daemon}")));
        }
    }

    #[test]
    fn an_operator_can_only_connect_and_is_no_agent() {
        let spec = Spec::of(&example(), &PairId::operator(Daemon::Nomad, YEAR));
        assert_eq!(spec.usage, Usage::Client);
        assert_eq!(spec.dns, BTreeSet::from(["cli.prod.nomad".into()]));
        assert!(spec.addresses.is_empty());
    }

    #[test]
    fn a_common_name_is_at_most_64_characters() {
        let node = "n".repeat(63).parse().unwrap();
        let spec = Spec::of(
            &example(),
            &PairId {
                daemon: Daemon::Consul,
                holder: Holder::Node(YEAR, node),
            },
        );
        assert_eq!(spec.common_name.len(), 64);
    }
}
