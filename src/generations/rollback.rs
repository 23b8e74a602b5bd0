//! `rollback`: nodes go to a generation that they have already, watched like any other change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Generation, list_all};
use crate::activation::{Change, Mode, Report, WatchArgs};
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter};
use crate::lease;
use crate::lease::cluster::take_all;
use crate::operation::{ClusterArgs, Operation};
use crate::secret::Secret;

/// The arguments of `rollback`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,

    /// Go to this generation [default: the one before the profile's]
    #[arg(long, value_name = "GENERATION")]
    to: Option<u64>,

    /// Show what would be done, then stop
    #[arg(long)]
    plan: bool,

    /// How many nodes are switched at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,

    #[command(flatten)]
    watch: WatchArgs,
}

impl Args {
    /// Whether events are printed as JSON.
    pub fn json(&self) -> bool {
        self.cluster.common.json
    }
}

/// Runs `rollback`.
pub async fn run(args: &Args, reporter: Reporter, password: Option<Secret>) -> Result<()> {
    let mut operation = Operation::start(&args.cluster, reporter.clone(), password).await?;
    let nodes = operation.select(&args.nodes)?;
    let mut probed = operation.probe(&nodes, !args.plan).await?;
    if !args.plan {
        lease::settle(&operation, &mut probed, args.watch.steal).await?;
    }
    let mut targets: BTreeMap<Name, Generation> = BTreeMap::new();
    let mut bad = Vec::new();
    for (node, generations) in list_all(&probed).await? {
        match generations.target(args.to) {
            Ok(target) => {
                let generation = target.clone();
                let plan = format!(
                    "to generation {}, {}",
                    generation.number,
                    generation.system.name()
                );
                let data = json!({"action": "rollback", "generation": generation.number, "system": generation.system});
                reporter.emit(Event::Plan {
                    node: node.clone(),
                    plan,
                    data,
                });
                targets.insert(node, generation);
            }
            Err(error) => bad.push(error.on(node)),
        }
    }
    if !bad.is_empty() {
        for error in &bad {
            reporter.failure(error);
        }
        return Err(Error::usage(
            "not every node has that generation; nothing was changed",
        ));
    }
    if args.plan {
        let text = "planned only; nothing was changed".into();
        reporter.emit(Event::Summary {
            text,
            data: json!({"planned": targets.len()}),
        });
        return Ok(());
    }
    let claim = args.watch.claim("rollback")?;
    let changing: BTreeSet<Name> = targets.keys().cloned().collect();
    let leases = take_all(&operation, &probed, &changing, &claim).await?;
    let permits = Arc::new(Semaphore::new(usize::from(args.jobs)));
    let mut tasks = JoinSet::new();
    for (node, generation) in targets {
        let (Some(p), Some(told)) = (probed.remove(&node), operation.cluster.nodes.get(&node))
        else {
            continue;
        };
        let (how, told, watch) = (
            operation.elevation(&p)?,
            told.clone(),
            args.watch.watch(&claim),
        );
        let (access, password) = (operation.access.clone(), p.password.clone());
        let (reporter, permits) = (reporter.clone(), permits.clone());
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            reporter.step(&node, format!("going to generation {}", generation.number));
            let change = Change {
                access: &access,
                told: &told,
                connection: &p.connection,
                facts: &p.facts,
                how: &how,
                password: password.as_ref(),
                toplevel: &generation.system,
                mode: Mode::Switch,
                generation: Some(generation.number),
                watch: &watch,
                reporter: &reporter,
            };
            let report = change.run().await;
            (node, generation, report)
        });
    }
    let mut undone = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let (node, generation, report) =
            joined.map_err(|e| Error::unexpected(format!("a node's work was lost: {e}")))?;
        if !tell(&reporter, &node, &generation, report) {
            undone.push(node.to_string());
        }
    }
    leases.release().await;
    undone.sort();
    let done = nodes.len() - undone.len();
    reporter.emit(Event::Summary {
        text: format!("{done} of {} nodes as wanted", nodes.len()),
        data: json!({"nodes": nodes.len(), "asWanted": done, "notAsWanted": undone}),
    });
    match undone.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            Exit::Partial,
            format!("not as wanted: {}", undone.join(", ")),
        )),
    }
}

/// Tells what a node came to, and whether that is as wanted.
fn tell(reporter: &Reporter, node: &Name, generation: &Generation, report: Result<Report>) -> bool {
    let (ok, outcome, data) = match report {
        Ok(report) => {
            if !report.as_wanted {
                for line in report.last_lines() {
                    reporter.emit(Event::Log {
                        node: Some(node.clone()),
                        line: line.to_owned(),
                    });
                }
            }
            let words = match report.as_wanted {
                true => format!("at generation {}", generation.number),
                false => report.words(Mode::Switch),
            };
            let data = json!({"action": report.end.keyword(), "generation": generation.number, "system": generation.system, "current": report.current, "profile": report.profile});
            (report.as_wanted, words, data)
        }
        Err(error) => {
            reporter.failure(&error);
            (false, error.what, json!({"action": "failed"}))
        }
    };
    reporter.emit(Event::Done {
        node: node.clone(),
        ok,
        outcome,
        data,
    });
    ok
}
