//! The way to the APIs of Consul and Nomad: by ssh through a node to the port of a raft server,
//! then by mutual TLS. The server has to prove that it is one.

pub mod api;
pub mod client;
mod failure;
pub mod identity;
pub mod link;
pub mod patient;
pub mod reach;
pub mod route;
pub mod verifier;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::Daemon;
use crate::error::Error;
pub use failure::Failure;
use identity::{Identities, Identity};
pub use link::Channel;
use route::{Route, Way};

/// How long a server may take to finish a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a server may be silent before the node is asked for an answer, which reveals a dead
/// login.
const SILENCE: Duration = Duration::from_secs(3);

/// A verified connection to an API.
pub type Secured = TlsStream<Channel>;

/// Makes verified connections as long as one node can be reached.
pub struct Uplink {
    route: Route,
    identities: Identities,
    /// The number of the last good way.
    good: Mutex<BTreeMap<Daemon, usize>>,
}

impl Uplink {
    /// Connects by `route`, with `identities`.
    pub fn new(route: Route, identities: Identities) -> Arc<Self> {
        Arc::new(Self {
            route,
            identities,
            good: Mutex::default(),
        })
    }

    /// The route, for connections without TLS.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The operator's side of the TLS connections.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Connects to a daemon, by the last good way or the next one. A server that cannot prove
    /// itself ends the attempt: no other way is tried.
    pub async fn connect(&self, daemon: Daemon) -> Result<Secured, Failure> {
        let began = Instant::now();
        let ways = self.route.ways(daemon);
        let ended: Vec<bool> = ways.iter().map(|way| self.route.has_ended(way)).collect();
        let mut failures: Vec<Error> = Vec::new();
        for number in order(self.last_good(daemon), &ended) {
            let way = &ways[number];
            match self.by(daemon, way, began).await {
                Ok(secured) => {
                    self.remember(daemon, number, way);
                    return Ok(secured);
                }
                Err(Failure::Unreachable(e)) => {
                    // An unreachable node has several ways but one error.
                    if !failures.iter().any(|f| f.to_string() == e.to_string()) {
                        failures.push(e);
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(Failure::unreachable(daemon, &failures))
    }

    /// Connects by one way. If its login has ended before, as after a laptop's sleep, this tries
    /// again with a new login.
    async fn by(&self, daemon: Daemon, way: &Way, began: Instant) -> Result<Secured, Failure> {
        loop {
            let raw = self.route.open(way, began).await;
            let raw = raw.map_err(Failure::Unreachable)?;
            let link = raw.link();
            let secured = self.secure(daemon, raw, way, began).await;
            match (&secured, link) {
                (Err(Failure::Unreachable(_)), Some(link))
                    if link.is_older_than(began) && link.doubt(began).await => {}
                _ => return secured,
            }
        }
    }

    /// Makes the handshake. If the server is not trusted, rereads the store and tries again.
    async fn secure(
        &self,
        daemon: Daemon,
        raw: Channel,
        way: &Way,
        began: Instant,
    ) -> Result<Secured, Failure> {
        let identity = self.identities.of(daemon).await?;
        let first = match handshake(daemon, raw, None, &identity, way, began).await {
            Err(untrusted @ Failure::Untrusted(_)) => untrusted,
            done => return done,
        };
        match self.identities.renewed(daemon, &identity).await {
            Ok(Some(renewed)) => {
                let again = self.route.open(way, began).await;
                let raw = again.map_err(Failure::Unreachable)?;
                handshake(daemon, raw, None, &renewed, way, began).await
            }
            Ok(None) => Err(first),
            Err(e) => {
                tracing::warn!("the store could not be read again: {e}");
                Err(first)
            }
        }
    }

    fn last_good(&self, daemon: Daemon) -> Option<usize> {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.get(&daemon).copied()
    }

    fn remember(&self, daemon: Daemon, number: usize, way: &Way) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.insert(daemon, number) != Some(number) {
            tracing::info!(%daemon, %way, "connected");
        }
    }
}

/// The numbers of the ways in the order of attempts: the last good one, the others, then those
/// whose login has `ended`, as a new login may take long.
fn order(good: Option<usize>, ended: &[bool]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ended.len()).collect();
    order.sort_by_key(|number| (ended[*number], Some(*number) != good));
    order
}

/// Makes a TLS connection; sends `opening` first, if the port needs it.
pub async fn handshake(
    daemon: Daemon,
    mut raw: Channel,
    opening: Option<u8>,
    identity: &Identity,
    way: &Way,
    began: Instant,
) -> Result<Secured, Failure> {
    let link = raw.link();
    let handshake = async {
        if let Some(byte) = opening {
            raw.write_all(&[byte]).await?;
        }
        let connector = TlsConnector::from(identity.config.clone());
        connector.connect(identity.server.clone(), raw).await
    };
    // Finds out whether the server is silent or the node is gone.
    let gone = async {
        tokio::time::sleep(SILENCE).await;
        match link {
            Some(link) if link.doubt(began).await => {}
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        done = handshake => {
            done.map_err(|e| Failure::of_handshake(daemon, &identity.server, way, &e))
        }
        () = gone => Err(Failure::silent(daemon, way, SILENCE)),
        () = tokio::time::sleep(HANDSHAKE) => Err(Failure::silent(daemon, way, HANDSHAKE)),
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
