//! Changes the nodes of a cluster in an order that keeps it running, and treats failures.
//!
//! [`plan`] computes the order as a value, and [`engine`] carries it out. [`daemons`] guards the
//! quorum of Consul's and Nomad's servers, by the rules of [`quorum`]. [`turn`] changes one node.
//! An operation gives the work on a node as a closure:
//!
//! ```text
//! let order = args.rollout.prepare(&operation, &probed, &nodes, true).await?;
//! let outcomes = order.run(async |node| …, async |node| …).await;
//! conclude(&reporter, &nodes, |node| outcomes.get(node).is_some_and(|o| o.ok), None)
//! ```

pub mod daemons;
pub mod deaf;
pub mod engine;
pub mod guard;
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
use crate::event::{Event, Reporter, Summary, count};
use crate::node::probe::Probed;
use crate::operation::Operation;
use daemons::Curl;
pub use engine::{OnFailure, Outcome, Rollout};
use guard::Quorum;
use plan::{Candidate, Limits, Part, Plan};
pub use turn::Turn;

/// The order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// Canaries, then servers one by one while their quorum is whole, then all others
    Rolling,
    /// All nodes at once, servers too
    Parallel,
}

/// Nodes that are changed before all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// This many of the nodes outside the quorum.
    Count(usize),
    /// The nodes that a selector selects.
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

/// The heading in `--help`.
const ORDER: &str = "Order";

/// Options of the order, and of failures.
#[derive(Debug, Clone, clap::Args)]
pub struct RolloutArgs {
    /// In which order nodes are changed
    #[arg(help_heading = ORDER, long, value_enum, default_value = "rolling")]
    strategy: Strategy,

    /// How many nodes to change at once; servers of a quorum are changed one by one
    #[arg(help_heading = ORDER, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    max_parallel: u16,

    /// How many nodes of one site to change at once [default: --max-parallel]
    #[arg(help_heading = ORDER, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_per_site: Option<u16>,

    /// Nodes to change first, whose failure ends the run: their number, or a selector
    #[arg(help_heading = ORDER, long, value_name = "N|NODE")]
    canary: Option<Canary>,

    /// What to do when a node is not as wanted
    #[arg(help_heading = ORDER, long, value_enum, value_name = "ACTION", default_value = "stop")]
    on_failure: OnFailure,

    /// Change servers even if their quorum is not healthy or cannot lose one
    #[arg(help_heading = ORDER, long)]
    unhealthy: bool,
}

/// A run's order, and the guard of its quorum.
pub struct Order {
    pub plan: Plan,
    quorum: Quorum<Curl>,
    on_failure: OnFailure,
    reporter: Reporter,
}

impl RolloutArgs {
    /// Refuses options without effect. `ordered`: whether the run changes nodes in an order.
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

    /// Orders the nodes to change. `disturbing`: whether the change can restart what they run.
    pub async fn prepare(
        &self,
        operation: &Operation,
        probed: &BTreeMap<Name, Probed>,
        nodes: &BTreeSet<Name>,
        disturbing: bool,
    ) -> Result<Order> {
        let rolling = disturbing && self.strategy == Strategy::Rolling;
        let quorum = if rolling {
            Quorum::survey(operation, probed, nodes, self.unhealthy).await?
        } else {
            Quorum::none(operation)
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

    /// Shows the order as far as it is known before any server is asked, so without leaders.
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
    /// Changes the nodes by `apply`, and takes them back by `back` if the options say so. Reports
    /// each node.
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

/// Reports a node's outcome.
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

/// Reports the result of any operation's run: which of `nodes` are as wanted, and the command for
/// the others. `first` is what to do before that command.
pub fn conclude(
    reporter: &Reporter,
    nodes: &BTreeSet<Name>,
    as_wanted: impl Fn(&Name) -> bool,
    first: Option<&str>,
) -> Result<()> {
    let (summary, result) = conclusion(reporter, nodes, as_wanted, first);
    reporter.emit(summary.into());
    result
}

/// The same, not reported yet: an operation may have more to tell.
pub fn conclusion(
    reporter: &Reporter,
    nodes: &BTreeSet<Name>,
    as_wanted: impl Fn(&Name) -> bool,
    first: Option<&str>,
) -> (Summary, Result<()>) {
    let (done, undone): (Vec<&Name>, Vec<&Name>) = nodes.iter().partition(|node| as_wanted(node));
    let list: Vec<&str> = undone.iter().map(|name| name.as_str()).collect();
    let text = if undone.is_empty() {
        format!("{} as wanted", count(nodes.len(), "node"))
    } else {
        format!(
            "{} of {} as wanted; not: {}",
            done.len(),
            count(nodes.len(), "node"),
            list.join(", ")
        )
    };
    let mut data = json!({"nodes": nodes.len(), "asWanted": done.len(), "notAsWanted": undone});
    let resume = resume::command(reporter.command_line(), undone.iter().copied());
    if !undone.is_empty()
        && let Some(data) = data.as_object_mut()
    {
        data.insert("resume".into(), json!(resume));
    }
    let result = if undone.is_empty() {
        Ok(())
    } else {
        let error = Error::new(
            Exit::Partial,
            format!("{} not as wanted", count(undone.len(), "node")),
        );
        let first = first
            .map(|first| format!("{first}, then "))
            .unwrap_or_default();
        Err(error.help(format!("{first}go on with them: {resume}")))
    };
    (Summary { text, data }, result)
}

#[cfg(test)]
mod tests;
