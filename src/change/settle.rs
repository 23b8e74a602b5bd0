//! Nodes that somebody else works on, or whose last change has not ended yet.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::restart::finish_drains;
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::node::each::{ALL, each};
use crate::node::lease::{Scope, held};
use crate::node::probe::Probed;
use crate::operation::Operation;

/// How long a node may take to confirm or undo an earlier change.
const LONGEST: Duration = Duration::from_secs(300);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(3);

/// Fails if somebody else holds a node. Waits for nodes with an unconfirmed change, and probes them
/// again.
pub async fn settle(
    operation: &Operation,
    probed: &mut BTreeMap<Name, Probed>,
    steal: bool,
) -> Result<()> {
    let holders: Vec<Error> = probed
        .iter()
        .filter(|_| !steal)
        .filter_map(|(name, p)| Some(held(Scope::Node, p.facts.lease.as_ref()?).on(name)))
        .collect();
    if !holders.is_empty() {
        operation.reporter.failures(&holders);
        let what = "nodes are held by another operator; nothing was changed";
        return Err(Error::new(Exit::Probe, what));
    }
    let pending = probed.iter().filter(|(_, p)| p.facts.pending.is_some());
    let mut waits = each(ALL, pending, async |name, _| {
        let what = "waiting for the end of a change that nobody confirmed";
        operation.reporter.step(name, what);
        let until = Instant::now() + LONGEST;
        while Instant::now() < until {
            tokio::time::sleep(PAUSE).await;
            match operation.probe_one(name).await {
                Ok(p) if p.facts.pending.is_none() => return Ok(Some(p)),
                Ok(_) => {}
                Err(e) => tracing::debug!(node = %name, "{e}"),
            }
        }
        Ok(None)
    });
    let (mut settled, mut stuck) = (BTreeMap::new(), Vec::new());
    while let Some((name, wait)) = waits.next().await {
        match wait? {
            Some(p) => drop(settled.insert(name.clone(), p)),
            None => stuck.push(name.to_string()),
        }
    }
    drop(waits);
    probed.extend(settled);
    if stuck.is_empty() {
        finish_drains(operation, probed).await
    } else {
        Err(Error::new(
            Exit::Probe,
            format!(
                "{} did not come to the end of an earlier change; nothing was changed",
                stuck.join(", ")
            ),
        )
        .help("see /var/lib/nixcfg/rollback and `journalctl -t nixcfg` there"))
    }
}
