//! Carries out the plans: leases, copies to all nodes at once, switches in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{try_join, try_join_all};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::plan::{Action, Plan};
use super::{Args, Prepared};
use crate::change::leases::Leases;
use crate::cluster::{Check, Cluster, Name};
use crate::error::{Error, Result};
use crate::event::{Event, Reporter, bytes, count};
use crate::nix::store::StorePath;
use crate::nix::{Settings, copy};
use crate::node::activation::{self, Mode, Report};
use crate::node::probe::Probed;
use crate::node::ssh::Connection;
use crate::node::ssh::elevate::Elevation;
use crate::operation::Operation;
use crate::rollout::{self, Outcome, Turn};

/// Carries out the plans.
pub async fn execute(
    args: &Args,
    operation: &Operation,
    probed: &BTreeMap<Name, Probed>,
    plans: BTreeMap<Name, Plan>,
) -> Result<BTreeMap<Name, Outcome>> {
    let mut outcomes = BTreeMap::new();
    for (node, plan) in &plans {
        if plan.action == Action::Unchanged {
            let outcome = unchanged(&plan.system.out);
            rollout::tell(&operation.reporter, node, &outcome);
            outcomes.insert(node.clone(), outcome);
        }
    }
    let busy: BTreeSet<Name> = plans
        .keys()
        .filter(|name| !outcomes.contains_key(*name))
        .cloned()
        .collect();
    if busy.is_empty() {
        return Ok(outcomes);
    }
    let claim = args.watch.claim(args.operation)?;
    let leases = Leases::default();
    operation.reporter.phase(match args.mode {
        Mode::DryActivate => format!("asking {} what would change", count(busy.len(), "node")),
        _ => format!("deploying to {}", count(busy.len(), "node")),
    });
    let permits = Arc::new(Semaphore::new(usize::from(args.jobs)));
    let mut work = BTreeMap::new();
    for (node, plan) in plans {
        let Some(probed) = probed.get(&node).filter(|_| busy.contains(&node)) else {
            continue;
        };
        let turn = Turn::new(
            operation,
            probed,
            args.mode,
            args.watch.watch(&claim, &leases, operation),
        )?;
        work.insert(node, Work::begin(args, operation, plan, turn, &permits));
    }
    // Copies begin meanwhile, as a lease does not cover them.
    if args.mode != Mode::DryActivate {
        leases.take(operation, probed, &busy, &claim).await?;
    }
    let order = args
        .rollout
        .prepare(operation, probed, &busy, args.disturbs());
    let order = order.await?;
    let lost = |node: &Name| Outcome::failed(Error::unexpected("its work was lost").on(node));
    let apply = async |node: &Name| match work.get(node) {
        Some(work) => work.run().await,
        None => lost(node),
    };
    let back = async |node: &Name| match work.get(node) {
        Some(work) => work.turn.back().await,
        None => lost(node),
    };
    outcomes.extend(order.run(apply, back).await);
    drop(work);
    leases.release().await;
    Ok(outcomes)
}

fn unchanged(system: &StorePath) -> Outcome {
    Outcome {
        ok: true,
        changed: false,
        words: "unchanged".into(),
        data: json!({"action": "unchanged", "system": system}),
        error: None,
    }
}

/// Checks of a node's memberships, for after its switch.
type Members = BTreeMap<String, Check>;

/// The work on one node: its turn, and what comes before, which begins at once.
struct Work {
    plan: Plan,
    turn: Arc<Turn>,
    ahead: Mutex<Option<JoinHandle<Result<Members>>>>,
    reporter: Reporter,
    stop: tokio::task::AbortHandle,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.stop.abort();
    }
}

impl Work {
    fn begin(
        args: &Args,
        operation: &Operation,
        plan: Plan,
        turn: Turn,
        permits: &Arc<Semaphore>,
    ) -> Self {
        let turn = Arc::new(turn);
        let ahead = Ahead {
            turn: turn.clone(),
            plan: plan.clone(),
            substitute: args.substitute_on_destination,
            settings: operation.settings.clone(),
            folder: operation.access.folder().to_owned(),
            cluster: operation.cluster.clone(),
            reporter: operation.reporter.clone(),
        };
        let permits = permits.clone();
        let task = tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            ahead.run().await
        });
        Self {
            plan,
            turn,
            stop: task.abort_handle(),
            ahead: Mutex::new(Some(task)),
            reporter: operation.reporter.clone(),
        }
    }

    /// Waits until everything before the node's turn is done.
    async fn ready(&self) -> Result<Members> {
        let task = self
            .ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match task {
            Some(task) => task
                .await
                .map_err(|e| Error::unexpected(format!("a node's work was lost: {e}")))?,
            None => Err(Error::unexpected("a node's work was begun twice")),
        }
    }

    async fn run(&self) -> Outcome {
        let system = &self.plan.system.out;
        let done = async {
            let members = self.ready().await?;
            match self.turn.mode {
                Mode::DryActivate => self.ask().await,
                _ => Ok(self.outcome(&self.turn.go(system, None, members).await?)),
            }
        };
        done.await.unwrap_or_else(|error| Outcome {
            data: json!({"action": "failed", "system": system}),
            ..Outcome::failed(error)
        })
    }

    /// Asks what would change.
    async fn ask(&self) -> Result<Outcome> {
        let turn = &self.turn;
        let system = &self.plan.system.out;
        let told = activation::dry_activate(&turn.connection, &turn.how, system).await?;
        for line in told.lines() {
            self.reporter.emit(Event::Log {
                node: Some(turn.name.clone()),
                line: line.to_owned(),
            });
        }
        Ok(Outcome {
            ok: true,
            changed: false,
            words: "not changed".into(),
            data: json!({"action": "dryActivated", "system": system, "log": told}),
            error: None,
        })
    }

    fn outcome(&self, report: &Report) -> Outcome {
        let system = &self.plan.system.out;
        Outcome {
            ok: report.as_wanted,
            changed: self.turn.changed(report, system),
            words: report.words(self.turn.mode),
            data: json!({
                "action": report.end.keyword(),
                "system": system,
                "outcome": report.outcome.keyword(),
                "current": report.current,
                "profile": report.profile,
                "failedUnits": report.failed_units(),
                "restarted": report.restarted,
                "rebootFor": report.restart_for,
            }),
            error: None,
        }
    }
}

/// The work ahead of a node's turn. It changes nothing that runs.
struct Ahead {
    turn: Arc<Turn>,
    plan: Plan,
    substitute: bool,
    settings: Settings,
    folder: std::path::PathBuf,
    cluster: Arc<Cluster>,
    reporter: Reporter,
}

impl Ahead {
    async fn run(&self) -> Result<Members> {
        match self.turn.mode {
            Mode::Switch | Mode::Test => {
                let members = self.turn.memberships(&self.cluster);
                let ((), members) = try_join(self.copy(), members).await?;
                Ok(members)
            }
            Mode::Boot | Mode::DryActivate => self.copy().await.map(|()| Members::new()),
        }
    }

    async fn copy(&self) -> Result<()> {
        let turn = &self.turn;
        let copy = Copy {
            settings: &self.settings,
            connection: &turn.connection,
            how: &turn.how,
            folder: &self.folder,
            substitute: self.substitute,
            reporter: &self.reporter,
        };
        copy.run(&self.plan).await
    }
}

/// The copy of a system to a node.
struct Copy<'a> {
    settings: &'a Settings,
    connection: &'a Connection,
    how: &'a Elevation,
    folder: &'a Path,
    substitute: bool,
    reporter: &'a Reporter,
}

impl Copy<'_> {
    async fn run(&self, plan: &Plan) -> Result<()> {
        let Action::Deploy {
            paths, bytes: size, ..
        } = &plan.action
        else {
            return Ok(());
        };
        if *paths == 0 {
            return Ok(());
        }
        let name = self.connection.node();
        let what = format!("copying {} ({})", count(*paths, "path"), bytes(*size));
        self.reporter.step(name, what);
        let (reporter, node, total) = (self.reporter.clone(), name.clone(), *size);
        let sent = move |done: u64| {
            let node = node.clone();
            let done = done.min(total);
            reporter.emit(Event::Progress { node, done, total });
        };
        copy::copy(
            self.settings,
            self.connection,
            self.how,
            self.folder,
            &plan.system.out,
            self.substitute,
            sent,
        )
        .await
    }
}

/// Copies the systems to the nodes' stores, ahead of everything else. Changes nothing that runs.
pub async fn bring(args: &Args, operation: &Operation, prepared: &mut Prepared) -> Result<()> {
    let permits = Semaphore::new(usize::from(args.jobs));
    let copies = prepared.plans.iter().filter_map(|(node, plan)| {
        let probed = prepared.probed.get(node)?;
        Some(async {
            let _permit = permits.acquire().await;
            let how = operation.elevation(probed)?;
            let copy = Copy {
                settings: &operation.settings,
                connection: &probed.connection,
                how: &how,
                folder: operation.access.folder(),
                substitute: args.substitute_on_destination,
                reporter: &operation.reporter,
            };
            copy.run(plan).await
        })
    });
    try_join_all(copies).await?;
    for plan in prepared.plans.values_mut() {
        if let Action::Deploy { paths, bytes, .. } = &mut plan.action {
            (*paths, *bytes) = (0, 0);
        }
    }
    Ok(())
}
