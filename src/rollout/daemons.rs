//! The state of Consul and Nomad on servers under change. It is asked on the nodes, as root and
//! with the nodes' own certificates, so it needs neither the password store nor another way to the
//! nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64ct::{Base64, Encoding};
use futures_util::future::join_all;

use super::deaf;
use super::guard::{Ask, Need, Quorum, Server, State, States};
use super::plan::Part;
use super::quorum::{self, Health};
use crate::cluster::{Cluster, Daemon, Name, Node, Role};
use crate::error::{Error, Exit, Result};
use crate::node::probe::Probed;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Connection, MINUTE, Script, named, tail};
use crate::operation::Operation;

const DAEMONS: Script = Script {
    name: "nixcfg-daemons",
    text: &[deaf::FUNCTION, include_str!("daemons.sh")],
    seconds: MINUTE,
};

/// The arguments of `daemons.sh` for a daemon on a node: its name, unit, port, the name in its
/// certificate, the folder of its certificates.
fn words(cluster: &Cluster, daemon: Daemon, node: &Node) -> [String; 5] {
    let files = daemon.place(cluster);
    named([
        ("daemon", daemon.name()),
        ("unit", &files.unit),
        ("port", &daemon.port(cluster).to_string()),
        ("name", &daemon.agent_name(cluster, node.role)),
        ("folder", files.directory.as_str()),
    ])
}

/// The arguments of `daemons.sh` for several daemons on a node.
pub fn all_words(cluster: &Cluster, daemons: &[Daemon], node: &Node) -> Vec<String> {
    let each = daemons.iter().map(|daemon| words(cluster, *daemon, node));
    each.flat_map(|words| words.into_iter().chain(["--".to_owned()]))
        .collect()
}

/// Each daemon's start (systemd's invocation ID) and state.
pub type Seen = BTreeMap<Daemon, (String, State)>;

/// Asks a node about its daemons, as root.
pub async fn ask(
    cluster: &Cluster,
    name: &Name,
    connection: &Connection,
    how: &Elevation,
) -> Result<Seen> {
    let Some(node) = cluster.nodes.get(name) else {
        return Err(Error::unexpected("is not a node of the cluster").on(name));
    };
    let daemons = cluster.daemons();
    let words = all_words(cluster, &daemons, node);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = connection.ask_root(how, DAEMONS, &words, b"").await?;
    read(&told, &daemons).map_err(|e| e.on(name))
}

fn read(answer: &Answer, daemons: &[Daemon]) -> Result<Seen> {
    let told = answer.text();
    let strange =
        || Error::unexpected("does not tell of its daemons as expected").saying(tail(told));
    let line = |kind: &str, daemon: Daemon| {
        let mut lines = told
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|words| words.first() == Some(&kind) && words.get(1) == Some(&daemon.name()));
        lines.next()
    };
    let asked = |kind: &str, daemon: Daemon| -> Result<Option<(u16, Vec<u8>)>> {
        let Some(words) = line(kind, daemon) else {
            return Ok(None);
        };
        let [_, _, status, body] = words.as_slice() else {
            return Err(strange());
        };
        let body = Base64::decode_vec(body).map_err(|_| strange())?;
        Ok(Some((status.parse().map_err(|_| strange())?, body)))
    };
    let mut seen = Seen::new();
    for daemon in daemons {
        let words = line("daemon", *daemon).ok_or_else(strange)?;
        let [_, _, state, invocation] = words.as_slice() else {
            return Err(strange());
        };
        let state = match (asked("health", *daemon)?, asked("peers", *daemon)?) {
            _ if *state != "active" => State::Down,
            (Some((status, _)), Some((of, peers)))
                if !matches!(status, 200 | 429) && quorum::never_formed(of, &peers) =>
            {
                State::Unformed
            }
            (Some(answer), _) => {
                let deaf = format!("deaf {daemon} ");
                let deaf = told.lines().filter_map(|line| line.strip_prefix(&deaf));
                State::Up(health(*daemon, answer).map(|mut health| {
                    deaf.for_each(|address| health.is_deaf_at(address));
                    health
                }))
            }
            (None, _) => return Err(strange()),
        };
        seen.insert(*daemon, ((*invocation).to_owned(), state));
    }
    Ok(seen)
}

/// Parses any answer and drops the result, for `fuzz.rs`.
#[cfg(any(test, fuzzing))]
pub(crate) fn odd(answer: &Answer) {
    let _ = read(answer, &Daemon::ALL);
}

fn health(daemon: Daemon, (status, body): (u16, Vec<u8>)) -> Result<Health> {
    match status {
        0 => {
            let error = Error::new(Exit::Partial, format!("{daemon} does not answer on it"));
            Err(error.saying(String::from_utf8_lossy(&body)))
        }
        status => Health::read(daemon.title(), status, &body),
    }
}

/// A server's login, and its daemons' starts before the change.
struct Seat {
    how: Elevation,
    connection: Mutex<Connection>,
    starts: BTreeMap<Daemon, String>,
}

/// Asks servers by curl on themselves.
pub struct Curl {
    cluster: Arc<Cluster>,
    access: Access,
    daemons: Vec<Daemon>,
    seats: BTreeMap<Name, Seat>,
}

impl Quorum<Curl> {
    /// No quorum to keep.
    pub fn none(operation: &Operation) -> Self {
        Self {
            ask: Curl {
                cluster: operation.cluster.clone(),
                access: operation.access.clone(),
                daemons: operation.cluster.daemons(),
                seats: BTreeMap::new(),
            },
            servers: BTreeMap::new(),
            waits: false,
            patience: quorum::PATIENCE,
            reporter: operation.reporter.clone(),
        }
    }

    /// Surveys the servers among `nodes`. With `unhealthy` they are changed one by one, whatever
    /// their health.
    pub async fn survey(
        operation: &Operation,
        probed: &BTreeMap<Name, Probed>,
        nodes: &BTreeSet<Name>,
        unhealthy: bool,
    ) -> Result<Self> {
        let mut this = Self::none(operation);
        let servers = operation.cluster.nodes.iter();
        let servers = servers.filter(|(_, node)| node.role == Role::Server);
        let servers: Vec<&Name> = servers.map(|(name, _)| name).collect();
        let alone = servers.len() == 1;
        this.waits = alone || !unhealthy;
        if this.ask.daemons.is_empty() {
            return Ok(this);
        }
        for name in servers {
            let Some(probed) = probed.get(name).filter(|_| nodes.contains(name)) else {
                continue;
            };
            let seat = Seat {
                how: operation.elevation(probed)?,
                connection: Mutex::new(probed.connection.clone()),
                starts: BTreeMap::new(),
            };
            this.ask.seats.insert(name.clone(), seat);
        }
        let looks = join_all(this.ask.seats.keys().map(|name| this.ask.seen(name))).await;
        let need = if alone || unhealthy {
            Need::Nothing
        } else {
            Need::Spare
        };
        let mut bad = Vec::new();
        for ((name, seat), look) in this.ask.seats.iter_mut().zip(looks) {
            let look = match look {
                Ok(look) => look,
                Err(error) => {
                    bad.push(error.on(name));
                    continue;
                }
            };
            let mut before = States::new();
            for (daemon, (start, state)) in look {
                seat.starts.insert(daemon, start);
                before.insert(daemon, state);
            }
            this.servers.insert(name.clone(), Server { need, before });
        }
        let what = "not every server tells of its daemons; nothing was changed";
        operation.reporter.unless_failed(&bad, what)?;
        this.say(alone);
        Ok(this)
    }

    /// Reports if there is no quorum to keep, and why. `alone`: there is no other server.
    fn say(&self, alone: bool) {
        if self.servers.is_empty() {
            return;
        }
        let servers = |daemon: Daemon, like: fn(&State) -> bool| -> Vec<&str> {
            let servers = self.servers.iter();
            let servers =
                servers.filter(|(_, server)| server.before.get(&daemon).is_some_and(like));
            servers.map(|(name, _)| name.as_str()).collect()
        };
        let mut up = Vec::new();
        for daemon in &self.ask.daemons {
            if !servers(*daemon, |state| matches!(state, State::Up(_))).is_empty() {
                up.push(daemon.title());
                continue;
            }
            let unformed = servers(*daemon, |state| matches!(state, State::Unformed));
            let line = nothing_to_keep(*daemon, &unformed);
            self.reporter
                .emit(crate::event::Event::Log { node: None, line });
        }
        if alone && !up.is_empty() {
            let what = format!(
                "is the cluster’s only server: {} may stand still while it is changed",
                up.join(" and ")
            );
            self.reporter.warning(self.servers.keys().next(), what);
        }
    }

    /// A node's part in the quorum.
    pub fn part(&self, name: &Name) -> Part {
        let Some(server) = self.servers.get(name) else {
            return Part::None;
        };
        let up = |server: &Server| {
            let mut states = server.before.values();
            states.any(|state| matches!(state, State::Up(_)))
        };
        let states = server.before.values();
        let leads = states
            .filter(|state| matches!(state, State::Up(Ok(health)) if health.leads(name)))
            .count();
        match (leads, up(server)) {
            (0, true) => Part::Voter,
            (0, false) if self.servers.values().any(up) => Part::Down,
            (0, false) => Part::None,
            (leads, _) => Part::Leader(leads),
        }
    }
}

impl Curl {
    /// Asks a server, over the present connection, or a new one if that is lost.
    async fn seen(&self, name: &Name) -> Result<Seen> {
        let seat = self
            .seats
            .get(name)
            .ok_or_else(|| Error::unexpected("is no server").on(name))?;
        let ask =
            async |connection: &Connection| ask(&self.cluster, name, connection, &seat.how).await;
        let locked = || {
            seat.connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let connection = locked().clone();
        match ask(&connection).await {
            Err(e) => {
                tracing::debug!(node = %name, "{e}");
                let connection = self.access.connect(name).await?;
                let seen = ask(&connection).await?;
                *locked() = connection;
                Ok(seen)
            }
            seen => seen,
        }
    }
}

impl Ask for Curl {
    async fn look(&self, server: &Name) -> Result<States> {
        let seen = self.seen(server).await?.into_iter();
        Ok(seen.map(|(daemon, (_, state))| (daemon, state)).collect())
    }

    async fn restarted(&self, server: &Name) -> Result<bool> {
        let starts = self.seats.get(server).map(|seat| &seat.starts);
        let now = self.seen(server).await?;
        Ok(now.iter().any(|(daemon, (start, _))| {
            starts.and_then(|starts| starts.get(daemon)) != Some(start)
        }))
    }
}

/// Why a daemon has no quorum to lose. `unformed` are the servers on which it runs.
fn nothing_to_keep(daemon: Daemon, unformed: &[&str]) -> String {
    let why = match unformed {
        [] => "it does not run on these servers yet".to_owned(),
        names => format!(
            "it runs on {} and has never had a leader: it waits for the other servers",
            names.join(", ")
        ),
    };
    format!("no quorum of {} to keep: {why}", daemon.title())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(printed: &str, daemons: &[Daemon]) -> Result<Seen> {
        super::read(&crate::node::ssh::answer::tests::read(printed)?, daemons)
    }

    fn told(health: &str, peers: &str) -> String {
        let (health, peers) = (
            health.split_once(' ').unwrap(),
            peers.split_once(' ').unwrap(),
        );
        let encoded = |body: &str| Base64::encode_string(body.as_bytes());
        format!(
            "daemon consul active 1f\nhealth consul {} {}\npeers consul {} {}\ndaemon nomad inactive -\nend\n",
            health.0,
            encoded(health.1),
            peers.0,
            encoded(peers.1)
        )
    }

    fn consul(health: &str, peers: &str) -> State {
        let mut seen = read(&told(health, peers), &Daemon::ALL).unwrap();
        assert!(matches!(seen[&Daemon::Nomad], (_, State::Down)));
        seen.remove(&Daemon::Consul).unwrap().1
    }

    #[test]
    fn a_server_that_was_never_part_of_a_quorum_is_told_from_one_that_lost_it() {
        let servers =
            r#""Servers": [{"Name": "alder", "Address": "192.0.2.11:8300", "Healthy": true}]"#;
        let healthy = format!(r#"200 {{"Healthy": true, "FailureTolerance": 1, {servers}}}"#);
        let (healthy, ill) = (
            healthy.as_str(),
            "429 {\"Healthy\": false, \"FailureTolerance\": 0}",
        );
        let members = "200 [\"192.0.2.11:8300\"]";
        assert!(matches!(consul(healthy, members), State::Up(Ok(health)) if health.healthy));
        let told = told(healthy, members)
            .replace("daemon nomad", "deaf consul 192.0.2.11:8300\ndaemon nomad");
        let seen = read(&told, &Daemon::ALL).unwrap();
        assert!(matches!(&seen[&Daemon::Consul].1, State::Up(Ok(health)) if !health.healthy));
        assert!(matches!(consul(ill, members), State::Up(Ok(health)) if !health.healthy));
        let none = "500 No cluster leader";
        assert!(matches!(consul(none, members), State::Up(Err(_))));
        assert!(matches!(consul(none, "200 []"), State::Unformed));
        assert!(matches!(consul(none, "200 null"), State::Unformed));
        assert!(matches!(
            consul("000 refused", "000 refused"),
            State::Up(Err(_))
        ));
    }

    #[test]
    fn a_daemon_that_does_not_run_is_told_from_one_that_waits_for_others() {
        assert_eq!(
            nothing_to_keep(Daemon::Consul, &[]),
            "no quorum of Consul to keep: it does not run on these servers yet"
        );
        assert_eq!(
            nothing_to_keep(Daemon::Nomad, &["alder", "birch"]),
            "no quorum of Nomad to keep: it runs on alder, birch and has never had a leader: it waits for the other servers"
        );
    }

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        let told = told("200 {}", "200 []");
        assert!(read(told.strip_suffix("end\n").unwrap(), &Daemon::ALL).is_err());
    }

    #[test]
    fn the_script_is_shell_that_parses_and_tells_of_what_does_not_answer() {
        let status = std::process::Command::new("sh")
            .args(["-n", "-c", &DAEMONS.text()])
            .status()
            .unwrap();
        assert!(status.success());
    }
}
