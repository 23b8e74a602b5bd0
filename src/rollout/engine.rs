//! Carries a plan out: what is done to a node comes from the operation, in
//! which order, and what becomes of a failure, is the same for all of them.

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
    /// Begin no other node, and take those of this run back to the systems that they ran
    Rollback,
}

/// What a node came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whether it is as wanted.
    pub ok: bool,
    /// Whether it is, or may be, another than before.
    pub changed: bool,
    /// In words.
    pub words: String,
    /// As data.
    pub data: serde_json::Value,
    /// What failed, where something did.
    pub error: Option<Error>,
}

impl Outcome {
    /// A node that an error kept from being changed.
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

/// What a server is to do before it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Begin.
    Go,
    /// It leads by now: let those before it that do not.
    Leads,
}

/// Keeps the servers' quorum: is asked before and after each of them.
pub trait Guard {
    /// Whether the others can do without a server now; waits a while for that.
    fn before(&self, node: &Name) -> impl Future<Output = Result<Ready>>;
    /// Waits until a server that was changed takes its part again.
    fn after(&self, node: &Name) -> impl Future<Output = Result<()>>;
}

/// What a run has come to so far.
#[derive(Debug, Default)]
struct Results {
    /// Nodes that came to an end, or were left.
    outcomes: BTreeMap<Name, Outcome>,
    /// Those that were begun, in the order in which they ended.
    ended: Vec<Name>,
    /// Why no other node was begun.
    stopped: Option<String>,
}

fn failure(node: &Name) -> String {
    format!("{node} came first, and is not as wanted")
}

/// A plan under way.
pub struct Rollout<'a> {
    /// The order.
    pub plan: &'a Plan,
    /// What to do when a node fails.
    pub on_failure: OnFailure,
    /// Told of every node that came to an end.
    pub tell: &'a dyn Fn(&Name, &Outcome),
}

impl Rollout<'_> {
    /// Changes the nodes by `apply`; under [`OnFailure::Rollback`], takes them
    /// back by `back`, whose outcome is well if the node is as it was.
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

    /// Servers, one after the other.
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
                    // Those after it would be kept from going by the same.
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
            // One that went back by itself has restarted what it runs as well.
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

    /// Other nodes, some at a time.
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

    /// Takes back what this run changed, the last first: what failed, then the
    /// others, servers as carefully as they were changed.
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
        // A server that failed is not counted on: nothing is lost by its going back.
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
        let words = match outcome.ok {
            true => format!("{}: {why}", outcome.words),
            false => format!("not taken back: {}", outcome.words),
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
