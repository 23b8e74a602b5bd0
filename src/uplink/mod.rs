//! The way to the APIs of Consul and Nomad: through a node's ssh to the port
//! of a raft server, and from there by mutual TLS, in which the server has to
//! prove that it is one.

pub mod api;
pub mod client;
mod failure;
pub mod identity;
pub mod link;
pub mod patient;
pub mod reach;
pub mod route;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
pub use failure::Failure;
use identity::{Identities, Identity};
pub use link::Channel;
use route::{Route, Way};

/// How long a server may take to finish a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long it may be silent before the node is asked whether it is there: a dead login is noticed by this.
const SILENCE: Duration = Duration::from_secs(3);

/// An API of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Nomad's.
    Nomad,
    /// Consul's.
    Consul,
}

impl Service {
    /// Both.
    pub const ALL: [Service; 2] = [Service::Nomad, Service::Consul];

    /// Its name in file names and certificates.
    pub const fn lower(self) -> &'static str {
        match self {
            Service::Nomad => "nomad",
            Service::Consul => "consul",
        }
    }

    /// The name that a raft server of `cluster` proves, as its certificate has it.
    pub fn server_name(self, cluster: &str) -> String {
        format!("server.{cluster}.{}", self.lower())
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Service::Nomad => "Nomad",
            Service::Consul => "Consul",
        })
    }
}

/// A verified connection to an API.
pub type Secured = TlsStream<Channel>;

/// Makes verified connections for as long as one node can be reached.
pub struct Uplink {
    route: Route,
    identities: Identities,
    /// The way that was good last, by its number.
    good: Mutex<BTreeMap<Service, usize>>,
}

impl Uplink {
    /// Goes by `route`, as the operator of `identities`.
    pub fn new(route: Route, identities: Identities) -> Arc<Self> {
        Arc::new(Self {
            route,
            identities,
            good: Mutex::default(),
        })
    }

    /// The way itself, for what needs no TLS.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The operator's side of the TLS connections.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Connects to a service, by the way that was good last or the next one
    /// that is. A server that cannot prove itself ends the attempt: another
    /// way is not taken then.
    pub async fn connect(&self, service: Service) -> Result<Secured, Failure> {
        let began = Instant::now();
        let ways = self.route.ways(service);
        let ended: Vec<bool> = ways.iter().map(|way| self.route.has_ended(way)).collect();
        let mut failures: Vec<Error> = Vec::new();
        for number in order(self.last_good(service), &ended) {
            let way = &ways[number];
            match self.by(service, way, began).await {
                Ok(secured) => {
                    self.remember(service, number, way);
                    return Ok(secured);
                }
                Err(Failure::Unreachable(e)) => {
                    // A node that cannot be reached has several ways, and one error.
                    if !failures.iter().any(|f| f.to_string() == e.to_string()) {
                        failures.push(e);
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(Failure::unreachable(service, &failures))
    }

    /// Connects by one way. Where its login turns out to have ended before,
    /// as after a laptop's sleep, it is taken again with a new one.
    async fn by(&self, service: Service, way: &Way, began: Instant) -> Result<Secured, Failure> {
        loop {
            let raw = self.route.open(way, began).await;
            let raw = raw.map_err(Failure::Unreachable)?;
            let link = raw.link();
            let secured = self.secure(service, raw, way, began).await;
            match (&secured, link) {
                (Err(Failure::Unreachable(_)), Some(link))
                    if link.is_older_than(began) && link.doubt(began).await => {}
                _ => return secured,
            }
        }
    }

    /// The handshake, again with what is in the store by now if the server is not trusted.
    async fn secure(
        &self,
        service: Service,
        raw: Channel,
        way: &Way,
        began: Instant,
    ) -> Result<Secured, Failure> {
        let identity = self.identities.of(service).await?;
        let first = match handshake(service, raw, &identity, way, began).await {
            Err(untrusted @ Failure::Untrusted(_)) => untrusted,
            done => return done,
        };
        match self.identities.renewed(service, &identity).await {
            Ok(Some(renewed)) => {
                let again = self.route.open(way, began).await;
                let raw = again.map_err(Failure::Unreachable)?;
                handshake(service, raw, &renewed, way, began).await
            }
            Ok(None) => Err(first),
            Err(e) => {
                tracing::warn!("the store could not be read again: {e}");
                Err(first)
            }
        }
    }

    fn last_good(&self, service: Service) -> Option<usize> {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.get(&service).copied()
    }

    fn remember(&self, service: Service, number: usize, way: &Way) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.insert(service, number) != Some(number) {
            tracing::info!(%service, %way, "connected");
        }
    }
}

/// The numbers of the ways in the order in which they are tried: the one that
/// was good last, the others, and then those whose login has `ended`, which
/// may take long to be made again.
fn order(good: Option<usize>, ended: &[bool]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ended.len()).collect();
    order.sort_by_key(|number| (ended[*number], Some(*number) != good));
    order
}

async fn handshake(
    service: Service,
    raw: Channel,
    identity: &Identity,
    way: &Way,
    began: Instant,
) -> Result<Secured, Failure> {
    let link = raw.link();
    let connector = TlsConnector::from(identity.config.clone());
    let handshake = connector.connect(identity.server.clone(), raw);
    // Is it the server that is silent, or the node?
    let gone = async {
        tokio::time::sleep(SILENCE).await;
        match link {
            Some(link) if link.doubt(began).await => {}
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        done = handshake => {
            done.map_err(|e| Failure::of_handshake(service, &identity.server, way, &e))
        }
        () = gone => Err(Failure::silent(service, way, SILENCE)),
        () = tokio::time::sleep(HANDSHAKE) => Err(Failure::silent(service, way, HANDSHAKE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_that_was_good_last_comes_first_unless_its_login_has_ended() {
        assert_eq!(order(None, &[false; 3]), [0, 1, 2]);
        assert_eq!(order(Some(2), &[false; 3]), [2, 0, 1]);
        assert_eq!(order(Some(0), &[true, false, true]), [1, 0, 2]);
        assert_eq!(order(Some(2), &[true, false, true]), [1, 2, 0]);
        // Where there is no other node, nothing is gained by another order.
        assert_eq!(order(Some(1), &[true, true]), [1, 0]);
    }
}
