//! The names of the PKI's entries in the store: those of the earlier scripts, and besides
//! `consul<year>-agent` (nodes that are not servers) and `consul<year>-node-<node>`
//! (`cluster.pki.perNode`).

use std::fmt;

use crate::cluster::{Cluster, Name, Role};
use crate::error::Result;
use crate::store::EntryName;

use super::Year;

use crate::cluster::Daemon;

/// The identity of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairId {
    /// The daemon whose authority signs it.
    pub daemon: Daemon,
    /// Its holder.
    pub holder: Holder,
}

/// The holder of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// The authority itself.
    Authority,
    /// The authority that it replaced, until every node refuses that one.
    Retired,
    /// All servers.
    Servers(Year),
    /// All nodes that are not servers.
    Agents(Year),
    /// One node.
    Node(Year, Name),
    /// Operators, and programs that only connect.
    Operator(Year),
}

impl Holder {
    /// Whether it signs or has signed.
    pub fn authority(&self) -> bool {
        matches!(self, Holder::Authority | Holder::Retired)
    }
}

impl PairId {
    /// Parses the name of a pair that an authority of `daemon` signed.
    pub fn parse(daemon: Daemon, stem: &str) -> Option<Self> {
        let rest = stem.strip_prefix(daemon.name())?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (year, rest) = rest.split_at(digits);
        let year = Year::new(year.parse().ok()?);
        let holder = match rest {
            "" => Holder::Servers(year),
            "-agent" => Holder::Agents(year),
            "-client" => Holder::Operator(year),
            other => Holder::Node(year, other.strip_prefix("-node-")?.parse().ok()?),
        };
        Some(Self { daemon, holder })
    }

    /// The name without `.crt` or `.key`.
    pub fn stem(&self) -> String {
        let daemon = self.daemon;
        match &self.holder {
            Holder::Authority => format!("{daemon}-ca"),
            Holder::Retired => format!("{daemon}-ca-retired"),
            Holder::Servers(year) => format!("{daemon}{year}"),
            Holder::Agents(year) => format!("{daemon}{year}-agent"),
            Holder::Node(year, node) => format!("{daemon}{year}-node-{node}"),
            Holder::Operator(year) => format!("{daemon}{year}-client"),
        }
    }

    /// The entry of the certificate.
    pub fn certificate(&self) -> Result<EntryName> {
        format!("{}.crt", self.stem()).parse()
    }

    /// The entry of the key.
    pub fn key(&self) -> Result<EntryName> {
        format!("{}.key", self.stem()).parse()
    }

    /// The authority of this daemon.
    pub fn authority(daemon: Daemon) -> Self {
        Self {
            daemon,
            holder: Holder::Authority,
        }
    }

    /// The operators' certificate of a year.
    pub fn operator(daemon: Daemon, year: Year) -> Self {
        Self {
            daemon,
            holder: Holder::Operator(year),
        }
    }

    /// The certificate that a node's agent presents.
    pub fn of_node(cluster: &Cluster, daemon: Daemon, year: Year, node: &Name) -> Self {
        let server = cluster
            .nodes
            .get(node)
            .is_some_and(|node| node.role == Role::Server);
        let holder = match (cluster.pki.per_node, server) {
            (true, _) => Holder::Node(year, node.clone()),
            (false, true) => Holder::Servers(year),
            (false, false) => Holder::Agents(year),
        };
        Self { daemon, holder }
    }

    /// All pairs that a cluster needs of one daemon in a year, the authority first.
    pub fn wanted(cluster: &Cluster, daemon: Daemon, year: Year) -> Vec<Self> {
        let mut wanted = vec![Self::authority(daemon)];
        for node in cluster.nodes.keys() {
            let pair = Self::of_node(cluster, daemon, year, node);
            if !wanted.contains(&pair) {
                wanted.push(pair);
            }
        }
        wanted.push(Self::operator(daemon, year));
        wanted
    }
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.stem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    fn stems(cluster: &Cluster) -> Vec<String> {
        PairId::wanted(cluster, Daemon::Consul, Year::new(2026))
            .iter()
            .map(PairId::stem)
            .collect()
    }

    #[test]
    fn names_are_the_originals_with_one_for_nodes_that_are_not_servers() {
        let names = [
            "consul-ca",
            "consul2026",
            "consul2026-agent",
            "consul2026-client",
        ];
        assert_eq!(stems(&example()), names);
    }

    #[test]
    fn a_name_reads_back_as_the_pair_it_is_of() {
        let mut cluster = example();
        for per_node in [false, true] {
            cluster.pki.per_node = per_node;
            for pair in PairId::wanted(&cluster, Daemon::Nomad, Year::new(2026))
                .into_iter()
                .skip(1)
            {
                assert_eq!(PairId::parse(Daemon::Nomad, &pair.stem()), Some(pair));
            }
        }
        for other in [
            "nomad-ca",
            "consul2026",
            "nomad2026-other",
            "nomad-ca-retired",
            "nomad",
        ] {
            assert_eq!(PairId::parse(Daemon::Nomad, other), None, "{other}");
        }
    }

    #[test]
    fn each_node_has_its_own_where_that_is_wanted() {
        let mut cluster = example();
        cluster.pki.per_node = true;
        assert_eq!(
            stems(&cluster),
            [
                "consul-ca",
                "consul2026-node-alder",
                "consul2026-node-birch",
                "consul2026-node-cedar",
                "consul2026-client"
            ]
        );
    }
}
