//! Changing the nodes of a cluster one after the other, so that it goes on:
//! which are changed when, and what becomes of a failure.
//!
//! [`plan`] is the order, as a value; [`engine`] carries it out; [`daemons`]
//! keeps the quorum of Consul's and Nomad's servers meanwhile, by the rules of
//! [`quorum`]. [`turn`] is what is done to one node. An operation gives what is
//! to be done to each as a closure:
//!
//! ```text
//! let order = args.rollout.prepare(&operation, &probed, &nodes, true).await?;
//! let outcomes = order.run(async |node| …, async |node| …).await;
//! conclude(&reporter, &nodes, |node| outcomes.get(node).is_some_and(|o| o.ok), None)
//! ```

pub mod daemons;
pub mod engine;
pub mod membership;
pub mod plan;
pub mod quorum;
pub mod resume;
pub mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use clap::ValueEnum;
use serde_json::json;

use crate::cluster::{Cluster, Name, Role, select};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, count};
use crate::node::probe::Probed;
use crate::operation::Operation;
use daemons::Quorum;
pub use engine::{OnFailure, Outcome, Rollout};
use plan::{Candidate, Limits, Part, Plan};
pub use turn::Turn;

/// In which order nodes are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// Canaries, then servers one by one while their quorum is whole, then all others
    Rolling,
    /// All nodes at once, servers too
    Parallel,
}

/// Nodes that go before all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// So many of those that are in no quorum.
    Count(usize),
    /// Those that a selector means.
    Selected(String),
}

impl FromStr for Canary {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse() {
            Ok(0) => Err(Error::usage("no canary is none: leave --canary away")),
            Ok(count) => Ok(Self::Count(count)),
            Err(_) => {
                text.parse::<select::Selector>()?;
                Ok(Self::Selected(text.to_owned()))
            }
        }
    }
}

/// Their heading in `--help`.
const ORDER: &str = "Order";

/// In which order nodes are changed, and what becomes of a failure.
#[derive(Debug, Clone, clap::Args)]
pub struct RolloutArgs {
    /// In which order nodes are changed
    #[arg(help_heading = ORDER, long, value_enum, default_value = "rolling")]
    strategy: Strategy,

    /// How many nodes are changed at once; servers of a quorum are changed one by one
    #[arg(help_heading = ORDER, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    max_parallel: u16,

    /// How many nodes of one site are changed at once [default: as many as in all]
    #[arg(help_heading = ORDER, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_per_site: Option<u16>,

    /// Nodes that go first, and end the run if they fail: how many, or a selector
    #[arg(help_heading = ORDER, long, value_name = "N|NODE")]
    canary: Option<Canary>,

    /// What to do when a node is not as wanted
    #[arg(help_heading = ORDER, long, value_enum, default_value = "stop")]
    on_failure: OnFailure,

    /// Change servers even if their quorum is not healthy or has no failure to spare
    #[arg(help_heading = ORDER, long)]
    unhealthy: bool,
}

/// A run's order, and the quorum that it keeps.
pub struct Order {
    /// The order.
    pub plan: Plan,
    quorum: Quorum,
    on_failure: OnFailure,
    reporter: Reporter,
}

impl RolloutArgs {
    /// Refuses what has no effect. `ordered`: whether nodes are changed, in an order.
    pub fn check(&self, ordered: bool) -> Result<()> {
        let nothing = match (&self.canary, self.strategy) {
            (None, _) => return Ok(()),
            (Some(_), Strategy::Parallel) => "--strategy parallel: all nodes go at once",
            (Some(_), Strategy::Rolling) if ordered => return Ok(()),
            (Some(_), Strategy::Rolling) => "--mode dry-activate: nothing is changed",
        };
        Err(Error::usage(format!(
            "--canary has no effect with {nothing}"
        )))
    }

    /// Orders the nodes that are to be changed. `disturbing`: whether what is
    /// done to them can restart what they run.
    pub async fn prepare(
        &self,
        operation: &Operation,
        probed: &BTreeMap<Name, Probed>,
        nodes: &BTreeSet<Name>,
        disturbing: bool,
    ) -> Result<Order> {
        let rolling = disturbing && self.strategy == Strategy::Rolling;
        let quorum = match rolling {
            true => Quorum::survey(operation, probed, nodes, self.unhealthy).await?,
            false => Quorum::none(operation),
        };
        let plan = self.plan(&operation.cluster, nodes, |name| quorum.part(name))?;
        if let Some(words) = plan.words() {
            let line = format!("in order: {words}");
            operation.reporter.emit(Event::Log { node: None, line });
        }
        Ok(Order {
            plan,
            quorum,
            on_failure: self.on_failure,
            reporter: operation.reporter.clone(),
        })
    }

    /// Tells the order as far as it is known before any server has been asked:
    /// who leads is not.
    pub fn foretell(&self, operation: &Operation, nodes: &BTreeSet<Name>) -> Result<()> {
        let cluster = &operation.cluster;
        let quorum = !cluster.daemons().is_empty();
        let part = |name: &Name| match cluster.nodes.get(name) {
            Some(node) if quorum && node.role == Role::Server => Part::Voter,
            _ => Part::None,
        };
        if let Some(words) = self.plan(cluster, nodes, part)?.words() {
            let line = format!("in order (a server that leads comes last of them): {words}");
            operation.reporter.emit(Event::Log { node: None, line });
        }
        Ok(())
    }

    fn plan(
        &self,
        cluster: &Cluster,
        nodes: &BTreeSet<Name>,
        part: impl Fn(&Name) -> Part,
    ) -> Result<Plan> {
        let limits = Limits {
            at_once: usize::from(self.max_parallel),
            per_site: self.max_per_site.map(usize::from),
        };
        let candidates = self.candidates(cluster, nodes, part)?;
        Ok(match self.strategy {
            Strategy::Rolling => Plan::rolling(&candidates, limits),
            Strategy::Parallel => Plan::parallel(&candidates, limits),
        })
    }

    fn candidates(
        &self,
        cluster: &Cluster,
        nodes: &BTreeSet<Name>,
        part: impl Fn(&Name) -> Part,
    ) -> Result<Vec<Candidate>> {
        let canaries: BTreeSet<Name> = match &self.canary {
            None => BTreeSet::new(),
            Some(Canary::Selected(word)) => select::select(cluster, std::slice::from_ref(word))?,
            Some(Canary::Count(count)) => nodes
                .iter()
                .filter(|name| part(name) == Part::None)
                .take(*count)
                .cloned()
                .collect(),
        };
        let candidates = cluster
            .nodes
            .iter()
            .filter(|(name, _)| nodes.contains(*name));
        Ok(candidates
            .map(|(name, node)| Candidate {
                name: name.clone(),
                site: node.site.clone(),
                part: part(name),
                canary: canaries.contains(name),
            })
            .collect())
    }
}

impl Order {
    /// Changes the nodes by `apply`, and takes them back by `back` where that
    /// is asked for. Each node's end is reported.
    pub async fn run(
        &self,
        apply: impl AsyncFn(&Name) -> Outcome,
        back: impl AsyncFn(&Name) -> Outcome,
    ) -> BTreeMap<Name, Outcome> {
        let tell = |name: &Name, outcome: &Outcome| tell(&self.reporter, name, outcome);
        let rollout = Rollout {
            plan: &self.plan,
            on_failure: self.on_failure,
            tell: &tell,
        };
        rollout.run(&self.quorum, apply, back).await
    }
}

/// Reports what a node came to.
pub fn tell(reporter: &Reporter, name: &Name, outcome: &Outcome) {
    if let Some(error) = &outcome.error {
        reporter.failure(error);
    }
    reporter.emit(Event::Done {
        node: name.clone(),
        ok: outcome.ok,
        outcome: outcome.words.clone(),
        data: outcome.data.clone(),
    });
}

/// Sums a run up, of whichever operation: which of `nodes` are as wanted, and
/// how one goes on with the others. `first` is what is to be done before that.
pub fn conclude(
    reporter: &Reporter,
    nodes: &BTreeSet<Name>,
    as_wanted: impl Fn(&Name) -> bool,
    first: Option<&str>,
) -> Result<()> {
    let (done, undone): (Vec<&Name>, Vec<&Name>) = nodes.iter().partition(|node| as_wanted(node));
    let list: Vec<&str> = undone.iter().map(|name| name.as_str()).collect();
    let text = match undone.is_empty() {
        true => format!("{} as wanted", count(nodes.len(), "node")),
        false => format!(
            "{} of {} as wanted; not: {}",
            done.len(),
            count(nodes.len(), "node"),
            list.join(", ")
        ),
    };
    let mut data = json!({"nodes": nodes.len(), "asWanted": done.len(), "notAsWanted": undone});
    let resume = resume::command(reporter.command_line(), undone.iter().copied());
    if !undone.is_empty()
        && let Some(data) = data.as_object_mut()
    {
        data.insert("resume".into(), json!(resume));
    }
    reporter.emit(Event::Summary { text, data });
    match undone.is_empty() {
        true => Ok(()),
        false => {
            let error = Error::new(
                Exit::Partial,
                format!("{} not as wanted", count(undone.len(), "node")),
            );
            let first = first
                .map(|first| format!("{first}, then "))
                .unwrap_or_default();
            Err(error.help(format!("{first}go on with them: {resume}")))
        }
    }
}

#[cfg(test)]
mod tests;
