//! `exec`: runs a command on many nodes at once, and prints each line with its node's name.

use futures_util::StreamExt;
use serde_json::json;
use tokio::io::{AsyncBufRead, BufReader};

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, count};
use crate::node::each::{ALL, each};
use crate::node::probe::Probed;
use crate::node::ssh::bounded::{MOST_LINE, until_newline};
use crate::node::ssh::elevate::Elevation;
use crate::operation::{ClusterArgs, Invocation, Operation};

/// The arguments of `exec`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "The command runs without a shell. To use one: -- sh -c 'a | b'")]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,

    /// Run it as root
    #[arg(long)]
    sudo: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `exec`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    reporter.phase(format!("probing {}", count(nodes.len(), "node")));
    let probed = operation.probe(&nodes, args.sudo).await?;
    let mut commands = each(ALL, &probed, async |_, p| {
        let how = if args.sudo {
            Some(operation.elevation(p)?)
        } else {
            None
        };
        one(&reporter, p, how.as_ref(), &args.command).await
    });
    let mut failed = Vec::new();
    while let Some(ended) = commands.next().await {
        match ended {
            (_, Ok(Some(0))) => {}
            (node, Ok(code)) => {
                let code = code.map_or("no exit code".to_owned(), |code| {
                    format!("exit code {code}")
                });
                reporter.failure(
                    &Error::new(Exit::Partial, format!("the command failed ({code})")).on(node),
                );
                failed.push(node.to_string());
            }
            (node, Err(error)) => {
                reporter.failure(&error);
                failed.push(node.to_string());
            }
        }
    }
    failed.sort();
    reporter.emit(Event::Summary {
        text: if failed.is_empty() {
            format!("done on {}", count(nodes.len(), "node"))
        } else {
            format!(
                "failed on {} of {} nodes: {}",
                failed.len(),
                nodes.len(),
                failed.join(", ")
            )
        },
        data: json!({"nodes": nodes.len(), "failed": failed}),
    });
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::new(
            Exit::Partial,
            "the command did not succeed everywhere",
        ))
    }
}

/// Runs the command on one node. Returns its exit code, if it has one.
async fn one(
    reporter: &Reporter,
    probed: &Probed,
    how: Option<&Elevation>,
    command: &[String],
) -> Result<Option<i32>> {
    let connection = &probed.connection;
    let node = connection.node();
    let argv: Vec<&str> = command.iter().map(String::as_str).collect();
    if let Some(how) = how {
        let (stdin, stdout, ended) = connection.spawn_root(how, &argv).await?.into_parts();
        drop(stdin);
        relay(reporter, node, stdout, false).await;
        let (code, said) = ended.outcome().await?;
        for line in said.lines() {
            tell(reporter, node, line.to_owned(), true);
        }
        return Ok(code);
    }
    let (child, stdin, stdout, stderr) = connection.spawn_own(&argv).await?;
    drop(stdin);
    let out = relay(reporter, node, stdout, false);
    let err = relay(reporter, node, BufReader::new(stderr), true);
    tokio::join!(out, err);
    let status = child
        .wait()
        .await
        .map_err(|e| crate::node::ssh::lost(node, &e))?;
    Ok(status.code())
}

/// Reports each line. A very long one comes in parts.
async fn relay(reporter: &Reporter, node: &Name, mut from: impl AsyncBufRead + Unpin, error: bool) {
    let mut bytes = Vec::new();
    while let Ok(n) = until_newline(&mut from, &mut bytes, MOST_LINE).await
        && n > 0
    {
        let line = String::from_utf8_lossy(&bytes);
        tell(
            reporter,
            node,
            line.trim_end_matches('\n').to_owned(),
            error,
        );
        bytes.clear();
    }
}

fn tell(reporter: &Reporter, node: &Name, line: String, error: bool) {
    let node = node.clone();
    reporter.emit(if error {
        Event::Log {
            node: Some(node),
            line,
        }
    } else {
        Event::Output { node, line }
    });
}
