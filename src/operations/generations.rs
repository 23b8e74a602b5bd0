//! `generations`: lists the generations of nodes' systems.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, count, width};
use crate::node::generations::list_all;
use crate::operation::{ClusterArgs, Invocation, Operation};

/// The arguments of `generations`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

/// Runs `generations`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes: BTreeSet<Name> = operation.select(&args.nodes)?;
    reporter.phase(format!("probing {}", count(nodes.len(), "node")));
    let (probed, mut bad) = operation.probe_some(&nodes, false).await?;
    for (node, generations) in list_all(&probed).await {
        let generations = match generations {
            Ok(generations) => generations,
            Err(error) => {
                bad.push(error.on(&node));
                continue;
            }
        };
        let running = probed.get(&node).and_then(|p| p.facts.current.as_ref());
        let numbers = width(generations.all.iter().map(|each| each.number.to_string()));
        let lines = generations.all.iter().map(|generation| {
            let boots = generations.current == Some(generation.number);
            let words = match (running == Some(&generation.system), boots) {
                (true, true) => "  running",
                (true, false) => "  running, not the next start’s",
                (false, true) => "  the next start’s",
                (false, false) => "",
            };
            format!(
                "{:>numbers$}  {}  {}{words}",
                generation.number,
                generation.made,
                generation.system.name()
            )
        });
        let data = json!({
            "generations": generations.all, "current": generations.current, "running": running,
        });
        reporter.emit(Event::Done {
            node,
            ok: true,
            outcome: lines.collect::<Vec<_>>().join("\n"),
            data,
        });
    }
    reporter.failures(&bad);
    match bad.len() {
        0 => Ok(()),
        n => Err(Error::new(
            Exit::Probe,
            format!("{n} of {} nodes do not tell their generations", nodes.len()),
        )),
    }
}
