//! The lease on a cluster, which a majority of its servers keeps, and the leases on the nodes that
//! a run will change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use crate::cluster::{Cluster, Name, Role};
use crate::error::{Error, Exit, Result};
use crate::node::lease::{self, Answer, Claim, Lease, Scope, held, take};
use crate::node::probe::{self, Probed};
use crate::node::ssh::Connection;
use crate::node::ssh::elevate::Elevation;
use crate::operation::Operation;

/// The nodes that keep the lease on a cluster: its servers, or all nodes if it has none.
pub fn keepers(cluster: &Cluster) -> BTreeSet<Name> {
    let of = |server: bool| {
        cluster
            .nodes
            .iter()
            .filter(|(_, node)| !server || node.role == Role::Server)
            .map(|(name, _)| name.clone())
            .collect::<BTreeSet<_>>()
    };
    match of(true) {
        servers if servers.is_empty() => of(false),
        servers => servers,
    }
}

/// All leases of a run, by node.
#[derive(Debug, Clone, Default)]
pub struct Leases(Arc<Mutex<BTreeMap<Name, Kept>>>);

/// The leases of one node.
#[derive(Debug)]
struct Kept {
    lease: Lease,
    claim: Claim,
    from: String,
    scopes: Vec<Scope>,
}

impl Leases {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Name, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a node's leases again after its restart, which ended them. Fails if somebody else has
    /// taken them meanwhile, and names that operator.
    pub async fn again(&self, connection: &Connection, how: &Elevation) -> Result<()> {
        let node = connection.node();
        let Some(kept) = self.all().remove(node) else {
            return Ok(());
        };
        // Only a new run may steal leases back.
        let claim = Claim {
            steal: false,
            ..kept.claim
        };
        match take(connection, how, &claim, &kept.from, &kept.scopes).await? {
            Answer::Held(scope, holder) => Err(held(scope, &holder).on(node)),
            Answer::Taken(lease) => {
                let kept = Kept {
                    lease,
                    claim,
                    ..kept
                };
                self.all().insert(node.clone(), kept);
                Ok(())
            }
        }
    }

    /// Takes the leases on `nodes` and on the cluster, all or none. An error names the other
    /// holder.
    pub async fn take(
        &self,
        operation: &Operation,
        probed: &BTreeMap<Name, Probed>,
        nodes: &BTreeSet<Name>,
        claim: &Claim,
    ) -> Result<()> {
        let keepers = keepers(&operation.cluster);
        let others: Vec<Name> = keepers
            .iter()
            .filter(|name| !probed.contains_key(*name))
            .cloned()
            .collect();
        let (beside, mut refused) = reach(operation, others).await;
        let mut asked = JoinSet::new();
        for (name, p) in probed.iter().chain(&beside) {
            let (of_node, of_cluster) = (nodes.contains(name), keepers.contains(name));
            let scopes: Vec<Scope> = [(of_node, Scope::Node), (of_cluster, Scope::Cluster)]
                .into_iter()
                .filter_map(|(wanted, scope)| wanted.then_some(scope))
                .collect();
            if scopes.is_empty() {
                continue;
            }
            let (name, connection, from) =
                (name.clone(), p.connection.clone(), p.facts.from.clone());
            let (how, claim) = (operation.elevation(p)?, claim.clone());
            asked.spawn(async move {
                let answer = lease::take(&connection, &how, &claim, &from, &scopes).await;
                (name, from, scopes, answer)
            });
        }
        let mut bad = Vec::new();
        let mut granted = 0;
        while let Some(joined) = asked.join_next().await {
            match joined.map_err(|e| Error::unexpected(format!("a lease was lost: {e}")))? {
                (name, from, scopes, Ok(Answer::Taken(lease))) => {
                    granted += usize::from(scopes.contains(&Scope::Cluster));
                    let changed = probed.get(&name).is_some_and(|p| {
                        lease.current != p.facts.current || lease.profile != p.facts.profile
                    });
                    if changed && nodes.contains(&name) {
                        let error =
                            Error::new(Exit::Probe, "was changed by somebody else meanwhile");
                        bad.push(error.on(&name).help("run again: it will be looked at anew"));
                    }
                    let kept = Kept {
                        lease,
                        claim: claim.clone(),
                        from,
                        scopes,
                    };
                    self.all().insert(name, kept);
                }
                (name, .., Ok(Answer::Held(scope, holder))) => {
                    bad.push(held(scope, &holder).on(name))
                }
                (name, .., Err(error)) if nodes.contains(&name) => bad.push(error),
                (.., Err(error)) => refused.push(error),
            }
        }
        if !bad.is_empty() {
            self.release().await;
            for error in &bad {
                operation.reporter.failure(error);
            }
            let what = "not all leases could be had; nothing was changed";
            return Err(Error::new(Exit::Probe, what));
        }
        if granted * 2 <= keepers.len() {
            let what = format!(
                "the lease on the cluster is not held: {granted} of the {} nodes that keep it gave it; each node’s own is",
                keepers.len()
            );
            operation.reporter.warning(None, what);
            for error in &refused {
                let node = error.node.as_deref().and_then(|name| name.parse().ok());
                operation
                    .reporter
                    .warning(node.as_ref(), error.what.clone());
            }
        }
        Ok(())
    }

    /// Releases all leases.
    pub async fn release(&self) {
        let mut tasks = JoinSet::new();
        for (_, kept) in std::mem::take(&mut *self.all()) {
            tasks.spawn(kept.lease.release());
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Probes keepers that the run does not change. Returns usable ones and the errors of the others.
async fn reach(operation: &Operation, names: Vec<Name>) -> (BTreeMap<Name, Probed>, Vec<Error>) {
    let mut tasks = JoinSet::new();
    for name in names {
        let access = operation.access.clone();
        let password = operation.passwords.of(name.as_str());
        tasks.spawn(async move {
            let probed = probe::probe(&access, &name, password).await;
            (name, probed)
        });
    }
    let (mut reached, mut refused) = (BTreeMap::new(), Vec::new());
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((name, Ok(probed))) => match probed.facts.no_root(&name) {
                None => {
                    reached.insert(name, probed);
                }
                Some(error) => refused.push(error),
            },
            Ok((_, Err(error))) => refused.push(error),
            Err(e) => refused.push(Error::unexpected(format!("a probe was lost: {e}"))),
        }
    }
    (reached, refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    #[test]
    fn the_servers_keep_the_lease_or_all_nodes_where_there_is_none() {
        let names = |cluster: &Cluster| {
            let names = keepers(cluster);
            names.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut cluster = example();
        assert_eq!(names(&cluster), ["alder", "cedar"]);
        for node in cluster.nodes.values_mut() {
            node.role = Role::Client;
        }
        assert_eq!(names(&cluster), ["alder", "birch", "cedar"]);
    }
}
