//! Carrying the plans out: leases, copies, switches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::plan::{Action, Plan};
use super::{Args, count};
use crate::activation::{self, Change, Mode, Watch};
use crate::cluster::{self, Name};
use crate::error::{Error, Result};
use crate::event::{Event, Reporter, bytes};
use crate::lease::cluster::{Leases, take_all};
use crate::nix::{Settings, copy};
use crate::node::probe::Probed;
use crate::operation::Operation;
use crate::secret::Secret;
use crate::ssh::Access;
use crate::ssh::elevate::Elevation;

/// What a node came to.
pub struct Outcome {
    /// Whether it is as wanted.
    pub ok: bool,
    /// In words.
    pub words: String,
    /// As data.
    pub data: serde_json::Value,
}

/// Carries out the plans, at most `--jobs` at once.
pub async fn execute(
    args: &Args,
    operation: &Operation,
    mut probed: BTreeMap<Name, Probed>,
    plans: BTreeMap<Name, Plan>,
) -> Result<BTreeMap<Name, Outcome>> {
    let busy: BTreeSet<Name> = plans
        .iter()
        .filter(|(_, plan)| plan.action != Action::Unchanged)
        .map(|(name, _)| name.clone())
        .collect();
    let claim = args.watch.claim("deploy-nixos")?;
    let leases = match args.mode {
        Mode::DryActivate => Leases::default(),
        _ if busy.is_empty() => Leases::default(),
        _ => take_all(operation, &probed, &busy, &claim).await?,
    };
    if !busy.is_empty() {
        operation.reporter.phase(match args.mode {
            Mode::DryActivate => format!("asking {} what would change", count(busy.len(), "node")),
            _ => format!("deploying to {}", count(busy.len(), "node")),
        });
    }
    let permits = Arc::new(Semaphore::new(usize::from(args.jobs)));
    let mut tasks = JoinSet::new();
    for (node, plan) in plans {
        let (Some(probed), Some(told)) = (probed.remove(&node), operation.cluster.nodes.get(&node))
        else {
            continue;
        };
        let elevation = match plan.action {
            Action::Unchanged => None,
            _ => Some(operation.elevation(&probed)?),
        };
        let work = Work {
            node: node.clone(),
            told: told.clone(),
            plan,
            password: probed.password.clone(),
            probed,
            elevation,
            mode: args.mode,
            watch: args.watch.watch(&claim),
            substitute: args.substitute_on_destination,
            settings: operation.settings.clone(),
            access: operation.access.clone(),
            reporter: operation.reporter.clone(),
        };
        let permits = permits.clone();
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let outcome = work.run().await;
            work.report(&outcome);
            (node, outcome)
        });
    }
    let mut outcomes = BTreeMap::new();
    while let Some(joined) = tasks.join_next().await {
        let (node, outcome) =
            joined.map_err(|e| Error::unexpected(format!("a node's work was lost: {e}")))?;
        outcomes.insert(node, outcome);
    }
    leases.release().await;
    Ok(outcomes)
}

/// The work on one node.
struct Work {
    node: Name,
    told: cluster::Node,
    plan: Plan,
    probed: Probed,
    elevation: Option<Elevation>,
    password: Option<Arc<Secret>>,
    mode: Mode,
    watch: Watch,
    substitute: bool,
    settings: Settings,
    access: Access,
    reporter: Reporter,
}

impl Work {
    async fn run(&self) -> Outcome {
        let Some(how) = &self.elevation else {
            return Outcome {
                ok: true,
                words: "unchanged".into(),
                data: json!({"action": "unchanged", "system": self.plan.system.out}),
            };
        };
        match self.change(how).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.reporter.failure(&error);
                Outcome {
                    ok: false,
                    words: error.what.clone(),
                    data: json!({"action": "failed", "system": self.plan.system.out}),
                }
            }
        }
    }

    async fn change(&self, how: &Elevation) -> Result<Outcome> {
        let connection = &self.probed.connection;
        let system = &self.plan.system.out;
        if let Action::Deploy {
            paths, bytes: size, ..
        } = &self.plan.action
            && *paths > 0
        {
            self.reporter.step(
                &self.node,
                format!("copying {} ({})", count(*paths, "path"), bytes(*size)),
            );
            let (reporter, node, total) = (self.reporter.clone(), self.node.clone(), *size);
            let sent = move |done: u64| {
                let node = node.clone();
                reporter.emit(Event::Progress {
                    node,
                    done: done.min(total),
                    total,
                });
            };
            let folder = self.access.folder();
            copy::copy(
                &self.settings,
                connection,
                how,
                folder,
                system,
                self.substitute,
                sent,
            )
            .await?;
        }
        if self.mode == Mode::DryActivate {
            let told = activation::dry_activate(connection, how, system).await?;
            for line in told.lines() {
                self.log(line);
            }
            return Ok(Outcome {
                ok: true,
                words: "not changed".into(),
                data: json!({"action": "dryActivated", "system": system, "log": told}),
            });
        }
        self.reporter
            .step(&self.node, format!("activating ({})", self.mode.action()));
        let change = Change {
            access: &self.access,
            told: &self.told,
            connection,
            facts: &self.probed.facts,
            how,
            password: self.password.as_ref(),
            toplevel: system,
            mode: self.mode,
            generation: None,
            watch: &self.watch,
            reporter: &self.reporter,
        };
        let report = change.run().await?;
        if !report.as_wanted {
            for line in report.last_lines() {
                self.log(line);
            }
        }
        Ok(Outcome {
            ok: report.as_wanted,
            words: report.words(self.mode),
            data: json!({
                "action": report.end.keyword(),
                "system": system,
                "outcome": report.outcome.keyword(),
                "current": report.current,
                "profile": report.profile,
                "failedUnits": report.failed_units(),
            }),
        })
    }

    fn log(&self, line: &str) {
        self.reporter.emit(Event::Log {
            node: Some(self.node.clone()),
            line: line.to_owned(),
        });
    }

    fn report(&self, outcome: &Outcome) {
        self.reporter.emit(Event::Done {
            node: self.node.clone(),
            ok: outcome.ok,
            outcome: outcome.words.clone(),
            data: outcome.data.clone(),
        });
    }
}
