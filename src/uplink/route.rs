//! The ways to a daemon: through which node, to which server.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::net::TcpStream;

use super::link::{Channel, Links, Remote};
use crate::cluster::Daemon;
use crate::cluster::{Cluster, Name, Role};
use crate::error::{Error, Exit, Result};
use crate::node::ssh::Access;

/// The address of a node's own daemons, on the node.
const LOOPBACK: &str = "127.0.0.1";

/// A way to a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Through a node's ssh.
    Node {
        /// The node to log in to.
        node: Name,
        /// The address to connect to from there.
        remote: Remote,
    },
    /// By a port of this machine, which something else forwards to a server.
    Port(u16),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Node { node, remote } if remote.host == LOOPBACK => {
                write!(f, "{node}, port {}", remote.port)
            }
            Way::Node { node, remote } => {
                write!(f, "{} port {} through {node}", remote.host, remote.port)
            }
            Way::Port(port) => write!(f, "port {port} of this machine"),
        }
    }
}

/// The ways to a cluster.
pub enum Route {
    /// By ssh.
    Ssh {
        /// The ways to each daemon, best first.
        ways: BTreeMap<Daemon, Vec<Way>>,
        /// The nodes for all other connections, best first.
        nodes: Vec<Name>,
        links: Links,
    },
    /// By ports of this machine.
    Ports(BTreeMap<Daemon, Vec<Way>>),
}

impl Route {
    /// By ssh through one of `nodes`.
    pub fn ssh(access: Access, cluster: &Cluster, nodes: Vec<Name>) -> Self {
        let ways = |daemon| (daemon, ways(cluster, &nodes, daemon));
        Route::Ssh {
            ways: Daemon::ALL.into_iter().map(ways).collect(),
            links: Links::new(access, &nodes),
            nodes,
        }
    }

    /// By ports of this machine.
    pub fn ports(ports: impl IntoIterator<Item = (Daemon, u16)>) -> Self {
        let ways = |(daemon, port)| (daemon, vec![Way::Port(port)]);
        Route::Ports(ports.into_iter().map(ways).collect())
    }

    /// The ways to a daemon, best first.
    pub fn ways(&self, daemon: Daemon) -> &[Way] {
        let (Route::Ssh { ways, .. } | Route::Ports(ways)) = self;
        ways.get(&daemon).map_or(&[], Vec::as_slice)
    }

    /// Opens a connection by a way. Does not repeat a login that failed after `began`.
    pub async fn open(&self, way: &Way, began: Instant) -> Result<Channel> {
        match (self, way) {
            (Route::Ssh { links, .. }, Way::Node { node, remote }) => {
                links.open(node, remote, began).await
            }
            (_, Way::Port(port)) => TcpStream::connect((Ipv4Addr::LOCALHOST, *port))
                .await
                .map(Channel::tcp)
                .map_err(|e| no_port(*port, &e)),
            (Route::Ports(_), Way::Node { node, .. }) => {
                Err(Error::unexpected("no ssh is used").on(node))
            }
        }
    }

    /// Whether the login that a way needs has ended, or failed a moment ago.
    pub fn has_ended(&self, way: &Way) -> bool {
        match (self, way) {
            (Route::Ssh { links, .. }, Way::Node { node, .. }) => links.has_ended(node),
            _ => false,
        }
    }

    /// Opens a connection to any address that nodes reach, through the first node that is up.
    pub async fn open_remote(&self, remote: &Remote) -> Result<Channel> {
        let Route::Ssh { nodes, links, .. } = self else {
            return Err(Error::unexpected("no ssh is used"));
        };
        let began = Instant::now();
        let mut last = Error::new(Exit::Probe, "the cluster has no nodes");
        for node in nodes {
            match links.open(node, remote, began).await {
                Ok(channel) => return Ok(channel),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

/// The nodes to go through, best first: raft servers, then the others.
pub fn order(cluster: &Cluster) -> Vec<Name> {
    let of = |role: Role| {
        let nodes = cluster.nodes.iter();
        nodes.filter(move |(_, node)| node.role == role)
    };
    of(Role::Server)
        .chain(of(Role::Client))
        .map(|(name, _)| name.clone())
        .collect()
}

/// The ways to a daemon through `nodes`, best first. Only a raft server can prove that it is one,
/// so other nodes only pass connections on. A server's own loopback comes first; another server,
/// over the nodes' own network, is the last resort.
fn ways(cluster: &Cluster, nodes: &[Name], daemon: Daemon) -> Vec<Way> {
    let port = daemon.port(cluster);
    let way = |node: &Name, host: &str| Way::Node {
        node: node.clone(),
        remote: Remote {
            host: host.to_owned(),
            port,
        },
    };
    let is_server = |name: &Name| {
        cluster
            .nodes
            .get(name)
            .is_some_and(|n| n.role == Role::Server)
    };
    let own = nodes
        .iter()
        .filter(|node| is_server(node))
        .map(|node| way(node, LOOPBACK));
    let through = nodes.iter().flat_map(|node| {
        let servers = cluster.nodes.iter();
        servers
            .filter(move |(name, server)| server.role == Role::Server && *name != node)
            .filter_map(move |(_, server)| Some(way(node, &server.inner_address()?.to_string())))
    });
    own.chain(through).collect()
}

fn no_port(port: u16, error: &io::Error) -> Error {
    Error::new(
        Exit::Probe,
        format!("nothing answers on port {port} of this machine: {error}"),
    )
    .help(format!(
        "open the forward to the node yourself (LocalForward {port} in your ssh_config), or leave out --no-ssh"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    /// Servers alder, in an overlay, and cedar; birch is none.
    fn cluster() -> Cluster {
        let mut cluster = example();
        for (number, (name, node)) in (1..).zip(&mut cluster.nodes) {
            node.address.ipv4 = Some(Ipv4Addr::new(192, 0, 2, number));
            if name.as_str() == "alder" {
                node.wireguard.address = Some(Ipv4Addr::new(10, 88, 0, 1).into());
            }
        }
        cluster
    }

    fn shown(nodes: &[&str]) -> Vec<String> {
        let cluster = cluster();
        let nodes: Vec<Name> = nodes.iter().map(|n| n.parse().unwrap()).collect();
        ways(&cluster, &nodes, Daemon::Consul)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn raft_servers_are_gone_through_first() {
        let order: Vec<String> = order(&cluster()).iter().map(Name::to_string).collect();
        assert_eq!(order, ["alder", "cedar", "birch"]);
    }

    #[test]
    fn each_server_is_asked_for_itself_before_another_is_asked_through_it() {
        assert_eq!(
            shown(&["alder", "cedar"]),
            [
                "alder, port 8501",
                "cedar, port 8501",
                "192.0.2.3 port 8501 through alder",
                "10.88.0.1 port 8501 through cedar",
            ]
        );
    }

    #[test]
    fn a_node_that_is_no_server_is_only_passed_through() {
        assert_eq!(
            shown(&["birch"]),
            [
                "10.88.0.1 port 8501 through birch",
                "192.0.2.3 port 8501 through birch",
            ]
        );
    }
}
