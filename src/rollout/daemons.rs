//! The state of Consul and Nomad on servers under change. It is asked on the nodes, as root and
//! with the nodes' own certificates, so it needs neither the password store nor another way to the
//! nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use base64ct::{Base64, Encoding};
use futures_util::future::join_all;

use super::engine::{Guard, Ready};
use super::plan::Part;
use super::quorum::{self, Health};
use crate::cluster::{Cluster, Daemon, Name, Node, Role};
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::node::probe::Probed;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Connection, MINUTE, Script, tail};
use crate::operation::Operation;

const DAEMONS: Script = Script {
    name: "nixcfg-daemons",
    text: include_str!("daemons.sh"),
    seconds: MINUTE,
};

/// The arguments of `daemons.sh` for a daemon on a node: its name, unit, port, the name in its
/// certificate, the folder of its certificates.
pub fn words(cluster: &Cluster, daemon: Daemon, node: &Node) -> [String; 5] {
    let files = daemon.place(cluster);
    [
        daemon.to_string(),
        files.unit.clone(),
        daemon.port(cluster).to_string(),
        daemon.agent_name(cluster, node.role),
        files.directory.to_string(),
    ]
}

/// The state of a daemon on a node.
#[derive(Debug, Clone)]
pub enum State {
    /// It does not run.
    Down,
    /// It runs, and has never been part of a quorum.
    Unformed,
    /// It runs; with the health of its servers, or why that is not known.
    Up(Result<Health>),
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
    let words: Vec<String> = daemons
        .iter()
        .flat_map(|daemon| words(cluster, *daemon, node))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = connection.ask_root(how, DAEMONS, &words, b"").await?;
    read(&told, &daemons).map_err(|e| e.on(name))
}

fn read(answer: &Answer, daemons: &[Daemon]) -> Result<Seen> {
    let strange = || {
        Error::unexpected("does not tell of its daemons as expected").saying(tail(answer.text()))
    };
    let line = |kind: &str, daemon: Daemon| {
        let mut lines = answer
            .text()
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
            (Some(answer), _) => State::Up(health(*daemon, answer)),
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

/// A server that will be changed.
struct Seat {
    node: Node,
    access: Access,
    how: Elevation,
    connection: Mutex<Connection>,
    before: Seen,
}

/// Guards the quorum of a cluster's servers during changes.
pub struct Quorum {
    cluster: Cluster,
    daemons: Vec<Daemon>,
    seats: BTreeMap<Name, Seat>,
    /// Whether to guard at all.
    minded: bool,
    /// Whether there is no other server.
    alone: bool,
    reporter: Reporter,
}

impl Quorum {
    /// No quorum to keep.
    pub fn none(operation: &Operation) -> Self {
        Self {
            cluster: operation.cluster.clone(),
            daemons: Vec::new(),
            seats: BTreeMap::new(),
            minded: false,
            alone: false,
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
        this.daemons = operation.cluster.daemons();
        let servers = operation.cluster.nodes.iter();
        let servers: Vec<(&Name, &Node)> = servers
            .filter(|(_, node)| node.role == Role::Server)
            .collect();
        this.alone = servers.len() == 1;
        this.minded = !unhealthy && !this.alone;
        if this.daemons.is_empty() {
            return Ok(this);
        }
        for (name, node) in servers {
            let Some(probed) = probed.get(name).filter(|_| nodes.contains(name)) else {
                continue;
            };
            let seat = Seat {
                node: node.clone(),
                access: operation.access.clone(),
                how: operation.elevation(probed)?,
                connection: Mutex::new(probed.connection.clone()),
                before: Seen::new(),
            };
            this.seats.insert(name.clone(), seat);
        }
        let looks = this.seats.keys().map(|name| this.look(name));
        let looks = join_all(looks).await;
        for (seat, look) in this.seats.values_mut().zip(looks) {
            seat.before = look?;
        }
        this.say();
        Ok(this)
    }

    /// Reports if there is no quorum to keep, and why.
    fn say(&self) {
        if self.seats.is_empty() {
            return;
        }
        let servers = |daemon: Daemon, like: fn(&State) -> bool| -> Vec<&str> {
            let is = |seat: &Seat| {
                seat.before
                    .get(&daemon)
                    .is_some_and(|(_, state)| like(state))
            };
            let seats = self.seats.iter().filter(|(_, seat)| is(seat));
            seats.map(|(name, _)| name.as_str()).collect()
        };
        let mut up = Vec::new();
        for daemon in &self.daemons {
            if !servers(*daemon, |state| matches!(state, State::Up(_))).is_empty() {
                up.push(daemon.title());
                continue;
            }
            let unformed = servers(*daemon, |state| matches!(state, State::Unformed));
            let line = nothing_to_keep(*daemon, &unformed);
            self.reporter
                .emit(crate::event::Event::Log { node: None, line });
        }
        if self.alone && !up.is_empty() {
            let what = format!(
                "is the cluster’s only server: {} may stand still while it is changed",
                up.join(" and ")
            );
            self.reporter.warning(self.seats.keys().next(), what);
        }
    }

    /// A node's part in the quorum.
    pub fn part(&self, name: &Name) -> Part {
        let Some(seat) = self.seats.get(name) else {
            return Part::None;
        };
        let up = |seat: &Seat| {
            let mut daemons = seat.before.values();
            daemons.any(|(_, state)| matches!(state, State::Up(_)))
        };
        let leads = seat
            .before
            .values()
            .filter(|(_, state)| matches!(state, State::Up(Ok(health)) if health.leads(name)))
            .count();
        match (leads, up(seat)) {
            (0, true) => Part::Voter,
            (0, false) if self.seats.values().any(up) => Part::Down,
            (0, false) => Part::None,
            (leads, _) => Part::Leader(leads),
        }
    }

    /// Asks a server, over the present connection, or a new one if that is lost.
    async fn look(&self, name: &Name) -> Result<Seen> {
        let seat = self
            .seats
            .get(name)
            .ok_or_else(|| Error::unexpected("is no server").on(name))?;
        let words = self
            .daemons
            .iter()
            .flat_map(|daemon| words(&self.cluster, *daemon, &seat.node));
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let connection = seat
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let told = match connection.ask_root(&seat.how, DAEMONS, &words, b"").await {
            Ok(told) => told,
            Err(e) => {
                tracing::debug!(node = %name, "{e}");
                let connection = seat.access.connect(name).await?;
                let told = connection.ask_root(&seat.how, DAEMONS, &words, b"").await?;
                *seat
                    .connection
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = connection;
                told
            }
        };
        read(&told, &self.daemons).map_err(|e| e.on(name))
    }

    /// Whether the other servers can do without this one.
    async fn spared(&self, name: &Name) -> Result<Ready> {
        let mut ready = Ready::Go;
        for (daemon, (_, state)) in self.look(name).await? {
            if let State::Up(health) = state {
                let health = health.map_err(|e| e.on(name))?;
                health
                    .spare(false)
                    .map_err(|e| of(daemon, e).on(name).exit(Exit::Partial))?;
                if health.leads(name) {
                    ready = Ready::Leads;
                }
            }
        }
        Ok(ready)
    }

    /// Fails unless a server takes part as before.
    async fn takes_part(&self, name: &Name) -> Result<()> {
        let before = self.seats.get(name).map(|seat| &seat.before);
        for (daemon, (_, state)) in self.look(name).await? {
            let was = before.and_then(|before| before.get(&daemon));
            match (state, was) {
                (State::Up(health), _) => health
                    .and_then(|health| health.whole())
                    .map_err(|e| of(daemon, e).on(name))?,
                (State::Down, Some((_, State::Up(_)))) => {
                    let what = format!("{} does not run any more", daemon.title());
                    return Err(Error::new(Exit::Partial, what).on(name));
                }
                (State::Unformed, Some((_, State::Up(_)))) => {
                    let what = format!("{} knows of no other server any more", daemon.title());
                    return Err(Error::new(Exit::Partial, what).on(name));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a daemon was started since the survey.
    async fn restarted(&self, name: &Name) -> Result<bool> {
        let before = self.seats.get(name).map(|seat| &seat.before);
        let now = self.look(name).await?;
        Ok(now.iter().any(|(daemon, (invocation, _))| {
            let was = before.and_then(|before| before.get(daemon));
            was.is_none_or(|(was, _)| was != invocation)
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

fn of(daemon: Daemon, mut error: Error) -> Error {
    error.what = error
        .what
        .replacen("the servers", &format!("{}’s servers", daemon.title()), 1);
    error
}

impl Guard for Quorum {
    async fn before(&self, node: &Name) -> Result<Ready> {
        if !self.minded {
            return Ok(Ready::Go);
        }
        quorum::until(quorum::SETTLING, async || self.spared(node).await).await
    }

    async fn after(&self, node: &Name) -> Result<()> {
        if !self.minded && !self.alone {
            return Ok(());
        }
        self.reporter
            .step(node, "waiting for the servers to be well");
        let look = async || self.restarted(node).await;
        let restarted = quorum::until(quorum::PATIENCE, look).await?;
        let times = if restarted { quorum::STEADY } else { 1 };
        let look = async || self.takes_part(node).await;
        quorum::steadily(times, quorum::PATIENCE, look).await
    }
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
        let healthy = "200 {\"Healthy\": true, \"FailureTolerance\": 1}";
        let ill = "429 {\"Healthy\": false, \"FailureTolerance\": 0}";
        let members = "200 [\"192.0.2.11:8300\"]";
        assert!(matches!(consul(healthy, members), State::Up(Ok(health)) if health.healthy));
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
            .args(["-n", "-c", DAEMONS.text])
            .status()
            .unwrap();
        assert!(status.success());
    }
}
