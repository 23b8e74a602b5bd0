//! Whether raft servers can do without one of them, by Consul's and Nomad's autopilot, and how long
//! to wait for that.

use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};

/// The API's path of the servers' health.
pub const HEALTH: &str = "/v1/operator/autopilot/health";
/// The API's path of a server's raft members. `stale` gets the server's own list: without a leader,
/// Nomad would answer 500 after five seconds (`forward` in nomad/rpc.go). For Consul it makes no
/// difference.
pub const PEERS: &str = "/v1/status/peers?stale";
/// How long servers may take to be healthy again.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How long unhealthy servers may take to become healthy before one is changed.
pub const SETTLING: Duration = Duration::from_secs(30);
/// The pause between two looks.
pub const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 300 });
/// How many looks in a row have to find servers healthy after a restart: five seconds of looks. The
/// leader checks every two seconds (autopilot's `ServerHealthInterval`), and its answer may be
/// older than the restart.
pub const STEADY: usize = 17;

/// The health of a daemon's servers (`/v1/operator/autopilot/health`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// Whether all servers are healthy.
    pub healthy: bool,
    /// How many servers may fail before there is no quorum.
    pub failure_tolerance: u32,
    /// The servers. A leader that was just elected names none.
    #[serde(default, deserialize_with = "listed")]
    pub servers: Vec<Server>,
}

/// A list, which is null in Nomad 1.0 where it is empty in newer versions.
fn listed<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Server>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// One of a daemon's servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Server {
    /// Its name; Nomad adds the region.
    pub name: String,
    /// Whether it leads.
    #[serde(default)]
    pub leader: bool,
    /// Whether it is healthy.
    #[serde(default)]
    pub healthy: bool,
    /// Where its raft is reached, with a port.
    #[serde(default)]
    pub address: String,
    /// Whether a connection to that address was refused or not answered.
    #[serde(skip)]
    pub is_deaf: bool,
}

impl Health {
    /// Parses an answer of `title`'s API. Unhealthy servers answer with the status 429 and the same
    /// body.
    pub fn read(title: &str, status: u16, body: &[u8]) -> Result<Self> {
        let unknown = |what: String| Error::new(Exit::Partial, what);
        match status {
            200 | 429 => {
                let mut health: Self = serde_json::from_slice(body).map_err(|e| {
                    unknown(format!(
                        "{title} tells of its health in a way that is not understood: {e}"
                    ))
                })?;
                // Consul's new leader calls servers healthy that it has yet to look at.
                health.healthy &= !health.servers.is_empty();
                Ok(health)
            }
            403 => Err(unknown(format!(
                "{title} does not tell of its health: its ACLs are on"
            ))
            .help(
                "let clients without a token read it, as doc/acls.md says, or go on without looking: --unhealthy",
            )),
            500 if String::from_utf8_lossy(body).contains("No cluster leader") => {
                Err(unknown(format!("{title}’s servers have no leader")).help(
                    "start the servers that are missing; --unhealthy goes on anyway, where what is brought is what starts them",
                ))
            }
            status => Err(unknown(format!("{title} answers {HEALTH} with {status}"))
                .saying(String::from_utf8_lossy(body))),
        }
    }

    /// Notes that no connection can be made to a server's address. Autopilot does not know it yet.
    pub fn is_deaf_at(&mut self, address: &str) {
        for server in self.servers.iter_mut().filter(|s| s.address == address) {
            server.is_deaf = true;
            server.healthy = false;
            self.healthy = false;
        }
    }

    /// The leader's name, without Nomad's region.
    pub fn leader(&self) -> Option<&str> {
        let leader = self.servers.iter().find(|server| server.leader)?;
        leader.name.split('.').next()
    }

    /// Whether `node` leads.
    pub fn leads(&self, node: &Name) -> bool {
        let own =
            |name: &str| name == node.as_str() || name.split('.').next() == Some(node.as_str());
        self.servers
            .iter()
            .any(|server| server.leader && own(&server.name))
    }

    /// The state in words.
    pub fn words(&self) -> String {
        let bad: Vec<String> = self
            .servers
            .iter()
            .filter(|server| !server.healthy)
            .map(|server| {
                let (name, address) = (&server.name, &server.address);
                if server.is_deaf {
                    format!("{name} (no connection to {address})")
                } else {
                    name.clone()
                }
            })
            .collect();
        match (self.healthy, bad.is_empty()) {
            (true, _) => format!("healthy, and {} of them may fail", self.failure_tolerance),
            (false, true) if self.servers.is_empty() => {
                "not healthy: a new leader has yet to look at them".into()
            }
            (false, true) => "not healthy".into(),
            (false, false) => format!("not healthy: {}", bad.join(", ")),
        }
    }

    /// Fails unless the servers can do without one for a moment. `alone`: there is one server,
    /// which may be missing.
    pub fn spare(&self, alone: bool) -> Result<()> {
        let refuse = |why: String, help: &str| Err(Error::new(Exit::Partial, why).help(help));
        if !self.healthy {
            refuse(
                format!("the servers are {}", self.words()),
                "heal them first, then run again; --unhealthy goes on anyway, where what is brought is what heals them",
            )
        } else if self.failure_tolerance < 1 && !alone {
            refuse(
                "the servers have no failure to spare".into(),
                "bring back a server that is missing; where there are two only, they stand still while one restarts: if that may be, use --unhealthy",
            )
        } else {
            Ok(())
        }
    }

    /// Fails unless the servers are healthy.
    pub fn whole(&self) -> Result<()> {
        if self.healthy {
            Ok(())
        } else {
            Err(Error::new(
                Exit::Partial,
                format!("the servers are {}", self.words()),
            ))
        }
    }
}

/// Whether an answer to [`PEERS`] is that of a server that was never part of a quorum: its raft has
/// no members.
pub fn never_formed(status: u16, body: &[u8]) -> bool {
    let peers = serde_json::from_slice::<Option<Vec<serde_json::Value>>>(body);
    status == 200 && peers.is_ok_and(|peers| peers.is_none_or(|peers| peers.is_empty()))
}

/// Repeats `look` until it succeeds, for `patience` at most; then returns the last error.
pub async fn until<T>(patience: Duration, look: impl AsyncFn() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(well) => return Ok(well),
            Err(error) if began.elapsed() > patience => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Repeats `look` until it succeeds that many times in a row, for `patience` at most; then returns
/// the last error.
pub async fn steadily(
    times: usize,
    patience: Duration,
    look: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let began = Instant::now();
    let mut well = 0;
    loop {
        match look().await {
            Ok(()) => well += 1,
            Err(error) if began.elapsed() > patience => return Err(error),
            Err(_) => well = 0,
        }
        if well >= times {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn health(healthy: bool, failure_tolerance: u32) -> Health {
        Health {
            healthy,
            failure_tolerance,
            servers: vec![],
        }
    }

    #[test]
    fn the_leader_is_known_by_its_name_with_and_without_a_region() {
        let told = br#"{"Healthy": false, "FailureTolerance": 0, "Servers": [{"Name": "alder.prod", "Leader": true, "Healthy": true, "Voter": true}, {"Name": "birch.prod", "Healthy": false}]}"#;
        let health = Health::read("Nomad", 429, told).unwrap();
        assert!(
            health.leads(&"alder".parse().unwrap()) && !health.leads(&"birch".parse().unwrap())
        );
        assert_eq!(health.words(), "not healthy: birch.prod");
    }

    #[test]
    fn what_a_leader_tells_that_was_just_elected_is_no_health() {
        for told in [
            &br#"{"Healthy": true, "FailureTolerance": 0, "Servers": []}"#[..],
            br#"{"Healthy": false, "FailureTolerance": 0, "Servers": null}"#,
        ] {
            let health = Health::read("Consul", 200, told).unwrap();
            let error = health.whole().unwrap_err();
            assert!(
                error.what.contains("a new leader has yet to look"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_not_healthy_whatever_autopilot_says() {
        let told = br#"{"Healthy": true, "FailureTolerance": 1, "Servers": [
            {"Name": "alder.prod", "Address": "192.0.2.11:4647", "Leader": true, "Healthy": true},
            {"Name": "birch.prod", "Address": "192.0.2.12:4647", "Healthy": true},
            {"Name": "cedar.prod", "Address": "192.0.2.1:4647", "Healthy": true}]}"#;
        let mut health = Health::read("Nomad", 200, told).unwrap();
        health.is_deaf_at("192.0.2.99:4647");
        assert!(health.spare(false).is_ok());
        health.is_deaf_at("192.0.2.12:4647");
        assert_eq!(
            health.spare(false).unwrap_err().what,
            "the servers are not healthy: birch.prod (no connection to 192.0.2.12:4647)"
        );
    }

    #[test]
    fn a_server_is_touched_only_while_one_can_be_spared() {
        assert!(health(true, 1).spare(false).is_ok());
        assert!(health(false, 1).spare(false).is_err());
        assert!(health(true, 0).spare(false).is_err());
        assert!(health(true, 0).spare(true).is_ok());
        assert!(health(false, 0).spare(true).is_err());
    }

    #[test]
    fn an_answer_that_is_no_health_is_an_error_with_what_to_do() {
        assert!(Health::read("Consul", 500, b"oops").is_err());
        let error = Health::read("Nomad", 500, b"rpc error: No cluster leader").unwrap_err();
        assert_eq!(error.what, "Nomad’s servers have no leader");
        let error = Health::read("Consul", 403, b"").unwrap_err();
        assert!(error.help.unwrap_or_default().contains("--unhealthy"));
    }

    #[test]
    fn a_raft_without_members_was_never_part_of_a_quorum() {
        assert!(never_formed(200, b"[]") && never_formed(200, b"null"));
        assert!(!never_formed(200, br#"["192.0.2.11:8300"]"#));
        assert!(!never_formed(500, b"No cluster leader") && !never_formed(500, b"[]"));
    }

    #[tokio::test]
    async fn servers_that_waver_are_waited_for_until_they_are_steady() {
        let looks = Cell::new(0);
        let wavering = async || {
            looks.set(looks.get() + 1);
            match looks.get() {
                3 | 5 => Err(Error::new(Exit::Partial, "not healthy")),
                _ => Ok(()),
            }
        };
        steadily(3, PATIENCE, wavering).await.unwrap();
        assert_eq!(looks.get(), 8);
    }

    #[tokio::test]
    async fn what_does_not_become_well_ends_with_its_last_error() {
        let looks = Cell::new(0);
        let never = async || {
            looks.set(looks.get() + 1);
            Err::<(), _>(Error::new(Exit::Partial, format!("look {}", looks.get())))
        };
        let error = until(Duration::from_millis(20), never).await.unwrap_err();
        assert_eq!(error.what, format!("look {}", looks.get()));
    }
}
