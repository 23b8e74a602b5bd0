//! Makes the daemons on the nodes use their files: one server at a time, the leader last, each only
//! while the others can do without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::member::{Member, Work};
use super::node::{Action, State, Unit};
use crate::cluster::Daemon;
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::rollout::deaf;
use crate::rollout::guard::{self, Ask, Need, Quorum, Server, States};
use crate::rollout::plan::{Part, Plan};
use crate::rollout::quorum::Health;
use crate::rollout::{OnFailure, Outcome, Rollout};

/// How long a daemon may take before the tool checks whether it runs at all.
const SOON: Duration = Duration::from_secs(1);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// The results of a rollout.
#[derive(Debug, Default)]
pub struct Results {
    /// What was done, by node.
    pub done: BTreeMap<Name, Vec<String>>,
    /// What failed, by node.
    pub failed: BTreeMap<Name, Error>,
    /// Nodes that lack units for their files, until their systems are deployed.
    pub early: BTreeSet<Name>,
    /// Why the rollout stopped, after a server did not come back.
    pub stopped: Option<String>,
}

/// How careful to be with servers.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Care {
    /// Go through servers even if they are not healthy or have no failure to spare
    #[arg(long)]
    pub unhealthy: bool,

    /// How long a program may take to serve its certificate, and servers to be healthy again
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..))]
    pub patience: u16,
}

impl Care {
    fn patience(self) -> Duration {
        Duration::from_secs(self.patience.into())
    }
}

/// What makes a daemon use its files.
///
/// `touched`: this run changed one of its files. `newer`: a file that it reads at its start only is
/// younger than its process. `lacking`: its ports are not as they should be.
pub fn decide(unit: &Unit, touched: bool, newer: bool, lacking: bool) -> Action {
    match (unit.loaded, unit.active) {
        (false, _) => Action::Nothing,
        (true, false) => Action::Start,
        (true, true) if newer => Action::Restart,
        (true, true) if touched || lacking => Action::Reload,
        (true, true) => Action::Nothing,
    }
}

/// The state of a daemon's servers, in words. `looked` has for each server why it does not use its
/// files; none if it does.
fn standing(daemon: Daemon, looked: &[(&Name, Option<String>)], health: Option<&str>) -> String {
    let good = looked.iter().filter(|(_, why)| why.is_none());
    let good: Vec<&str> = good.map(|(name, _)| name.as_str()).collect();
    let bad = looked
        .iter()
        .filter_map(|(name, why)| Some(format!("{name} ({})", why.as_deref()?)));
    let bad: Vec<String> = bad.collect();
    let list = |names: Vec<&str>| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    format!(
        "{} was stopped half-way. Servers with the store’s certificates: {}; without: {}. {}",
        daemon.title(),
        list(good),
        list(bad.iter().map(String::as_str).collect()),
        match health {
            Some(words) => format!("The servers are {words}"),
            None => "None of the servers tells how they are".to_owned(),
        }
    )
}

/// One daemon's rollout over the nodes of a run.
pub struct AppRollout<'a> {
    pub work: &'a Work,
    pub daemon: Daemon,
    pub reporter: &'a Reporter,
    pub care: Care,
}

impl AppRollout<'_> {
    /// Carries out the rollout on `members`. `touched` are the paths that changed on each. After a
    /// server that does not come back, everything else stays as it is.
    pub async fn run(
        &self,
        members: &[&Member],
        states: &BTreeMap<Name, State>,
        touched: &BTreeMap<Name, BTreeSet<String>>,
        results: &mut Results,
    ) -> Result<()> {
        let planned = join_all(members.iter().map(|member| async move {
            let action = self.plan(member, states, touched).await;
            (*member, action)
        }))
        .await;
        let mut servers = Vec::new();
        let mut others = Vec::new();
        for (member, action) in planned {
            match action {
                Ok(Action::Nothing) => {}
                Ok(action) if member.serves() => servers.push((member, action)),
                Ok(action) => others.push((member, action)),
                Err(error) => self.fail(member, error, results),
            }
        }
        if let Some(why) = &results.stopped.clone() {
            for (member, _) in servers.iter().chain(&others) {
                self.leave(member, why, results);
            }
            return Ok(());
        }
        self.servers(&servers, members, states, results).await;
        if let Some(why) = &results.stopped.clone() {
            for (member, _) in &others {
                self.leave(member, why, results);
            }
            self.tell(members).await;
            return Ok(());
        }
        let done = join_all(others.iter().map(|(member, action)| async move {
            (*member, *action, self.one(member, *action).await)
        }));
        for (member, action, outcome) in done.await {
            self.note(member, action, outcome, results);
        }
        Ok(())
    }

    async fn plan(
        &self,
        member: &Member,
        states: &BTreeMap<Name, State>,
        touched: &BTreeMap<Name, BTreeSet<String>>,
    ) -> Result<Action> {
        let Some(state) = states.get(&member.name) else {
            return Ok(Action::Nothing);
        };
        let wanted = member.wanted(self.work, self.daemon)?;
        let folder = self.daemon.place(&self.work.cluster);
        let unit = state.unit(&folder.unit);
        // The daemon reads files of other daemons at its start only; `newer` covers those.
        let own = format!("{}/{}", folder.directory, self.daemon);
        let touched = touched.get(&member.name);
        let touched = touched.is_some_and(|paths| paths.iter().any(|path| path.starts_with(&own)));
        let lacking = if unit.active {
            member.lacking(self.work, self.daemon).await?.is_some()
        } else {
            false
        };
        Ok(decide(&unit, touched, state.newer(&wanted, &unit), lacking))
    }

    /// Rolls out to servers, one after the other. After the first failure the others stay as they
    /// are.
    async fn servers(
        &self,
        servers: &[(&Member, Action)],
        members: &[&Member],
        states: &BTreeMap<Name, State>,
        results: &mut Results,
    ) {
        let count = self
            .work
            .cluster
            .nodes
            .values()
            .filter(|node| node.role == crate::cluster::Role::Server)
            .count();
        // None can become healthy before the others run, so none waits for another.
        if !self.formed(members, states).await {
            let done = join_all(servers.iter().map(|(member, action)| async move {
                (*member, *action, self.one(member, *action).await)
            }));
            for (member, action, outcome) in done.await {
                self.note(member, action, outcome, results);
            }
            return;
        }
        let leader = self.leader(members).await;
        let queue = servers.iter().map(|(member, action)| {
            let part = match action {
                Action::Start => Part::Down,
                _ if leader.as_ref() == Some(&member.name) => Part::Leader(1),
                _ => Part::Voter,
            };
            (part, member.name.clone())
        });
        let plan = Plan::servers(queue.collect());
        let by_name: BTreeMap<&Name, (&Member, Action)> = servers
            .iter()
            .map(|(member, action)| (&member.name, (*member, *action)))
            .collect();
        let guarded = servers.iter().map(|(member, action)| {
            let need = match action {
                _ if self.care.unhealthy => Need::Nothing,
                Action::Start => Need::Nothing,
                // A daemon keeps running while it rereads its files.
                Action::Reload if count == 1 => Need::Health,
                _ => Need::Spare,
            };
            let before = States::new();
            (member.name.clone(), Server { need, before })
        });
        let quorum = Quorum {
            ask: Tunnelled {
                rollout: self,
                members: &by_name,
            },
            servers: guarded.collect(),
            waits: !self.care.unhealthy,
            patience: self.care.patience(),
            reporter: self.reporter.clone(),
        };
        let apply = async |name: &Name| match by_name.get(name) {
            Some((member, action)) => match self.one(member, *action).await {
                Ok(()) => Outcome {
                    ok: true,
                    changed: true,
                    words: action.doing().to_owned(),
                    data: serde_json::Value::Null,
                    error: None,
                },
                Err(error) => Outcome::failed(error),
            },
            None => Outcome::failed(Error::unexpected("is no server").on(name)),
        };
        let turns = Rollout {
            plan: &plan,
            on_failure: OnFailure::Stop,
            tell: &|_, _| {},
        };
        // Installed files stay: nothing goes back.
        let back = async |name: &Name| Outcome::failed(Error::unexpected("stays").on(name));
        let mut left = Vec::new();
        for (name, outcome) in turns.run(&quorum, apply, back).await {
            let Some((member, action)) = by_name.get(&name) else {
                continue;
            };
            let result = match (outcome.ok, outcome.error) {
                (true, _) => Ok(()),
                (false, Some(error)) => Err(error),
                (false, None) => {
                    left.push(*member);
                    continue;
                }
            };
            if let Err(error) = &result {
                results.stopped = Some(format!("{name} came first, and {}", error.what));
            }
            self.note(member, *action, result, results);
        }
        if let Some(why) = &results.stopped.clone() {
            for member in left {
                self.leave(member, why, results);
            }
        }
    }

    /// Whether there is a quorum to lose: a running server was once part of one. A running server
    /// that does not answer counts.
    async fn formed(&self, members: &[&Member], states: &BTreeMap<Name, State>) -> bool {
        let unit = &self.daemon.place(&self.work.cluster).unit;
        let running = members.iter().filter(|member| {
            let state = states.get(&member.name);
            member.serves() && state.is_some_and(|state| state.unit(unit).active)
        });
        let told = running.map(|member| member.formed(self.work, self.daemon));
        let told = join_all(told).await;
        told.into_iter().any(|formed| formed.unwrap_or(true))
    }

    /// Notes that a daemon was not touched.
    fn leave(&self, member: &Member, why: &str, results: &mut Results) {
        let what = format!("{} was left as it was: {why}", self.daemon.title());
        self.fail(
            member,
            Error::new(Exit::Partial, what).on(&member.name),
            results,
        );
    }

    /// Reports the state of the servers after a stop.
    async fn tell(&self, members: &[&Member]) {
        let servers = members.iter().filter(|member| member.serves());
        let looked = join_all(servers.map(|member| async move {
            let behind = member.behind(self.work, self.daemon, &[self.daemon]).await;
            let why = behind.unwrap_or_else(|error| Some(error.what));
            (&member.name, why)
        }))
        .await;
        let health = self.health(members).await.map(|health| health.words());
        let text = standing(self.daemon, &looked, health.as_deref());
        self.reporter.warning(None, text);
    }

    /// Acts on one daemon, and waits until all of its ports serve what they should.
    async fn one(&self, member: &Member, action: Action) -> Result<()> {
        self.reporter.step(
            &member.name,
            format!("{} {}", action.doing(), self.daemon.title()),
        );
        member
            .act(self.work, self.daemon, action)
            .await
            .map_err(|e| e.exit(Exit::Partial))?;
        let began = Instant::now();
        loop {
            let Some(lacking) = member.lacking(self.work, self.daemon).await? else {
                return Ok(());
            };
            let unit = &self.daemon.place(&self.work.cluster).unit;
            // Asking takes sudo, and usually a moment is enough.
            let gone = began.elapsed() > SOON
                && !member
                    .state(self.work, &[self.daemon])
                    .await?
                    .unit(unit)
                    .active;
            if !gone && began.elapsed() <= self.care.patience() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let what = match (gone, action) {
                (true, Action::Start) => format!("{unit} does not start yet"),
                (true, _) => format!("{unit} does not run after {}", action.doing()),
                (false, _) => format!("after {}, {lacking}", action.doing()),
            };
            let help = match action {
                Action::Start => {
                    "does it wait for other files, such as secrets? then deploy these".to_owned()
                }
                _ => format!("look at its log there: journalctl -u {unit}"),
            };
            let log = member.log(self.work, self.daemon).await.unwrap_or_default();
            return Err(Error::new(Exit::Partial, what)
                .on(&member.name)
                .saying(log)
                .help(help));
        }
    }

    /// The servers' health, from the first one that answers.
    async fn health(&self, members: &[&Member]) -> Option<Health> {
        for member in members.iter().filter(|member| member.serves()) {
            if let Ok(health) = member.health(self.work, self.daemon).await {
                return Some(health);
            }
        }
        None
    }

    async fn leader(&self, members: &[&Member]) -> Option<Name> {
        let health = self.health(members).await?;
        let mut names = self.work.cluster.nodes.keys();
        names.find(|name| health.leads(name)).cloned()
    }

    fn note(&self, member: &Member, action: Action, outcome: Result<()>, results: &mut Results) {
        match outcome {
            Ok(()) => {
                let word = match action {
                    Action::Restart => "restarted",
                    Action::Start => "started",
                    _ => "reloaded",
                };
                results
                    .done
                    .entry(member.name.clone())
                    .or_default()
                    .push(format!("{} {word}", self.daemon.title()));
            }
            Err(error) => self.fail(member, error, results),
        }
    }

    fn fail(&self, member: &Member, error: Error, results: &mut Results) {
        self.reporter.failure(&error);
        results.failed.entry(member.name.clone()).or_insert(error);
    }
}

/// Asks servers about one daemon through tunnels.
struct Tunnelled<'a> {
    rollout: &'a AppRollout<'a>,
    members: &'a BTreeMap<&'a Name, (&'a Member, Action)>,
}

impl Tunnelled<'_> {
    fn get(&self, server: &Name) -> Result<(&Member, Action)> {
        let found = self.members.get(server).copied();
        found.ok_or_else(|| Error::unexpected("is no server").on(server))
    }
}

impl Ask for Tunnelled<'_> {
    async fn look(&self, server: &Name) -> Result<States> {
        let AppRollout { work, daemon, .. } = self.rollout;
        let member = self.get(server)?.0;
        let mut health = member.health(work, *daemon).await;
        if let Ok(health) = &mut health {
            deaf::note(member.connection(), health).await?;
        }
        Ok([(*daemon, guard::State::Up(health))].into())
    }

    async fn restarted(&self, server: &Name) -> Result<bool> {
        Ok(self.get(server)?.1 != Action::Reload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: Unit = Unit {
        loaded: true,
        active: true,
        started: 1.0,
    };

    #[test]
    fn a_program_that_has_what_it_should_is_left_alone() {
        assert_eq!(decide(&RUNNING, false, false, false), Action::Nothing);
    }

    #[test]
    fn a_program_is_restarted_only_for_what_it_reads_at_its_start() {
        assert_eq!(decide(&RUNNING, true, false, false), Action::Reload);
        assert_eq!(decide(&RUNNING, false, false, true), Action::Reload);
        assert_eq!(decide(&RUNNING, true, true, true), Action::Restart);
        let stopped = Unit {
            active: false,
            ..RUNNING
        };
        assert_eq!(decide(&stopped, false, false, false), Action::Start);
        let absent = Unit {
            loaded: false,
            ..stopped
        };
        assert_eq!(decide(&absent, true, true, true), Action::Nothing);
    }

    #[test]
    fn a_stop_tells_which_servers_have_what_and_how_they_are() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let (alder, birch) = (name("alder"), name("birch"));
        let looked = [(&alder, None), (&birch, Some("does not answer".into()))];
        let text = standing(
            Daemon::Nomad,
            &looked,
            Some("healthy, and 1 of them may fail"),
        );
        assert_eq!(
            text,
            "Nomad was stopped half-way. Servers with the store’s certificates: alder; without: birch (does not answer). The servers are healthy, and 1 of them may fail"
        );
        let text = standing(Daemon::Consul, &looked[1..], None);
        assert!(text.contains(": none;") && text.ends_with("tells how they are"));
    }
}
