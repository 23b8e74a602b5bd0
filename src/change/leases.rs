//! The lease on a cluster, which a majority of its servers keeps, and the leases on the nodes that
//! a run will change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::cluster::{Cluster, Name, Role};
use crate::error::{Error, Exit, Result};
use crate::node::each::{ALL, each};
use crate::node::lease::{self, Answer, Claim, Lease, Scope, held, take};
use crate::node::probe::Probed;
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
        let (beside, mut refused) = reach(operation, &others).await;
        let mut those = BTreeMap::new();
        for (name, p) in probed.iter().chain(&beside) {
            let (of_node, of_cluster) = (nodes.contains(name), keepers.contains(name));
            let scopes: Vec<Scope> = [(of_node, Scope::Node), (of_cluster, Scope::Cluster)]
                .into_iter()
                .filter_map(|(wanted, scope)| wanted.then_some(scope))
                .collect();
            if !scopes.is_empty() {
                those.insert(name, (p, operation.elevation(p)?, scopes));
            }
        }
        let ask = async |_: &Name, (p, how, scopes): (&Probed, Elevation, Vec<Scope>)| {
            let from = p.facts.from.clone();
            let answer = lease::take(&p.connection, &how, claim, &from, &scopes).await;
            Ok((from, scopes, answer?))
        };
        let mut asked = each(ALL, those, ask);
        let mut bad = Vec::new();
        let mut granted = 0;
        while let Some((name, answer)) = asked.next().await {
            match answer {
                Ok((from, scopes, Answer::Taken(lease))) => {
                    granted += usize::from(scopes.contains(&Scope::Cluster));
                    let changed = probed.get(name).is_some_and(|p| {
                        lease.current != p.facts.current || lease.profile != p.facts.profile
                    });
                    if changed && nodes.contains(name) {
                        let error =
                            Error::new(Exit::Probe, "was changed by somebody else meanwhile");
                        bad.push(error.on(name).help("run again: it will be looked at anew"));
                    }
                    let kept = Kept {
                        lease,
                        claim: claim.clone(),
                        from,
                        scopes,
                    };
                    self.all().insert(name.clone(), kept);
                }
                Ok((.., Answer::Held(scope, holder))) => bad.push(held(scope, &holder).on(name)),
                Err(error) if nodes.contains(name) => bad.push(error),
                Err(error) => refused.push(error),
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
        let all = std::mem::take(&mut *self.all());
        join_all(all.into_values().map(|kept| kept.lease.release())).await;
    }
}

/// Probes keepers that the run does not change. Returns usable ones and the errors of the others.
async fn reach(operation: &Operation, names: &[Name]) -> (BTreeMap<Name, Probed>, Vec<Error>) {
    let mut looks = each(
        ALL,
        names.iter().map(|name| (name, ())),
        async |name, ()| {
            let probed = operation.probe_one(name).await?;
            probed.facts.no_root(name).map_or(Ok(probed), Err)
        },
    );
    let (mut reached, mut refused) = (BTreeMap::new(), Vec::new());
    while let Some((name, look)) = looks.next().await {
        match look {
            Ok(probed) => drop(reached.insert(name.clone(), probed)),
            Err(error) => refused.push(error),
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
