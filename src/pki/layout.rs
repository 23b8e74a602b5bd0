//! What the entries of the PKI are called in the store: the original's names,
//! and for what it did not have `consul<year>-agent` (nodes that are not
//! servers) and `consul<year>-node-<node>` (`cluster.pki.perNode`).

use std::fmt;

use crate::cluster::{Cluster, Name, Role};
use crate::error::Result;
use crate::store::EntryName;

use super::{App, Year};

/// A certificate and its key, as the PKI names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairId {
    /// Whose authority signs it.
    pub app: App,
    /// What it is for.
    pub holder: Holder,
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// The authority itself.
    Authority,
    /// The authority that it took the place of, until every node refuses that one.
    Retired,
    /// All servers.
    Servers(Year),
    /// All nodes that are not servers.
    Agents(Year),
    /// One node.
    Node(Year, Name),
    /// Operators, and programs that only ask.
    Operator(Year),
}

impl Holder {
    /// Whether it is one that signs, or did.
    pub fn authority(&self) -> bool {
        matches!(self, Holder::Authority | Holder::Retired)
    }
}

impl PairId {
    /// The pair that an authority of `app` signed and that has this name, if it is one.
    pub fn parse(app: App, stem: &str) -> Option<Self> {
        let rest = stem.strip_prefix(app.name())?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (year, rest) = rest.split_at(digits);
        let year = Year::new(year.parse().ok()?);
        let holder = match rest {
            "" => Holder::Servers(year),
            "-agent" => Holder::Agents(year),
            "-client" => Holder::Operator(year),
            other => Holder::Node(year, other.strip_prefix("-node-")?.parse().ok()?),
        };
        Some(Self { app, holder })
    }

    /// The name without `.crt` or `.key`.
    pub fn stem(&self) -> String {
        let app = self.app;
        match &self.holder {
            Holder::Authority => format!("{app}-ca"),
            Holder::Retired => format!("{app}-ca-retired"),
            Holder::Servers(year) => format!("{app}{year}"),
            Holder::Agents(year) => format!("{app}{year}-agent"),
            Holder::Node(year, node) => format!("{app}{year}-node-{node}"),
            Holder::Operator(year) => format!("{app}{year}-client"),
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

    /// The authority of this app.
    pub fn authority(app: App) -> Self {
        Self {
            app,
            holder: Holder::Authority,
        }
    }

    /// The operators' certificate of a year.
    pub fn operator(app: App, year: Year) -> Self {
        Self {
            app,
            holder: Holder::Operator(year),
        }
    }

    /// The certificate that a node's agent presents.
    pub fn of_node(cluster: &Cluster, app: App, year: Year, node: &Name) -> Self {
        let server = cluster
            .nodes
            .get(node)
            .is_some_and(|node| node.role == Role::Server);
        let holder = match (cluster.pki.per_node, server) {
            (true, _) => Holder::Node(year, node.clone()),
            (false, true) => Holder::Servers(year),
            (false, false) => Holder::Agents(year),
        };
        Self { app, holder }
    }

    /// All that a cluster needs of one app in a year, the authority first.
    pub fn wanted(cluster: &Cluster, app: App, year: Year) -> Vec<Self> {
        let mut wanted = vec![Self::authority(app)];
        for node in cluster.nodes.keys() {
            let pair = Self::of_node(cluster, app, year, node);
            if !wanted.contains(&pair) {
                wanted.push(pair);
            }
        }
        wanted.push(Self::operator(app, year));
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
        PairId::wanted(cluster, App::Consul, Year::new(2026))
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
            for pair in PairId::wanted(&cluster, App::Nomad, Year::new(2026))
                .into_iter()
                .skip(1)
            {
                assert_eq!(PairId::parse(App::Nomad, &pair.stem()), Some(pair));
            }
        }
        for other in [
            "nomad-ca",
            "consul2026",
            "nomad2026-other",
            "nomad-ca-retired",
            "nomad",
        ] {
            assert_eq!(PairId::parse(App::Nomad, other), None, "{other}");
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
