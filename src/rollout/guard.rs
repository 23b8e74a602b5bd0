//! Guards the quorum of Consul's and Nomad's servers during changes, however they
//! are asked.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use super::engine::{Guard, Ready};
use super::quorum::{self, Health};
use crate::cluster::{Daemon, Name};
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;

/// The state of a daemon on a server.
#[derive(Debug, Clone)]
pub enum State {
    /// It does not run.
    Down,
    /// It runs, and has never been part of a quorum.
    Unformed,
    /// It runs; with the health of its servers, or why that is not known.
    Up(Result<Health>),
}

/// The states of a server's daemons.
pub type States = BTreeMap<Daemon, State>;

/// Asks servers about their daemons: by curl on them, or through a tunnel.
pub trait Ask {
    /// The present states of a server's daemons.
    fn look(&self, server: &Name) -> impl Future<Output = Result<States>>;
    /// Whether the change of a server restarted a daemon.
    fn restarted(&self, server: &Name) -> impl Future<Output = Result<bool>>;
}

/// What a server's change needs of the other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it may begin at once.
    Nothing,
    /// Their health: the server keeps running during its change.
    Health,
    /// Their health, and a failure to spare.
    Spare,
}

/// A server that will be changed.
pub struct Server {
    /// What its change needs of the others.
    pub need: Need,
    /// The states of its daemons before, as far as known.
    pub before: States,
}

/// Guards the quorum of a cluster's servers during changes.
pub struct Quorum<A> {
    pub ask: A,
    /// The servers that will be changed.
    pub servers: BTreeMap<Name, Server>,
    /// Whether to wait for a changed server.
    pub waits: bool,
    /// How long to wait.
    pub patience: Duration,
    /// Where it reports.
    pub reporter: Reporter,
}

impl<A: Ask> Quorum<A> {
    /// Whether the change of a server may begin.
    async fn spared(&self, name: &Name, need: Need) -> Result<Ready> {
        let mut ready = Ready::Go;
        for (daemon, state) in self.ask.look(name).await? {
            if let State::Up(health) = state {
                let health = health.map_err(|e| e.on(name))?;
                health
                    .spare(need == Need::Health)
                    .map_err(|e| of(daemon, e).on(name))?;
                if health.leads(name) {
                    ready = Ready::Leads;
                }
            }
        }
        Ok(ready)
    }

    /// Fails unless a server takes part as before.
    async fn takes_part(&self, name: &Name) -> Result<()> {
        let before = self.servers.get(name).map(|server| &server.before);
        for (daemon, state) in self.ask.look(name).await? {
            let was = before.and_then(|before| before.get(&daemon));
            let lost = match (state, was) {
                (State::Up(health), _) => {
                    health
                        .and_then(|health| health.whole())
                        .map_err(|e| of(daemon, e).on(name))?;
                    continue;
                }
                (State::Down, Some(State::Up(_))) => "does not run any more",
                (State::Unformed, Some(State::Up(_))) => "knows of no other server any more",
                _ => continue,
            };
            let what = format!("{} {lost}", daemon.title());
            return Err(Error::new(Exit::Partial, what).on(name));
        }
        Ok(())
    }
}

fn of(daemon: Daemon, mut error: Error) -> Error {
    error.what = error
        .what
        .replacen("the servers", &format!("{}’s servers", daemon.title()), 1);
    error
}

impl<A: Ask> Guard for Quorum<A> {
    async fn before(&self, node: &Name) -> Result<Ready> {
        match self.servers.get(node).map(|server| server.need) {
            None | Some(Need::Nothing) => Ok(Ready::Go),
            Some(need) => {
                let look = async || self.spared(node, need).await;
                quorum::until(quorum::SETTLING.min(self.patience), look).await
            }
        }
    }

    async fn after(&self, node: &Name) -> Result<()> {
        if !self.waits {
            return Ok(());
        }
        self.reporter
            .step(node, "waiting for the servers to be well");
        let look = async || self.ask.restarted(node).await;
        let restarted = quorum::until(self.patience, look).await?;
        let times = if restarted { quorum::STEADY } else { 1 };
        let look = async || self.takes_part(node).await;
        quorum::steadily(times, self.patience, look).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::*;
    use crate::event::{Event, Renderer};

    struct Silent;

    impl Renderer for Silent {
        fn show(&self, _: &Event) {}
    }

    /// A Nomad whose looks are counted.
    struct Made {
        /// What one look finds, by its number.
        state: fn(usize) -> State,
        restarted: bool,
        looks: Cell<usize>,
    }

    impl Ask for Made {
        async fn look(&self, _: &Name) -> Result<States> {
            self.looks.set(self.looks.get() + 1);
            Ok([(Daemon::Nomad, (self.state)(self.looks.get()))].into())
        }

        async fn restarted(&self, _: &Name) -> Result<bool> {
            Ok(self.restarted)
        }
    }

    fn health(healthy: bool, failure_tolerance: u32) -> State {
        State::Up(Ok(Health {
            healthy,
            failure_tolerance,
            servers: vec![],
        }))
    }

    fn alder() -> Name {
        "alder".parse().unwrap()
    }

    fn made(
        patience: Duration,
        need: Need,
        restarted: bool,
        state: fn(usize) -> State,
    ) -> Quorum<Made> {
        let server = Server {
            need,
            before: [(Daemon::Nomad, health(true, 1))].into(),
        };
        Quorum {
            ask: Made {
                state,
                restarted,
                looks: Cell::new(0),
            },
            servers: [(alder(), server)].into(),
            waits: true,
            patience,
            reporter: Reporter::with(Arc::new(Silent)),
        }
    }

    #[tokio::test]
    async fn a_server_that_was_restarted_is_looked_at_until_it_is_steady() {
        // What autopilot says first is older than the start; then it finds the server missing.
        let wavering = |look| health(look != 2, 1);
        let restarted = made(quorum::PATIENCE, Need::Spare, true, wavering);
        restarted.after(&alder()).await.unwrap();
        assert_eq!(restarted.ask.looks.get(), 2 + quorum::STEADY);
        let reloaded = made(quorum::PATIENCE, Need::Spare, false, wavering);
        reloaded.after(&alder()).await.unwrap();
        assert_eq!(reloaded.ask.looks.get(), 1);
    }

    #[tokio::test]
    async fn a_server_is_spared_as_far_as_its_change_needs_it() {
        let ready = async |need, state| {
            made(Duration::ZERO, need, true, state)
                .before(&alder())
                .await
        };
        let ill: fn(usize) -> State = |_| health(false, 0);
        let tight: fn(usize) -> State = |_| health(true, 0);
        assert!(ready(Need::Nothing, ill).await.is_ok());
        assert!(ready(Need::Health, tight).await.is_ok());
        for (need, state) in [(Need::Health, ill), (Need::Spare, tight)] {
            let error = ready(need, state).await.unwrap_err();
            assert_eq!(error.exit, Exit::Partial);
            assert!(error.what.starts_with("Nomad’s servers "), "{error}");
        }
        assert!(ready(Need::Spare, |_| State::Down).await.is_ok());
    }

    #[tokio::test]
    async fn a_server_that_does_not_take_its_part_any_more_is_told_of() {
        let lost = async |state| {
            made(Duration::ZERO, Need::Spare, false, state)
                .after(&alder())
                .await
        };
        let error = lost(|_| State::Down).await.unwrap_err();
        assert_eq!(error.what, "Nomad does not run any more");
        let error = lost(|_| State::Unformed).await.unwrap_err();
        assert_eq!(error.what, "Nomad knows of no other server any more");
        let error = lost(|_| health(false, 0)).await.unwrap_err();
        assert_eq!(
            error.what,
            "Nomad’s servers are not healthy: a new leader has yet to look at them"
        );
    }
}
