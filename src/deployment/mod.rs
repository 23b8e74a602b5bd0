//! A deployment of systems: evaluate, probe, build, plan, copy, activate.

mod execute;
pub mod plan;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::change::settle::settle;
use crate::change::{Changed, WatchArgs};
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, Summary, bytes, count};
use crate::nix::build;
use crate::nix::closure::Graph;
use crate::nix::eval::{self, System};
use crate::nix::store::StorePath;
use crate::node::activation::Mode;
use crate::node::probe::Probed;
use crate::node::ssh::Connection;
use crate::operation::{ClusterArgs, Operation};
use crate::password::lockout;
use crate::rollout::{self, RolloutArgs};
pub use execute::bring;
use execute::execute;
use plan::{Action, Plan};

/// The arguments of `deploy-nixos`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,

    /// What to do with the new system
    #[arg(long, value_enum, default_value = "switch")]
    mode: Mode,

    /// Build and show what would be done, then stop
    #[arg(long)]
    pub plan: bool,

    /// How many nodes to copy to at once, ahead of their turn
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,

    /// Let nodes fetch paths from their own caches
    #[arg(long)]
    substitute_on_destination: bool,

    #[command(flatten)]
    rollout: RolloutArgs,

    #[command(flatten)]
    watch: WatchArgs,

    /// The operation's name, for other operators and the journal.
    #[arg(skip = "deploy-nixos")]
    operation: &'static str,
}

impl Args {
    /// Refuses arguments that contradict each other.
    pub fn check(&self) -> Result<()> {
        if self.watch.reboot && !matches!(self.mode, Mode::Switch | Mode::Boot) {
            return Err(Error::usage(
                "--reboot goes with --mode switch and boot only",
            ));
        }
        if self.mode == Mode::DryActivate {
            self.watch.check_for_dry_run()?;
        }
        self.rollout.check(self.mode != Mode::DryActivate)
    }

    /// The cluster's arguments.
    pub fn cluster(&self) -> &ClusterArgs {
        &self.cluster
    }

    /// Whether the run changes nothing.
    pub fn plans_only(&self) -> bool {
        self.plan || self.mode == Mode::DryActivate
    }

    /// Whether units are restarted.
    pub fn activates(&self) -> bool {
        matches!(self.mode, Mode::Switch | Mode::Test)
    }

    /// Whether the run can restart what nodes run.
    pub fn disturbs(&self) -> bool {
        self.activates() || self.watch.reboot
    }

    /// The same arguments for another operation, with its flag for changed nodes.
    pub fn noting(&self, operation: &'static str, changed: Changed) -> Self {
        let mut args = self.clone();
        args.operation = operation;
        args.watch.changed = changed;
        args
    }
}

/// The plans, and everything needed to carry them out.
pub struct Prepared {
    /// The selected nodes.
    pub nodes: BTreeSet<Name>,
    /// Their probes.
    pub probed: BTreeMap<Name, Probed>,
    /// The plans of nodes that can be changed.
    pub plans: BTreeMap<Name, Plan>,
    failed: Failures,
}

impl Prepared {
    /// Whether any node will be changed.
    pub fn changes(&self) -> bool {
        let mut plans = self.plans.values();
        plans.any(|plan| plan.action != Action::Unchanged)
    }

    /// Fails if a node cannot do what the options ask for.
    pub fn possible(&self, reporter: &Reporter) -> Result<()> {
        let refused: Vec<Error> = self
            .plans
            .iter()
            .filter_map(|(node, plan)| plan.refused(node))
            .collect();
        reporter.failures(&refused);
        match refused.len() {
            0 => Ok(()),
            many => {
                let what = format!(
                    "{} cannot change live; nothing was changed",
                    count(many, "node")
                );
                Err(Error::usage(what).help(
                    "--reboot restarts nodes for it, one after the other; --mode boot leaves their restart to you",
                ))
            }
        }
    }

    /// The end of a run that only plans.
    pub fn planned(&self, args: &Args, operation: &Operation) -> Result<()> {
        if args.disturbs() {
            let plans = self.plans.iter();
            let changing = plans.filter(|(_, plan)| plan.action != Action::Unchanged);
            let changing = changing.map(|(name, _)| name.clone()).collect();
            args.rollout.foretell(operation, &changing)?;
        }
        planned(&operation.reporter, self.plans.len(), self.failed.len())
    }
}

/// Evaluates, probes, builds and plans, and shows the plans. Changes nothing.
pub async fn prepare(args: &Args, operation: &mut Operation) -> Result<Prepared> {
    let reporter = operation.reporter.clone();
    let nodes = operation.select(&args.nodes)?;
    reporter.phase(format!(
        "evaluating and probing {}",
        count(nodes.len(), "node")
    ));
    let evaluation = Evaluation::begin(operation, &nodes);
    let mut probed = operation.probe(&nodes, !args.plan).await?;
    if !args.plan {
        settle(operation, &mut probed, args.watch.steal).await?;
    }
    let systems = evaluation.finish(operation).await?;

    let roots = operation.access.folder().join("roots");
    let mut failed = build_systems(operation, &systems, &probed, args.mode, &roots).await?;
    let what = (args.mode, args.watch.reboot);
    let plans = plan_nodes(operation, &systems, &probed, what, &mut failed).await?;
    if args.mode != Mode::DryActivate {
        let changing = plans
            .iter()
            .filter(|(_, plan)| plan.action != Action::Unchanged);
        lockout::check(operation, changing.map(|(node, _)| node), &probed).await?;
    }
    show_plans(&reporter, &plans, args.plan);
    Ok(Prepared {
        nodes,
        probed,
        plans,
        failed,
    })
}

/// The end of a deployment.
pub struct Concluded {
    /// Its result, not reported yet.
    pub conclusion: (Summary, Result<()>),
    /// The connections to nodes that it changed.
    pub changed: BTreeMap<Name, Connection>,
}

/// Carries out the plans, and reports each node.
pub async fn carry_out(
    args: &Args,
    operation: &Operation,
    prepared: Prepared,
) -> Result<Concluded> {
    let Prepared {
        nodes,
        probed,
        plans,
        failed,
    } = prepared;
    let outcomes = execute(args, operation, &probed, plans).await?;
    let first = (!failed.is_empty()).then_some("mend what does not build");
    let as_wanted = |node: &Name| outcomes.get(node).is_some_and(|outcome| outcome.ok);
    let conclusion = rollout::conclusion(&operation.reporter, &nodes, as_wanted, first);
    let changed = |node: &Name| outcomes.get(node).is_some_and(|outcome| outcome.changed);
    let changed = probed.iter().filter(|(node, _)| changed(node));
    Ok(Concluded {
        conclusion,
        changed: changed
            .map(|(node, probed)| (node.clone(), probed.connection.clone()))
            .collect(),
    })
}

/// The evaluation of the nodes' systems, at the same time as the probes.
pub struct Evaluation {
    names: BTreeMap<Name, String>,
    known: BTreeMap<String, System>,
    task: JoinHandle<eval::Systems>,
}

impl Evaluation {
    /// Begins to evaluate what the cache lacks.
    pub fn begin(operation: &Operation, nodes: &BTreeSet<Name>) -> Self {
        let names: BTreeMap<Name, String> = nodes
            .iter()
            .filter_map(|node| {
                Some((
                    node.clone(),
                    operation.cluster.nodes.get(node)?.configuration.clone(),
                ))
            })
            .collect();
        let remembered = &operation.cache.known.systems;
        let known = names
            .values()
            .filter_map(|name| Some((name.clone(), remembered.get(name)?.clone())))
            .collect();
        let unknown: Vec<String> = names
            .values()
            .filter(|name| !remembered.contains_key(*name))
            .cloned()
            .collect();
        let (source, settings) = (operation.source.clone(), operation.settings.clone());
        let task = tokio::spawn(async move {
            let workers = eval::workers_here(unknown.len());
            if unknown.is_empty() {
                Ok(BTreeMap::new())
            } else {
                eval::systems(&source, &settings, &unknown, workers).await
            }
        });
        Self { names, known, task }
    }

    /// The nodes' systems; new ones go into the cache.
    pub async fn finish(mut self, operation: &mut Operation) -> Result<BTreeMap<Name, System>> {
        let evaluated = (&mut self.task)
            .await
            .map_err(|e| Error::unexpected(format!("the evaluation was lost: {e}")))?;
        let evaluated = evaluated.map_err(|errors| {
            let node_of = |configuration: &str| {
                self.names
                    .iter()
                    .find(|(_, c)| *c == configuration)
                    .map(|(n, _)| n.clone())
            };
            let errors: Vec<Error> = errors
                .into_iter()
                .map(|(configuration, error)| match node_of(&configuration) {
                    Some(node) => error.on(&node),
                    None => error,
                })
                .collect();
            operation.reporter.failures(&errors);
            let what = format!(
                "{} not evaluate; nothing was changed",
                match errors.len() {
                    1 => "1 system does".to_owned(),
                    n => format!("{n} systems do"),
                }
            );
            Error::new(Exit::Build, what)
        })?;
        operation.cache.known.systems.extend(evaluated.clone());
        operation.cache.save();
        let mut systems = BTreeMap::new();
        for (node, configuration) in &self.names {
            let system = evaluated
                .get(configuration)
                .or_else(|| self.known.get(configuration));
            let system = system.ok_or_else(|| {
                Error::unexpected(format!("Nix gave no system {configuration}")).on(node)
            })?;
            systems.insert(node.clone(), system.clone());
        }
        Ok(systems)
    }
}

impl Drop for Evaluation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Failures = BTreeMap<Name, Error>;

/// Builds systems that some node does not run yet. Nodes whose build fails are left out. Fails if
/// none is left.
async fn build_systems(
    operation: &Operation,
    systems: &BTreeMap<Name, System>,
    probed: &BTreeMap<Name, Probed>,
    mode: Mode,
    roots: &std::path::Path,
) -> Result<Failures> {
    let wanted: BTreeMap<String, System> = systems
        .iter()
        .filter(|(node, system)| {
            probed
                .get(*node)
                .is_none_or(|p| !plan::is_as_wanted(&p.facts, &system.out, mode))
        })
        .map(|(node, system)| (node.to_string(), system.clone()))
        .collect();
    if wanted.is_empty() {
        return Ok(Failures::new());
    }
    operation
        .reporter
        .phase(format!("building {}", count(wanted.len(), "system")));
    std::fs::create_dir_all(roots)
        .map_err(|e| Error::unexpected(format!("cannot make {}: {e}", roots.display())))?;
    let reporter = operation.reporter.clone();
    let errors = build::realise(&operation.settings, &wanted, roots, |line| {
        if line.trim_start().starts_with("building '") {
            reporter.emit(Event::Log {
                node: None,
                line: line.trim().to_owned(),
            });
        }
    })
    .await?;
    let mut failures = Failures::new();
    for (node, error) in errors {
        let node: Name = node.parse()?;
        let error = error.on(&node);
        operation.reporter.failure(&error);
        failures.insert(node, error);
    }
    if failures.len() == systems.len() {
        return Err(Error::new(
            Exit::Build,
            "no system builds; nothing was changed",
        ));
    }
    Ok(failures)
}

/// Compares the wanted systems with the nodes'. Asks nodes that will change which paths they lack,
/// in one more round trip of the probe.
async fn plan_nodes(
    operation: &Operation,
    systems: &BTreeMap<Name, System>,
    probed: &BTreeMap<Name, Probed>,
    (mode, reboot): (Mode, bool),
    failed: &mut Failures,
) -> Result<BTreeMap<Name, Plan>> {
    let todo: Vec<(&Name, &System, &Probed)> = systems
        .iter()
        .filter(|(node, _)| !failed.contains_key(*node))
        .filter_map(|(node, system)| Some((node, system, probed.get(node)?)))
        .collect();
    let changing: BTreeSet<StorePath> = todo
        .iter()
        .filter(|(_, system, p)| !plan::is_as_wanted(&p.facts, &system.out, mode))
        .map(|(_, system, _)| system.out.clone())
        .collect();
    let roots: Vec<StorePath> = changing.iter().cloned().collect();
    let graph = Graph::of(&operation.settings, &roots).await?;
    // Without any space the node's nix-daemon cannot even answer.
    let asked = todo.iter().filter(|(_, system, p)| {
        !plan::is_as_wanted(&p.facts, &system.out, mode) && !plan::is_full(&p.facts)
    });
    let asked = asked.map(async |(node, system, p)| {
        let missing = p.missing(&graph.closure(&system.out)).await;
        ((*node).clone(), missing)
    });
    let mut lacking = BTreeMap::new();
    for (node, told) in join_all(asked).await {
        match told {
            Ok(paths) => {
                lacking.insert(node, paths);
            }
            Err(e) => {
                operation.reporter.failure(&e);
                failed.insert(node, e.exit(Exit::Probe));
            }
        }
    }
    let none = BTreeSet::new();
    let mut plans = BTreeMap::new();
    for (node, system, p) in todo {
        if failed.contains_key(node) {
            continue;
        }
        let plan = plan::plan(
            &p.facts,
            system,
            mode,
            &graph,
            lacking.get(node).unwrap_or(&none),
        )
        .restarting(reboot);
        if let Some((need, free)) = plan.too_large_for(p.facts.free) {
            let error = Error::new(
                Exit::Probe,
                format!("has {} free, and {} are needed", bytes(free), bytes(need)),
            )
            .on(node)
            .help("free space on it: sudo nix-collect-garbage --delete-older-than 30d");
            operation.reporter.failure(&error);
            failed.insert(node.clone(), error);
        } else {
            plans.insert(node.clone(), plan);
        }
    }
    if failed.values().any(|e| e.exit == Exit::Probe) {
        Err(Error::new(
            Exit::Probe,
            "some nodes cannot be deployed to; nothing was changed",
        ))
    } else {
        Ok(plans)
    }
}

/// Shows the plans. Unchanged nodes are shown with `all` only.
fn show_plans(reporter: &Reporter, plans: &BTreeMap<Name, Plan>, all: bool) {
    for (node, plan) in plans {
        if all || plan.action != Action::Unchanged {
            reporter.emit(Event::Plan {
                node: node.clone(),
                plan: plan.words(),
                data: plan.data(),
            });
        }
    }
}

fn planned(reporter: &Reporter, planned: usize, failed: usize) -> Result<()> {
    reporter.emit(Event::Summary {
        text: "planned only; nothing was changed".into(),
        data: json!({"planned": planned, "failed": failed}),
    });
    match failed {
        0 => Ok(()),
        n => Err(Error::new(
            Exit::Build,
            format!("{n} of {} systems do not build", planned + n),
        )),
    }
}
