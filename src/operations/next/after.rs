//! What an operation tells to do next, from what it knows at its end: no login or evaluation is made
//! for it.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;

use super::steps::{Facts, Step, steps, words};
use super::{in_store, wait_for};
use crate::cluster::{Cluster, Name};
use crate::error::Result;
use crate::event::{Reporter, Summary};
use crate::node::each::{ALL, each};
use crate::node::ssh::Connection;
use crate::operations::status;
use crate::scaffold;
use crate::store::{self, Store};

/// How long a node may take to say what its units wait for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Facts of a cluster that is as its files say, except for what its store lacks. A store that cannot
/// be read is taken as whole.
pub async fn known(cluster: &Cluster) -> Facts {
    let mut facts = Facts::settled(
        cluster.name.clone(),
        cluster.nodes.keys().cloned().collect(),
    );
    let there = async { store::open(cluster)?.list().await };
    if let Ok(there) = there.await {
        let has = |name: &str| there.iter().any(|entry| entry.as_str() == name);
        if let Err(error) = in_store(&mut facts, cluster, &has) {
            tracing::debug!("what the store lacks is not known: {error}");
        }
    }
    facts
}

/// Adds what the units of nodes wait for, and which need a restart, as they say over the run's own
/// connections. A node that does not answer any more adds nothing.
pub async fn ask(
    facts: &mut Facts,
    cluster: &Cluster,
    connections: impl IntoIterator<Item = (&Name, &Connection)>,
) {
    let mut asked = each(ALL, connections, async |_, connection| {
        let left = status::left(cluster, connection);
        Ok(tokio::time::timeout(PATIENCE, left).await.ok())
    });
    while let Some((node, left)) = asked.next().await {
        if let Ok(Some(Ok(left))) = left {
            wait_for(facts, cluster, node, left.waiting.values().flatten());
            if !left.restart_for.is_empty() {
                facts.restart.push(node.clone());
            }
        }
    }
    for nodes in [
        &mut facts.without_secrets,
        &mut facts.without_certificates,
        &mut facts.restart,
    ] {
        nodes.sort();
    }
}

/// Reports the result of a run, with what it leaves to do.
pub fn tell(reporter: &Reporter, mut summary: Summary, facts: &Facts) {
    let steps = steps(facts);
    if !steps.is_empty() {
        summary.text = format!("{}\n{}", summary.text, next(&facts.cluster, &steps));
        if let Some(data) = summary.data.as_object_mut() {
            data.insert("next".into(), json!(steps));
        }
    }
    reporter.emit(summary.into());
}

/// Tells what is left to do where files were written, and no cluster was read.
pub fn note(reporter: &Reporter, facts: &Facts) {
    scaffold::note(reporter, next(&facts.cluster, &steps(facts)));
}

/// Reports the conclusion of a run. One that has nodes to go on with tells nothing else.
pub fn conclude(
    reporter: &Reporter,
    (summary, result): (Summary, Result<()>),
    facts: &Facts,
) -> Result<()> {
    match &result {
        Ok(()) => tell(reporter, summary, facts),
        Err(_) => reporter.emit(summary.into()),
    }
    result
}

fn next(cluster: &Name, steps: &[Step]) -> String {
    format!(
        "next (‘nix run .#next -- {cluster}’ also asks the nodes):\n{}",
        words(steps)
    )
}
