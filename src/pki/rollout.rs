//! Makes the programs on the nodes take their files: one server at a time and
//! the leader last, each only while the others could do without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::App;
use super::member::{Health, Member, Work};
use super::node::{Action, State, Unit};
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;

/// How long a program may take to serve a new certificate, and servers to be healthy again.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long servers that are not well may take to become so before one is touched.
const SETTLING: Duration = Duration::from_secs(30);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(300);

/// What a node's programs came to.
#[derive(Debug, Default)]
pub struct Results {
    /// What was done, by node.
    pub done: BTreeMap<Name, Vec<String>>,
    /// What failed, by node.
    pub failed: BTreeMap<Name, Error>,
}

/// What has to be done to a program for it to run with its files.
///
/// `touched` says whether this run changed a file of its, `newer` whether one
/// that is read at the start only is younger than the program, `lacking`
/// whether its ports are not as they should be.
pub fn decide(unit: &Unit, touched: bool, newer: bool, lacking: bool) -> Action {
    match (unit.loaded, unit.active) {
        (false, _) => Action::Nothing,
        (true, false) => Action::Start,
        (true, true) if newer => Action::Restart,
        (true, true) if touched || lacking => Action::Reload,
        (true, true) => Action::Nothing,
    }
}

/// The order in which servers are gone through: those that do not run first,
/// which only helps; the leader last, so that there is one election at most.
pub fn order(servers: &mut [(Name, Action)], leader: Option<&Name>) {
    servers.sort_by_key(|(name, action)| {
        (*action != Action::Start, Some(name) == leader, name.clone())
    });
}

/// Whether servers that are in this state can do without one for a moment.
fn spare(health: &Health, servers: usize, action: Action) -> Result<()> {
    let refuse = |why: String, help: &str| Err(Error::new(Exit::Partial, why).help(help));
    // A program that reads its files again goes on meanwhile.
    let alone = servers == 1 && action == Action::Reload;
    if !health.healthy {
        refuse(
            format!("the servers are {}", health.words()),
            "heal them first, then run again; --unhealthy goes on anyway, where certificates are what ails them",
        )
    } else if health.failure_tolerance < 1 && !alone {
        refuse(
            "the servers have no failure to spare".into(),
            "a cluster of one or two servers stands still while one restarts: if that may be, use --unhealthy",
        )
    } else {
        Ok(())
    }
}

/// One app's rollout over the nodes of a run.
pub struct Rollout<'a> {
    /// What it is about.
    pub work: &'a Work,
    /// The app.
    pub app: App,
    /// Where it reports to.
    pub reporter: &'a Reporter,
    /// Whether servers are gone through even if they are not healthy.
    pub unhealthy: bool,
}

impl Rollout<'_> {
    /// Does what is to be done on `members`. `touched` are the paths that changed on each.
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
        self.servers(&servers, members, results).await;
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
        let wanted = member.wanted(self.work, self.app)?;
        let folder = super::files::place(&self.work.cluster, self.app);
        let unit = state.unit(&folder.unit);
        // What is not the program's own, it reads at its start only: `newer` is about that.
        let own = format!("{}/{}", folder.directory, self.app);
        let touched = touched.get(&member.name);
        let touched = touched.is_some_and(|paths| paths.iter().any(|path| path.starts_with(&own)));
        let lacking = match unit.active {
            true => member.lacking(self.work, self.app).await?.is_some(),
            false => false,
        };
        Ok(decide(&unit, touched, state.newer(&wanted, &unit), lacking))
    }

    /// Servers, one after the other. The first that fails ends it: the others go on as they are.
    async fn servers(
        &self,
        servers: &[(&Member, Action)],
        members: &[&Member],
        results: &mut Results,
    ) {
        let by_name: BTreeMap<&Name, &Member> = servers
            .iter()
            .map(|(member, _)| (&member.name, *member))
            .collect();
        let count = self
            .work
            .cluster
            .nodes
            .values()
            .filter(|node| node.role == crate::cluster::Role::Server)
            .count();
        // No server runs yet: none is disturbed, and none can be healthy before the others run.
        let all = members.iter().filter(|member| member.serves()).count();
        if servers.len() == all && servers.iter().all(|(_, action)| *action == Action::Start) {
            let done = join_all(servers.iter().map(|(member, action)| async move {
                (*member, *action, self.one(member, *action).await)
            }));
            for (member, action, outcome) in done.await {
                self.note(member, action, outcome, results);
            }
            return;
        }
        let mut queue: Vec<(Name, Action)> = servers
            .iter()
            .map(|(member, action)| (member.name.clone(), *action))
            .collect();
        let leader = self.leader(members).await;
        order(&mut queue, leader.as_ref());
        let mut stopped: Option<String> = None;
        for (name, action) in queue {
            let Some(member) = by_name.get(&name) else {
                continue;
            };
            if let Some(why) = &stopped {
                let error = Error::new(
                    Exit::Partial,
                    format!("{} was left as it was: {why}", self.app.title()),
                )
                .on(&name);
                self.fail(member, error, results);
                continue;
            }
            let outcome = self.server(member, action, count).await;
            if let Err(error) = &outcome {
                stopped = Some(format!("{name} came first, and {}", error.what));
            }
            self.note(member, action, outcome, results);
        }
    }

    async fn server(&self, member: &Member, action: Action, count: usize) -> Result<()> {
        if action != Action::Start && !self.unhealthy {
            self.spared(member, action, count).await?;
        }
        self.one(member, action).await?;
        if self.unhealthy {
            return Ok(());
        }
        let began = Instant::now();
        loop {
            let health = member.health(self.work, self.app).await;
            let said = match health {
                Ok(health) if health.healthy => return Ok(()),
                Ok(health) => format!("the servers are {}", health.words()),
                Err(error) => error.what,
            };
            if began.elapsed() > PATIENCE {
                let what = format!(
                    "{} is not well after {}: {said}",
                    self.app.title(),
                    action.doing()
                );
                return Err(Error::new(Exit::Partial, what).on(&member.name));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the servers can do without one: one that has just come back
    /// counts only after a while (`ServerStabilizationTime`, 10 seconds).
    async fn spared(&self, member: &Member, action: Action, count: usize) -> Result<()> {
        let began = Instant::now();
        loop {
            let health = member.health(self.work, self.app).await;
            match health
                .and_then(|health| spare(&health, count, action).map_err(|e| e.on(&member.name)))
            {
                Ok(()) => return Ok(()),
                Err(error) if began.elapsed() > SETTLING => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// One program: done once all of its ports serve what they should.
    async fn one(&self, member: &Member, action: Action) -> Result<()> {
        self.reporter.step(
            &member.name,
            format!("{} {}", action.doing(), self.app.title()),
        );
        member
            .act(self.work, self.app, action)
            .await
            .map_err(|e| e.exit(Exit::Partial))?;
        let began = Instant::now();
        loop {
            let Some(lacking) = member.lacking(self.work, self.app).await? else {
                return Ok(());
            };
            if action == Action::Start {
                let state = member.state(self.work, &[self.app]).await?;
                let unit = &super::files::place(&self.work.cluster, self.app).unit;
                if !state.unit(unit).active {
                    let what = format!("{unit} does not start yet");
                    return Err(Error::new(Exit::Partial, what).on(&member.name).help(
                        "does it wait for other files, such as secrets? then deploy these; otherwise: journalctl -u",
                    ));
                }
            }
            if began.elapsed() > PATIENCE {
                let what = format!("after {}, {lacking}", action.doing());
                return Err(Error::new(Exit::Partial, what)
                    .on(&member.name)
                    .help("look at its log: journalctl -u"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn leader(&self, members: &[&Member]) -> Option<Name> {
        for member in members.iter().filter(|member| member.serves()) {
            if let Ok(health) = member.health(self.work, self.app).await {
                return self
                    .work
                    .cluster
                    .nodes
                    .keys()
                    .find(|name| health.leads(name))
                    .cloned();
            }
        }
        None
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
                    .push(format!("{} {word}", self.app.title()));
            }
            Err(error) => self.fail(member, error, results),
        }
    }

    fn fail(&self, member: &Member, error: Error, results: &mut Results) {
        self.reporter.failure(&error);
        results.failed.entry(member.name.clone()).or_insert(error);
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
    fn the_leader_comes_last_and_what_does_not_run_first() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let mut servers = ["alder", "birch", "cedar", "dogwood"].map(|n| (name(n), Action::Reload));
        servers[3].1 = Action::Start;
        order(&mut servers, Some(&name("alder")));
        assert_eq!(
            servers.map(|(name, _)| name.to_string()),
            ["dogwood", "birch", "cedar", "alder"]
        );
    }

    #[test]
    fn a_server_is_touched_only_while_one_can_be_spared() {
        let health = |healthy, failure_tolerance| Health {
            healthy,
            failure_tolerance,
            servers: vec![],
        };
        assert!(spare(&health(true, 1), 3, Action::Restart).is_ok());
        assert!(spare(&health(false, 1), 3, Action::Reload).is_err());
        assert!(spare(&health(true, 0), 3, Action::Reload).is_err());
        assert!(spare(&health(true, 0), 1, Action::Reload).is_ok());
        assert!(spare(&health(true, 0), 1, Action::Restart).is_err());
    }
}
