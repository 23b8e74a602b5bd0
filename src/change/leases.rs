//! The lease on a cluster, which a majority of its servers keeps, and the leases on the nodes that
//! a run will change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::cluster::{Cluster, Name, Role};
use crate::error::{Error, Exit, Kind, Result};
use crate::event::Reporter;
use crate::node::each::{ALL, each};
use crate::node::lease::{self, Answer, Claim, Lease, Loss, Scope, held, take};
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
pub struct Leases(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    kept: BTreeMap<Name, Kept>,
    /// Nodes whose leases somebody took, and who.
    taken: BTreeMap<Name, String>,
    /// Of how many keepers the lease on the cluster is to be had, and of which it was.
    keepers: usize,
    granted: BTreeSet<Name>,
}

/// The leases of one node.
#[derive(Debug)]
struct Kept {
    lease: Lease,
    claim: Claim,
    from: String,
    scopes: Vec<Scope>,
    /// Set where its end is expected.
    ending: Arc<AtomicBool>,
}

impl All {
    fn has_majority<'a>(&self, of: impl Iterator<Item = &'a Name>) -> bool {
        of.count() * 2 > self.keepers
    }

    /// Why a node may not be begun any more.
    fn lost(&self, node: &Name) -> Option<(&'static str, &str)> {
        if let Some(who) = self.taken.get(node) {
            return Some(("the lease on this node was lost", who));
        }
        let left = self.granted.iter();
        let left = left.filter(|keeper| !self.taken.contains_key(*keeper));
        // One keeper alone, or fewer than half of them, cannot end a run.
        let lost = self.has_majority(self.granted.iter()) && !self.has_majority(left);
        let who = self
            .granted
            .iter()
            .find_map(|keeper| self.taken.get(keeper));
        who.filter(|_| lost)
            .map(|who| ("the lease on the cluster was lost", who.as_str()))
    }
}

impl Leases {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if somebody else has taken the lease on a node, or that on the cluster.
    pub fn check(&self, node: &Name) -> Result<()> {
        match self.all().lost(node) {
            None => Ok(()),
            Some((what, who)) => {
                let error = Error::new(
                    Kind::Held,
                    "the switch could not be started; nothing was changed",
                );
                Err(error
                    .exit(Exit::Partial)
                    .on(node)
                    .saying(format!("{what} to {who}"))
                    .help("run again when they have ended"))
            }
        }
    }

    /// Notes that a node's leases end now, with its restart.
    pub fn ends(&self, node: &Name) {
        if let Some(kept) = self.all().kept.get(node) {
            kept.ending.store(true, Ordering::SeqCst);
        }
    }

    /// Notes the loss of a node's leases, and warns of it at once.
    fn on_loss(
        &self,
        node: &Name,
        reporter: &Reporter,
        ending: &Arc<AtomicBool>,
    ) -> impl FnOnce(Loss) + Send + 'static {
        let (all, node, reporter) = (self.0.clone(), node.clone(), reporter.clone());
        let ending = ending.clone();
        move |loss| {
            let what = match loss {
                _ if ending.load(Ordering::SeqCst) => return,
                Loss::Unheard => {
                    "its lease is not held any more: the connection that held it has ended"
                        .to_owned()
                }
                Loss::Taken(scope, who) => {
                    let on = match scope {
                        Scope::Node => "this node",
                        Scope::Cluster => "the cluster",
                    };
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.taken.insert(node.clone(), who.clone());
                    format!("the lease on {on} was lost to {who}")
                }
            };
            reporter.warning(Some(&node), what);
        }
    }

    /// Takes a node's leases again after its restart, which ended them. Fails if somebody else has
    /// taken them meanwhile, and names that operator.
    pub async fn again(
        &self,
        connection: &Connection,
        how: &Elevation,
        reporter: &Reporter,
    ) -> Result<()> {
        let node = connection.node();
        let Some(kept) = self.all().kept.remove(node) else {
            return Ok(());
        };
        // Only a new run may steal leases back.
        let claim = Claim {
            steal: false,
            ..kept.claim
        };
        let ending = Arc::default();
        let lost = self.on_loss(node, reporter, &ending);
        match take(connection, how, &claim, &kept.from, &kept.scopes, lost).await? {
            Answer::Held(scope, holder) => Err(held(scope, &holder).on(node)),
            Answer::Taken(lease) => {
                let kept = Kept {
                    lease,
                    claim,
                    ending,
                    ..kept
                };
                self.all().kept.insert(node.clone(), kept);
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
        let ask = async |name: &Name, (p, how, scopes): (&Probed, Elevation, Vec<Scope>)| {
            let from = p.facts.from.clone();
            let ending = Arc::default();
            let lost = self.on_loss(name, &operation.reporter, &ending);
            let answer = lease::take(&p.connection, &how, claim, &from, &scopes, lost).await;
            Ok((from, scopes, ending, answer?))
        };
        let mut asked = each(ALL, those, ask);
        let mut bad = Vec::new();
        let mut granted = BTreeSet::new();
        while let Some((name, answer)) = asked.next().await {
            match answer {
                Ok((from, scopes, ending, Answer::Taken(lease))) => {
                    if scopes.contains(&Scope::Cluster) {
                        granted.insert(name.clone());
                    }
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
                        ending,
                    };
                    self.all().kept.insert(name.clone(), kept);
                }
                Ok((.., Answer::Held(scope, holder))) => bad.push(held(scope, &holder).on(name)),
                Err(error) if nodes.contains(name) => bad.push(error),
                Err(error) => refused.push(error),
            }
        }
        if !bad.is_empty() {
            self.release().await;
            operation.reporter.failures(&bad);
            let what = "not all leases could be had; nothing was changed";
            return Err(Error::new(Exit::Probe, what));
        }
        let count = granted.len();
        {
            let mut all = self.all();
            (all.keepers, all.granted) = (keepers.len(), granted);
        }
        if count * 2 <= keepers.len() {
            let what = format!(
                "the lease on the cluster is not held: {count} of the {} nodes that keep it gave it; each node’s own is",
                keepers.len()
            );
            operation.reporter.warning(None, what);
            for error in &refused {
                operation
                    .reporter
                    .warning(error.node.as_ref(), error.what.clone());
            }
        }
        Ok(())
    }

    /// Releases all leases.
    pub async fn release(&self) {
        let all = std::mem::take(&mut self.all().kept);
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

    #[test]
    fn a_run_ends_with_the_lease_on_a_node_or_on_most_keepers_of_the_clusters() {
        let name = |name: &str| name.parse::<Name>().unwrap();
        let lost = |granted: &[&str], taken: &[&str], node: &str| {
            let all = All {
                keepers: 3,
                granted: granted.iter().copied().map(name).collect(),
                taken: taken.iter().map(|of| (name(of), "bob".into())).collect(),
                ..All::default()
            };
            all.lost(&name(node)).map(|(what, _)| what)
        };
        let all = ["alder", "birch", "cedar"];
        assert_eq!(lost(&all, &[], "alder"), None);
        let node = Some("the lease on this node was lost");
        assert_eq!(lost(&all, &["alder"], "alder"), node);
        // What one node says does not stop the others.
        assert_eq!(lost(&all, &["alder"], "birch"), None);
        let cluster = Some("the lease on the cluster was lost");
        assert_eq!(lost(&all, &["alder", "cedar"], "birch"), cluster);
        // It was not held before either, which was told.
        assert_eq!(lost(&all[..1], &["alder"], "birch"), None);
    }
}
