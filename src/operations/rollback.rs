//! `rollback`: takes nodes to a generation that they have already, watched like any other change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::change::WatchArgs;
use crate::change::leases::Leases;
use crate::change::settle::settle;
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, count};
use crate::nix::inhibitors;
use crate::node::activation::{self, Mode};
use crate::node::each::{ALL, each, sorted};
use crate::node::generations::{Generation, list_all};
use crate::node::probe::Probed;
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::rollout::{self, Outcome, RolloutArgs, Turn};

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

    #[command(flatten)]
    rollout: RolloutArgs,

    #[command(flatten)]
    watch: WatchArgs,
}

/// Runs `rollback`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    args.rollout.check(true)?;
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    reporter.phase(format!("probing {}", count(nodes.len(), "node")));
    let mut probed = operation.probe(&nodes, !args.plan).await?;
    if !args.plan {
        settle(&operation, &mut probed, args.watch.steal).await?;
    }
    let mut targets: BTreeMap<Name, Generation> = BTreeMap::new();
    let mut bad = Vec::new();
    for (node, generations) in list_all(&probed).await {
        match generations.and_then(|all| all.target(args.to).cloned()) {
            Ok(target) => {
                targets.insert(node, target);
            }
            Err(error) => bad.push(error.on(&node)),
        }
    }
    let refused = tell(args, &reporter, &probed, &targets).await?;
    if !bad.is_empty() {
        reporter.failures(&bad);
        let usage = bad.iter().all(|error| error.exit == Exit::Usage);
        let (exit, what) = if usage {
            (
                Exit::Usage,
                "not every node has that generation; nothing was changed",
            )
        } else {
            (
                Exit::Probe,
                "not every node tells its generations; nothing was changed",
            )
        };
        return Err(Error::new(exit, what));
    }
    if args.plan {
        let text = "planned only; nothing was changed".into();
        reporter.emit(Event::Summary {
            text,
            data: json!({"planned": targets.len()}),
        });
        return Ok(());
    }
    if !refused.is_empty() {
        reporter.failures(&refused);
        return Err(
            Error::usage("not every node can go there live; nothing was changed")
                .help("--reboot restarts nodes for it, one after the other"),
        );
    }
    let claim = args.watch.claim("rollback")?;
    let changing: BTreeSet<Name> = targets.keys().cloned().collect();
    let leases = Leases::default();
    leases.take(&operation, &probed, &changing, &claim).await?;
    let mut work = BTreeMap::new();
    for (node, generation) in targets {
        if let Some(p) = probed.get(&node) {
            let watch = args.watch.watch(&claim, &leases, &operation);
            work.insert(
                node,
                (Turn::new(&operation, p, Mode::Switch, watch)?, generation),
            );
        }
    }
    let order = args.rollout.prepare(&operation, &probed, &changing, true);
    let order = order.await?;
    let lost = |node: &Name| Outcome::failed(Error::unexpected("its work was lost").on(node));
    let apply = async |node: &Name| match work.get(node) {
        Some((turn, generation)) => go(&operation, turn, generation)
            .await
            .unwrap_or_else(Outcome::failed),
        None => lost(node),
    };
    let back = async |node: &Name| match work.get(node) {
        Some((turn, _)) => turn.back().await,
        None => lost(node),
    };
    let outcomes = order.run(apply, back).await;
    leases.release().await;
    let as_wanted = |node: &Name| outcomes.get(node).is_some_and(|outcome| outcome.ok);
    rollout::conclude(&reporter, &nodes, as_wanted, None)
}

/// Shows the plan. Returns the inhibitors of nodes that cannot go there live.
async fn tell(
    args: &Args,
    reporter: &Reporter,
    probed: &BTreeMap<Name, Probed>,
    targets: &BTreeMap<Name, Generation>,
) -> Result<Vec<Error>> {
    let asked = targets
        .iter()
        .filter_map(|(node, to)| Some((node, (&probed.get(node)?.connection, to))));
    let asked = each(ALL, asked, async |_, (connection, to)| {
        let inhibited = activation::inhibited(connection, &to.system).await?;
        Ok((to, inhibited))
    });
    let (told, bad) = sorted(asked).await;
    let mut refused = Vec::new();
    for (node, (to, inhibited)) in told {
        let only = if inhibited.is_empty() {
            String::new()
        } else {
            format!(
                "only a restart brings its {}",
                inhibitors::in_words(&inhibited)
            )
        };
        let mut plan = format!("to generation {}, {}", to.number, to.system.name());
        if !only.is_empty() {
            plan = format!("{plan}; {only}");
        }
        let data = json!({"action": "rollback", "generation": to.number, "system": to.system, "inhibited": inhibited});
        reporter.emit(Event::Plan {
            node: node.clone(),
            plan,
            data,
        });
        if !only.is_empty() && !args.watch.reboot {
            refused.push(Error::usage(only).on(node));
        }
    }
    let what = "not every node tells what it can change to live; nothing was changed";
    reporter.unless_failed(&bad, what)?;
    Ok(refused)
}

async fn go(operation: &Operation, turn: &Turn, generation: &Generation) -> Result<Outcome> {
    let members = turn.memberships(&operation.cluster).await?;
    let report = turn
        .go(&generation.system, Some(generation.number), members)
        .await?;
    Ok(Outcome {
        ok: report.as_wanted,
        changed: turn.changed(&report, &generation.system),
        words: if report.as_wanted {
            format!("at generation {}", generation.number)
        } else {
            report.words(Mode::Switch)
        },
        data: json!({
            "action": report.end.keyword(),
            "generation": generation.number,
            "system": generation.system,
            "current": report.current,
            "profile": report.profile,
        }),
        error: None,
    })
}
