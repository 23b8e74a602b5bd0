//! `next`: the commands that bring a cluster to what its files say.

pub mod after;
pub mod steps;

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::cluster::{Cluster, Daemon, Name};
use crate::deployment::Evaluation;
use crate::error::Result;
use crate::event::Event;
use crate::nix::store::StorePath;
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::operations::status::{self, State};
use crate::password::entry;
use crate::pki::Year;
use crate::pki::layout::PairId;
use crate::secrets::values;
use crate::store::{self, Store};
use steps::{Facts, steps, words};

/// The arguments of `next`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Changes nothing. Reads the names of the store's entries, not the entries themselves.")]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs `next`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes: BTreeSet<Name> = operation.cluster.nodes.keys().cloned().collect();
    let evaluation = Evaluation::begin(&operation, &nodes);
    let (states, unreached) = status::look(&operation, &nodes).await;
    reporter.failures(&unreached);
    let mut facts = on_nodes(&operation.cluster, &states);
    let there = async { store::open(&operation.cluster)?.list().await };
    match there.await {
        Ok(there) => {
            let has = |name: &str| there.iter().any(|entry| entry.as_str() == name);
            in_store(&mut facts, &operation.cluster, &has)?;
        }
        Err(error) => reporter.failure(&error),
    }
    let systems = evaluation.finish(&mut operation).await?;
    facts.untracked = operation.untracked.warning().is_some();
    facts.login = args.cluster.login.ssh_user.clone();
    let wanted = |node: &Name| systems.get(node).map(|system| &system.out);
    facts.behind = behind(&states, wanted);
    let steps = steps(&facts);
    let text = if steps.is_empty() {
        format!("nothing is left to do for {}", facts.cluster)
    } else {
        words(&steps)
    };
    reporter.emit(Event::Summary {
        text,
        data: serde_json::json!({"steps": steps}),
    });
    Ok(())
}

/// The facts from the nodes' states.
fn on_nodes(cluster: &Cluster, states: &BTreeMap<Name, State>) -> Facts {
    let nodes: Vec<Name> = cluster.nodes.keys().cloned().collect();
    let those = |which: &dyn Fn(&State) -> bool| -> Vec<Name> {
        let which = states.iter().filter(|(_, state)| which(state));
        which.map(|(name, _)| name.clone()).collect()
    };
    let reached = |node: &Name| states.contains_key(node);
    let mut facts = Facts {
        unreached: nodes
            .iter()
            .filter(|node| !reached(node))
            .cloned()
            .collect(),
        restart: those(&|state| !state.restart_for.is_empty()),
        ..Facts::settled(cluster.name.clone(), nodes)
    };
    for (node, state) in states {
        wait_for(&mut facts, cluster, node, state.waiting.values().flatten());
    }
    facts
}

/// Adds that units of a node wait for files.
fn wait_for<'a>(
    facts: &mut Facts,
    cluster: &Cluster,
    node: &Name,
    files: impl Iterator<Item = &'a String>,
) {
    let folders = Daemon::ALL.map(|daemon| format!("{}/", daemon.place(cluster).directory));
    let of_pki = |file: &String| folders.iter().any(|folder| file.starts_with(folder));
    let (certificates, secrets): (Vec<&String>, Vec<&String>) =
        files.partition(|file| of_pki(file));
    if !certificates.is_empty() {
        facts.without_certificates.push(node.clone());
    }
    if !secrets.is_empty() {
        facts.without_secrets.push(node.clone());
    }
}

/// The steps that make what the store lacks; `has` knows the names of its entries.
pub fn lacking(cluster: &Cluster, has: &dyn Fn(&str) -> bool) -> Result<Vec<steps::Step>> {
    let nodes = cluster.nodes.keys().cloned().collect();
    let mut facts = Facts::settled(cluster.name.clone(), nodes);
    in_store(&mut facts, cluster, has)?;
    Ok(steps(&facts))
}

/// Adds what the store lacks, by names of entries.
fn in_store(facts: &mut Facts, cluster: &Cluster, has: &dyn Fn(&str) -> bool) -> Result<()> {
    for value in values(cluster).keys() {
        if !has(value.entry()?.as_str()) {
            facts.secrets.push(value.label());
        }
    }
    let year = Year::choose(None, OffsetDateTime::now_utc())?;
    for daemon in cluster.daemons() {
        for pair in PairId::wanted(cluster, daemon, year) {
            if !has(pair.certificate()?.as_str()) {
                facts.certificates.push(pair.stem());
            }
        }
    }
    let admins = cluster.admins.keys();
    let lacking = admins.filter(|name| !has(&format!("{}{name}", entry::FOLDER)));
    facts.without_password = lacking.cloned().collect();
    Ok(())
}

/// The nodes that do not run, or would not start, the wanted system.
fn behind<'a>(
    states: &BTreeMap<Name, State>,
    wanted: impl Fn(&Name) -> Option<&'a StorePath>,
) -> Vec<Name> {
    let is = |(name, state): &(&Name, &State)| {
        let wanted = wanted(name);
        wanted.is_some()
            && [&state.running, &state.profile]
                .iter()
                .any(|has| has.as_ref() != wanted)
    };
    let behind = states.iter().filter(is);
    behind.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::status::tests::well;
    use crate::secrets::tests::cluster;

    #[test]
    fn what_nodes_wait_for_and_run_says_what_to_bring() {
        let cluster = cluster();
        let mut state = well();
        let unit = "consul.service".to_owned();
        state
            .waiting
            .insert(unit, vec!["/var/lib/consul/pki/consul.crt".into()]);
        let other = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-old";
        let other: StorePath = other.parse().unwrap();
        let alder: Name = "alder".parse().unwrap();
        let states = BTreeMap::from([(alder.clone(), state)]);
        let facts = on_nodes(&cluster, &states);
        assert_eq!(facts.without_certificates, std::slice::from_ref(&alder));
        assert!(facts.without_secrets.is_empty());
        assert_eq!(facts.unreached.len(), 2);
        assert_eq!(behind(&states, |_| Some(&other)), [alder]);
        let running = states.values().next().unwrap().running.as_ref();
        assert!(behind(&states, |_| running).is_empty());
    }

    #[test]
    fn what_the_store_lacks_is_named() {
        let cluster = cluster();
        let mut facts = on_nodes(&cluster, &BTreeMap::new());
        in_store(&mut facts, &cluster, &|name| name == "secrets/one").unwrap();
        assert_eq!(facts.secrets, ["each/alder", "each/birch"]);
        assert!(!facts.certificates.is_empty());
        assert_eq!(facts.without_password.len(), 1);
        in_store(&mut facts, &cluster, &|_| true).unwrap();
        assert!(facts.without_password.is_empty());
    }
}
