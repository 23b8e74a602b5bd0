//! Carries out a plan. The operation says what to do with a node; the order and the treatment of
//! failures are the same for all operations.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use clap::ValueEnum;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::json;

use super::plan::{Phase, Plan};
use crate::cluster::Name;
use crate::error::{Error, Result};

/// What to do when a node is not as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// Begin no other node
    Stop,
    /// Go on with the others, as long as no canary fails and the servers' quorum is whole
    Continue,
    /// Begin no other node, and take those of this run back to their previous systems
    Rollback,
}

/// The outcome of a node.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whether it is as wanted.
    pub ok: bool,
    /// Whether it has changed, or may have.
    pub changed: bool,
    pub words: String,
    pub data: serde_json::Value,
    /// The error, if something failed.
    pub error: Option<Error>,
}

impl Outcome {
    /// A node that was not changed because of an error.
    pub fn failed(error: Error) -> Self {
        Self {
            ok: false,
            changed: false,
            words: error.what.clone(),
            data: json!({"action": "failed"}),
            error: Some(error),
        }
    }

    /// A node that was not begun.
    pub fn left(why: &str) -> Self {
        Self {
            ok: false,
            changed: false,
            words: format!("left as it was: {why}"),
            data: json!({"action": "left", "because": why}),
            error: None,
        }
    }
}

/// Whether a server may be changed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    Go,
    /// It leads by now: other servers come first.
    Leads,
}

/// Guards the servers' quorum before and after each of them.
pub trait Guard {
    /// Waits a while until the others can do without a server. Fails if they cannot.
    fn before(&self, node: &Name) -> impl Future<Output = Result<Ready>>;
    /// Waits until a changed server takes part again.
    fn after(&self, node: &Name) -> impl Future<Output = Result<()>>;
}

/// The results of a run so far.
#[derive(Debug, Default)]
struct Results {
    /// The outcomes of nodes that ended or were left.
    outcomes: BTreeMap<Name, Outcome>,
    /// The nodes that were begun, in the order of their ends.
    ended: Vec<Name>,
    /// Why no other node was begun.
    stopped: Option<String>,
}

fn failure(node: &Name) -> String {
    format!("{node} came first, and is not as wanted")
}

/// A plan under way.
pub struct Rollout<'a> {
    pub plan: &'a Plan,
    pub on_failure: OnFailure,
    /// Called with the outcome of every node.
    pub tell: &'a dyn Fn(&Name, &Outcome),
}

impl Rollout<'_> {
    /// Changes the nodes by `apply`. With [`OnFailure::Rollback`], takes them back by `back`, whose
    /// outcome is `ok` if the node is as it was.
    pub async fn run<G: Guard>(
        &self,
        guard: &G,
        apply: impl AsyncFn(&Name) -> Outcome,
        back: impl AsyncFn(&Name) -> Outcome,
    ) -> BTreeMap<Name, Outcome> {
        let mut results = Results::default();
        for phase in &self.plan.phases {
            if results.stopped.is_some() {
                break;
            }
            match phase {
                Phase::Servers { nodes, .. } => {
                    self.servers(phase, nodes, guard, &apply, &mut results)
                        .await;
                }
                Phase::Some { nodes, .. } => {
                    self.some(phase, nodes, &apply, &mut results).await;
                }
            }
        }
        let stopped = results.stopped.clone().unwrap_or_default();
        for node in self.plan.nodes() {
            if !results.outcomes.contains_key(node) {
                let outcome = Outcome::left(&stopped);
                (self.tell)(node, &outcome);
                results.outcomes.insert(node.clone(), outcome);
            }
        }
        if self.on_failure == OnFailure::Rollback && results.stopped.is_some() {
            self.take_back(guard, &back, &mut results).await;
        }
        results.outcomes
    }

    /// Changes servers, one after the other.
    async fn servers<G: Guard>(
        &self,
        phase: &Phase,
        nodes: &[Name],
        guard: &G,
        apply: &impl AsyncFn(&Name) -> Outcome,
        results: &mut Results,
    ) {
        let mut waiting: Vec<Name> = nodes.to_vec();
        let mut postponed = BTreeSet::new();
        while results.stopped.is_none() && !waiting.is_empty() {
            let node = waiting.remove(0);
            match guard.before(&node).await {
                Ok(Ready::Leads) if !waiting.is_empty() && postponed.insert(node.clone()) => {
                    waiting.push(node);
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    // The same reason would stop the servers after it.
                    let why = error.what.clone();
                    let mut outcome = Outcome::left(&why);
                    outcome.error = Some(error);
                    self.note(phase, &node, outcome, &why, results);
                    for node in waiting {
                        if results.stopped.is_none() {
                            self.note(phase, &node, Outcome::left(&why), &why, results);
                        }
                    }
                    return;
                }
            }
            let mut outcome = apply(&node).await;
            // A server that went back by itself has restarted its daemons too.
            if outcome.error.is_none()
                && let Err(error) = guard.after(&node).await
            {
                outcome.ok = false;
                outcome.words = format!("{}, but {}", outcome.words, error.what);
                outcome.error = Some(error);
            }
            self.note(phase, &node, outcome, &failure(&node), results);
        }
    }

    /// Changes other nodes, some at a time.
    async fn some(
        &self,
        phase: &Phase,
        nodes: &[Name],
        apply: &impl AsyncFn(&Name) -> Outcome,
        results: &mut Results,
    ) {
        let mut waiting: Vec<Name> = nodes.to_vec();
        let mut running = BTreeSet::new();
        let mut work = FuturesUnordered::new();
        loop {
            while results.stopped.is_none()
                && let Some(next) = self.plan.next(&waiting, &running)
            {
                let node = waiting.remove(next);
                running.insert(node.clone());
                work.push(async move {
                    let outcome = apply(&node).await;
                    (node, outcome)
                });
            }
            let Some((node, outcome)) = work.next().await else {
                return;
            };
            running.remove(&node);
            self.note(phase, &node, outcome, &failure(&node), results);
        }
    }

    fn note(&self, phase: &Phase, node: &Name, outcome: Outcome, why: &str, results: &mut Results) {
        if !outcome.ok && (phase.canary() || self.on_failure != OnFailure::Continue) {
            results.stopped.get_or_insert(why.to_owned());
        }
        (self.tell)(node, &outcome);
        results.ended.push(node.clone());
        results.outcomes.insert(node.clone(), outcome);
    }

    /// Takes back what this run changed, the last first: failed nodes, then the others, with the
    /// same guard for servers.
    async fn take_back<G: Guard>(
        &self,
        guard: &G,
        back: &impl AsyncFn(&Name) -> Outcome,
        results: &mut Results,
    ) {
        let why = results.stopped.clone().unwrap_or_default();
        let servers: BTreeSet<&Name> = self
            .plan
            .phases
            .iter()
            .filter(|phase| matches!(phase, Phase::Servers { .. }))
            .flat_map(Phase::nodes)
            .collect();
        let changed = |node: &&Name| results.outcomes.get(*node).is_some_and(|o| o.changed);
        let failed = |node: &Name| results.outcomes.get(node).is_some_and(|o| !o.ok);
        let mut nodes: Vec<Name> = results
            .ended
            .iter()
            .rev()
            .filter(changed)
            .cloned()
            .collect();
        nodes.sort_by_key(|node| (!failed(node), servers.contains(node)));
        let (ills, wells): (Vec<Name>, Vec<Name>) = nodes.into_iter().partition(&failed);
        // A failed server does not count for the quorum, so taking it back loses nothing.
        for node in ills {
            let outcome = back(&node).await;
            self.taken(&node, outcome, &why, results);
        }
        let (in_turn, others): (Vec<Name>, Vec<Name>) =
            wells.into_iter().partition(|node| servers.contains(node));
        let mut waiting = others;
        let mut running = BTreeSet::new();
        let mut work = FuturesUnordered::new();
        loop {
            while let Some(next) = self.plan.next(&waiting, &running) {
                let node = waiting.remove(next);
                running.insert(node.clone());
                work.push(async move {
                    let outcome = back(&node).await;
                    (node, outcome)
                });
            }
            let Some((node, outcome)) = work.next().await else {
                break;
            };
            running.remove(&node);
            self.taken(&node, outcome, &why, results);
        }
        drop(work);
        for node in in_turn {
            let mut outcome = match guard.before(&node).await {
                Ok(_) => back(&node).await,
                Err(error) => Outcome::failed(error),
            };
            if outcome.ok
                && let Err(error) = guard.after(&node).await
            {
                outcome.words = format!("{}, but {}", outcome.words, error.what);
                outcome.error = Some(error);
            }
            self.taken(&node, outcome, &why, results);
        }
    }

    fn taken(&self, node: &Name, outcome: Outcome, why: &str, results: &mut Results) {
        let words = if outcome.ok {
            format!("{}: {why}", outcome.words)
        } else {
            format!("not taken back: {}", outcome.words)
        };
        let outcome = Outcome {
            ok: false,
            changed: !outcome.ok,
            words,
            ..outcome
        };
        (self.tell)(node, &outcome);
        results.outcomes.insert(node.clone(), outcome);
    }
}
