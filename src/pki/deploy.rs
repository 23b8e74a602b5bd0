//! Brings the year's certificates to the nodes and makes the daemons use them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::json;
use time::OffsetDateTime;

use super::generate::all;
use super::layout::{Holder, PairId};
use super::member::{Member, Work};
use super::node::State;
use super::rollout::{AppRollout, Care, Results};
use super::stored::Stored;
use super::{Year, files, plan, trust};
use crate::cluster::Daemon;
use crate::cluster::{Cluster, Name};
use crate::error::{Error, Result};
use crate::event::{Event, Reporter, Summary, count};
use crate::operation::Operation;
use crate::rollout;
use crate::store;

/// Reads the PKI of a year before any node is touched. Fails unless it is complete and valid.
pub async fn load(
    operation: &Operation,
    daemons: &[Daemon],
    year: Year,
    now: OffsetDateTime,
) -> Result<Work> {
    operation.reporter.phase("reading the store");
    let store = store::open(&operation.cluster)?;
    let cluster = operation.cluster.clone();
    let mut pairs: Vec<PairId> = daemons
        .iter()
        .flat_map(|daemon| PairId::wanted(&cluster, *daemon, year))
        .collect();
    // Nomad's files include some of Consul's.
    let others = daemons
        .iter()
        .flat_map(|daemon| files::authorities(&cluster, *daemon));
    let others: Vec<Daemon> = others.filter(|daemon| !daemons.contains(daemon)).collect();
    pairs.extend(
        others
            .iter()
            .flat_map(|daemon| PairId::wanted(&cluster, *daemon, year)),
    );
    pairs.extend(Daemon::ALL.map(|daemon| PairId {
        daemon,
        holder: Holder::Retired,
    }));
    let stored = Stored::read(&store, &pairs)
        .await
        .map_err(|errors| all(&operation.reporter, errors))?;
    let errors = faults(&cluster, daemons, year, &stored, now);
    if !errors.is_empty() {
        return Err(all(&operation.reporter, errors));
    }
    for warning in plan::ending(&stored, now) {
        operation.reporter.warning(None, warning);
    }
    Ok(Work {
        cluster,
        stored,
        year,
    })
}

/// Everything that forbids bringing a year's PKI to nodes.
pub fn faults(
    cluster: &Cluster,
    daemons: &[Daemon],
    year: Year,
    stored: &Stored,
    now: OffsetDateTime,
) -> Vec<Error> {
    let pairs = daemons
        .iter()
        .flat_map(|daemon| PairId::wanted(cluster, *daemon, year));
    pairs
        .filter_map(|pair| {
            if stored.held(&pair).certificates.is_empty() {
                Some(
                    Error::usage(format!("{pair}.crt is not in the store"))
                        .help("make it with gen-pki, or pull the store if others did"),
                )
            } else {
                stored.fault(&pair, now)
            }
        })
        .collect()
}

/// Logs in to nodes. Fails unless all of them can be used.
pub async fn members(operation: &mut Operation, nodes: &BTreeSet<Name>) -> Result<Vec<Member>> {
    operation
        .reporter
        .phase(format!("probing {}", count(nodes.len(), "node")));
    let probed = operation.probe(nodes, true).await?;
    probed
        .into_iter()
        .map(|(name, probed)| Member::new(operation, &name, probed))
        .collect()
}

/// Reads the state of the nodes' disks. Nodes that do not answer have failed.
async fn look(
    work: &Work,
    members: &[Member],
    daemons: &[Daemon],
    reporter: &Reporter,
    results: &mut Results,
) -> BTreeMap<Name, State> {
    reporter.phase("looking at whom the nodes trust");
    let looked = join_all(members.iter().map(|member| member.state(work, daemons))).await;
    let mut states = BTreeMap::new();
    for (member, state) in members.iter().zip(looked) {
        match state {
            Ok(state) => {
                states.insert(member.name.clone(), state);
            }
            Err(error) => {
                reporter.failure(&error);
                results.failed.insert(member.name.clone(), error);
            }
        }
    }
    states
}

/// Brings the files of `daemons` to nodes and makes the daemons use them. If a node trusts another
/// authority than the store's, nothing is changed unless `replace` is set.
pub async fn bring(
    work: &Work,
    members: &[Member],
    daemons: &[Daemon],
    reporter: &Reporter,
    care: Care,
    replace: bool,
) -> Result<Results> {
    let mut results = Results::default();
    let mut states = look(work, members, daemons, reporter, &mut results).await;
    if !replace {
        trust::check(work, daemons, &states, reporter)?;
    }
    reporter.phase(format!(
        "writing the files of {}",
        count(states.len(), "node")
    ));
    let mut touched: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
    let told: Vec<(&Member, State)> = members
        .iter()
        .filter_map(|member| Some((member, states.remove(&member.name)?)))
        .collect();
    let told = told.into_iter();
    let written = join_all(told.map(|(member, before)| async move {
        let written = async {
            let touched = member.install(work, daemons).await?;
            let state = if touched.is_empty() {
                before
            } else {
                member.state(work, daemons).await?
            };
            Ok::<_, Error>((touched, state))
        };
        (member, written.await)
    }))
    .await;
    for (member, written) in written {
        match written {
            Ok((paths, state)) => {
                if !paths.is_empty() {
                    let words = format!("{} written", count(paths.len(), "file"));
                    results
                        .done
                        .entry(member.name.clone())
                        .or_default()
                        .push(words);
                }
                touched.insert(member.name.clone(), paths);
                states.insert(member.name.clone(), state);
            }
            Err(error) => {
                reporter.failure(&error);
                results.failed.insert(member.name.clone(), error);
            }
        }
    }
    for daemon in daemons {
        reporter.phase(format!("looking at what {} serves", daemon.title()));
        let good: Vec<&Member> = members
            .iter()
            .filter(|member| !results.failed.contains_key(&member.name))
            .collect();
        let rollout = AppRollout {
            work,
            daemon: *daemon,
            reporter,
            care,
        };
        rollout.run(&good, &states, &touched, &mut results).await?;
    }
    let absent = |member: &&Member| -> Vec<String> {
        let units = daemons
            .iter()
            .map(|daemon| &daemon.place(&work.cluster).unit);
        let state = states.get(&member.name);
        units
            .filter(|unit| state.is_some_and(|state| !state.unit(unit).loaded))
            .cloned()
            .collect()
    };
    let mut warnings = Vec::new();
    for member in members {
        for unit in absent(&member) {
            results.early.insert(member.name.clone());
            let what = format!("has no {unit}: its files wait for a deployment");
            warnings.push((member.name.clone(), what));
        }
    }
    reporter.warnings(warnings);
    Ok(results)
}

/// Reports the result of each node. Returns that of the run, not reported yet.
pub fn finish(
    reporter: &Reporter,
    nodes: &BTreeSet<Name>,
    results: &Results,
) -> (Summary, Result<()>) {
    for node in nodes {
        let done = results.done.get(node).map(|words| words.join(", "));
        let (ok, outcome) = match (results.failed.get(node), done) {
            (Some(error), Some(done)) => (false, format!("{} ({done} before)", error.what)),
            (Some(error), None) => (false, error.what.clone()),
            (None, Some(done)) => (true, done),
            (None, None) => (true, "unchanged".to_owned()),
        };
        let data = json!({"done": results.done.get(node).cloned().unwrap_or_default()});
        reporter.emit(Event::Done {
            node: node.clone(),
            ok,
            outcome,
            data,
        });
    }
    rollout::conclusion(
        reporter,
        nodes,
        |node| !results.failed.contains_key(node),
        None,
    )
}
