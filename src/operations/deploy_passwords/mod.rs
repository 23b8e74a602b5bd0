//! `deploy-passwords`: writes the store's hashes to the nodes' files and makes them effective.

mod guard;
pub mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;

use crate::cluster::{Cluster, Name, NodePath, name};
use crate::error::{Context, Error, Exit, Result};
use crate::event::{Event, Reporter, count};
use crate::node::each::{ALL, each};
use crate::node::probe::Probed;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Connection, MINUTE, Script};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::operations::next::after;
use crate::password::entry::Entry;
use crate::password::hash::{Hash, Password};
use crate::password::{entries, prompt};
use crate::rollout;
use crate::secret::Secret;
use crate::store;
use guard::Proof;
use plan::{Plan, Seen, Wanted};

const INSPECT: Script = Script {
    name: "nixcfg-inspect-passwords",
    text: &[include_str!("field.sh"), include_str!("inspect.sh")],
    seconds: MINUTE,
};

/// How many nodes are changed at once.
const AT_ONCE: usize = 10;

/// The arguments of `deploy-passwords`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,

    /// Only this user's password
    #[arg(long, value_name = "USER")]
    user: Option<Name>,

    /// Lock the accounts of users who are no longer administrators
    #[arg(long)]
    lock_removed: bool,

    /// Read your own new password from standard input, one line, instead of asking for it
    #[arg(long)]
    stdin: bool,

    /// If your own password changes, prove only that you can log in
    #[arg(long, conflicts_with = "stdin")]
    assume_changed: bool,
}

/// Runs `deploy-passwords`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    if args.stdin && args.nodes.iter().any(|word| word == "-") {
        return Err(Error::usage(
            "standard input cannot give both the nodes and the password",
        ));
    }
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    let wanted = wanted(args, &operation, &nodes).await?;
    if args.stdin {
        let new = Arc::new(prompt::from_standard_input()?.into_secret());
        operation.other_password = Some(new);
    }
    reporter.phase(format!("probing {}", count(nodes.len(), "node")));
    let mut probed = operation.probe(&nodes, true).await?;
    let mut outcomes = Outcomes::default();
    let works = plan_nodes(args, &operation, &wanted, &mut probed, &mut outcomes).await?;
    let proofs = Proofs::prepare(args, &operation, &wanted, &works).await?;
    execute(&operation, &wanted, works, &proofs, &mut outcomes).await?;
    let as_wanted = |node: &Name| outcomes.nodes.get(node) == Some(&true);
    let conclusion = rollout::conclusion(&reporter, &nodes, as_wanted, None);
    let facts = after::known(&operation.cluster).await;
    after::conclude(&reporter, conclusion, &facts)
}

type Hashes = BTreeMap<Name, BTreeMap<Name, Wanted>>;

/// The wanted passwords of each node. Fails, before any node is contacted, if an entry is no hash.
/// Warns of administrators without a password.
async fn wanted(args: &Args, operation: &Operation, nodes: &BTreeSet<Name>) -> Result<Hashes> {
    let cluster = &operation.cluster;
    let store = store::open(cluster)?;
    operation.reporter.phase("reading the password store");
    let mut entries = entries(&store).await?;
    let users: BTreeSet<&Name> = nodes
        .iter()
        .filter_map(|node| cluster.nodes.get(node))
        .flat_map(|node| &node.admins)
        .collect();
    if let Some(only) = &args.user {
        known(cluster, &users, only, args.lock_removed)?;
        if users.contains(only) && !entries.contains_key(only) {
            return Err(Error::usage(format!("{only} has no password in the store"))
                .help(format!("set it first: passwd {} {only}", cluster.name)));
        }
    }
    let meant = |user: &Name| args.user.as_ref().is_none_or(|only| only == user);
    let mut hashes: BTreeMap<&Name, Hash> = BTreeMap::new();
    for user in users.into_iter().filter(|user| meant(user)) {
        match entries.remove(user) {
            Some(entry) => {
                let Entry { hash, .. } = entry?;
                hashes.insert(user, hash);
            }
            None => operation.reporter.warning(
                None,
                format!(
                    "{user} has no password in the store: passwd {} {user}",
                    cluster.name
                ),
            ),
        }
    }
    let of_node = |node: &Name| -> BTreeMap<Name, Wanted> {
        let admins = cluster.nodes.get(node).map(|node| &node.admins);
        admins
            .into_iter()
            .flatten()
            .filter_map(|user| {
                let hash = hashes.get(user)?.clone();
                let file = cluster.admins.get(user)?.password_file.clone();
                Some((user.clone(), Wanted { hash, file }))
            })
            .collect()
    };
    Ok(nodes
        .iter()
        .map(|node| (node.clone(), of_node(node)))
        .collect())
}

/// Fails if `--user` is no administrator of these nodes.
fn known(
    cluster: &Cluster,
    users: &BTreeSet<&Name>,
    only: &Name,
    lock_removed: bool,
) -> Result<()> {
    if users.contains(only) || lock_removed {
        return Ok(());
    }
    if cluster.admins.contains_key(only) {
        return Err(Error::usage(format!(
            "{only} is an administrator of none of these nodes"
        )));
    }
    let known: Vec<&str> = cluster.admins.keys().map(Name::as_str).collect();
    let what = format!(
        "‘{only}’ is no administrator of the cluster ‘{}’",
        cluster.name
    );
    Err(Error::usage(what).help(name::suggestion(only.as_str(), &known, "administrators")))
}

/// The work on one node.
struct Work {
    node: Name,
    connection: Connection,
    how: Elevation,
    login: Option<Name>,
    plan: Plan,
    folders: BTreeSet<NodePath>,
    _probed: Probed,
}

/// Compares every node with the wanted state. A node that cannot be compared has failed; the others
/// go on.
async fn plan_nodes(
    args: &Args,
    operation: &Operation,
    wanted: &Hashes,
    probed: &mut BTreeMap<Name, Probed>,
    outcomes: &mut Outcomes,
) -> Result<Vec<Work>> {
    let folders = folders(&operation.cluster);
    let mut those = BTreeMap::new();
    for (node, hashes) in wanted {
        if let Some(probed) = probed.remove(node) {
            those.insert(node, (operation.elevation(&probed)?, probed, hashes));
        }
    }
    let mut compared = each(ALL, those, async |node, (how, probed, hashes)| {
        let connection = probed.connection.clone();
        let login = probed.facts.user.parse().ok();
        let admins = operation.cluster.nodes.get(node).map(|node| &node.admins);
        let input = question(admins.into_iter().flatten(), hashes, &folders);
        let plan = async {
            let told = connection
                .ask_root(&how, INSPECT, &[], input.as_bytes())
                .await?;
            let seen = Seen::parse(&told)?;
            seen.tells_of(hashes.keys())?;
            Plan::new(&seen, login.as_ref(), args.user.as_ref(), args.lock_removed)
        };
        let plan = plan.await.map_err(|e| e.on(node))?;
        Ok(Work {
            node: node.clone(),
            connection,
            how,
            login,
            plan,
            folders: folders.clone(),
            _probed: probed,
        })
    });
    let mut works = Vec::new();
    while let Some((node, work)) = compared.next().await {
        match work {
            Ok(work) => works.push(work),
            Err(error) => {
                operation.reporter.failure(&error);
                outcomes.add(&operation.reporter, node.clone(), Err(error.what));
            }
        }
    }
    works.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(works)
}

/// The input of `inspect.sh`.
fn question<'a>(
    admins: impl Iterator<Item = &'a Name>,
    hashes: &BTreeMap<Name, Wanted>,
    folders: &BTreeSet<NodePath>,
) -> zeroize::Zeroizing<String> {
    let mut text = zeroize::Zeroizing::new(String::new());
    for user in admins {
        text.push_str(&format!("admin {user}\n"));
    }
    for (user, wanted) in hashes {
        text.push_str(&format!(
            "hash {user} {} {}\n",
            wanted.hash.expose(),
            wanted.file
        ));
    }
    for folder in folders {
        text.push_str(&format!("folder {folder}\n"));
    }
    text.push_str("end\n");
    text
}

/// The folders of the cluster's password files. A file there that is no administrator's is a former
/// one's.
fn folders(cluster: &Cluster) -> BTreeSet<NodePath> {
    cluster
        .admins
        .iter()
        .filter(|(user, admin)| admin.password_file.as_str().ends_with(&format!("/{user}")))
        .filter_map(|(_, admin)| admin.password_file.folder())
        .collect()
}

/// How to prove each operator's own change.
#[derive(Default)]
struct Proofs {
    /// By login, for those whose own password changes.
    new: BTreeMap<Name, Proof>,
}

impl Proofs {
    /// Before any change, gets the operator's new password where their own changes, and checks it
    /// against the store's hash.
    async fn prepare(
        args: &Args,
        operation: &Operation,
        wanted: &Hashes,
        works: &[Work],
    ) -> Result<Self> {
        let mut proofs = Self::default();
        for work in works {
            let (Some(login), Elevation::Password(current)) = (&work.login, &work.how) else {
                continue;
            };
            if !work.plan.set.contains(login) || proofs.new.contains_key(login) {
                continue;
            }
            let Some(wanted) = wanted.get(&work.node).and_then(|users| users.get(login)) else {
                continue;
            };
            let proof = if args.assume_changed {
                Proof::Login
            } else {
                let new = new_password(args, operation, login, current, &wanted.hash).await?;
                Proof::Root(Elevation::Password(new))
            };
            proofs.new.insert(login.clone(), proof);
        }
        Ok(proofs)
    }

    fn of(&self, work: &Work) -> Proof {
        let own = work
            .login
            .as_ref()
            .filter(|login| work.plan.set.contains(*login));
        own.and_then(|login| self.new.get(login))
            .cloned()
            .unwrap_or_else(|| Proof::Root(work.how.clone()))
    }
}

/// The password that fits the operator's own new hash: the current one, one from standard input, or
/// a typed one.
async fn new_password(
    args: &Args,
    operation: &Operation,
    login: &Name,
    current: &Arc<Secret>,
    hash: &Hash,
) -> Result<Arc<Secret>> {
    let candidate = match (args.stdin, &operation.other_password) {
        (true, Some(new)) => Password::new((**new).clone())?,
        _ => {
            let current = Password::new((**current).clone())?;
            if fits(hash, &current).await? == Some(true) {
                return Ok(Arc::new(current.into_secret()));
            }
            let prompt = format!(
                "new password of {login} on {}, as set by passwd: ",
                operation.cluster.name
            );
            prompt::once(&operation.reporter, prompt).await?
        }
    };
    if fits(hash, &candidate).await? == Some(false) {
        return Err(Error::usage(format!(
            "that is not the password of {login} whose hash is in the store; nothing was changed"
        ))
        .help(format!(
            "set it anew: passwd {} {login}",
            operation.cluster.name
        )));
    }
    Ok(Arc::new(candidate.into_secret()))
}

async fn fits(hash: &Hash, password: &Password) -> Result<Option<bool>> {
    let (hash, password) = (hash.clone(), password.clone());
    tokio::task::spawn_blocking(move || hash.fits(&password))
        .await
        .context(|| "the hashing was cut short".into())
}

/// Changes the nodes, several at once.
async fn execute(
    operation: &Operation,
    wanted: &Hashes,
    works: Vec<Work>,
    proofs: &Proofs,
    outcomes: &mut Outcomes,
) -> Result<()> {
    let none = BTreeMap::new();
    let reporter = &operation.reporter;
    let mut inputs = BTreeMap::new();
    for work in &works {
        let hashes = wanted.get(&work.node).unwrap_or(&none);
        let mut input = work.plan.manifest(hashes, &work.folders)?.encode()?;
        input.extend_from_slice(work.plan.accounts(hashes).as_bytes());
        inputs.insert(&work.node, (work, proofs.of(work), input));
    }
    let mut changed = each(AT_ONCE, inputs, async |_, (work, proof, input)| {
        let done = work.run(&operation.access, reporter, &proof, &input).await;
        Ok((work, done))
    });
    let removed = works.iter().flat_map(|work| {
        let users = work.plan.left.iter();
        users.map(|user| {
            let what =
                "is no administrator any more and keeps a password there; --lock-removed locks it";
            (work.node.clone(), format!("{user} {what}"))
        })
    });
    reporter.warnings(removed);
    while let Some((_, done)) = changed.next().await {
        let (work, done) = done?;
        match done {
            Ok(()) if work.plan.unknown.is_empty() => {
                outcomes.add(reporter, work.node.clone(), Ok(&work.plan));
            }
            Ok(()) => {
                let names: Vec<&str> = work.plan.unknown.iter().map(Name::as_str).collect();
                let what = format!("no account there for {}", names.join(", "));
                let error = Error::new(Exit::Partial, &what)
                    .on(&work.node)
                    .help("the password file is in place: deploy-nixos makes the account with it");
                reporter.failure(&error);
                outcomes.add(reporter, work.node.clone(), Err(what));
            }
            Err(error) => {
                reporter.failure(&error);
                outcomes.add(reporter, work.node.clone(), Err(error.what));
            }
        }
    }
    Ok(())
}

impl Work {
    async fn run(
        &self,
        access: &Access,
        reporter: &Reporter,
        proof: &Proof,
        input: &[u8],
    ) -> Result<()> {
        if self.plan.is_empty() {
            return Ok(());
        }
        reporter.step(&self.node, "changing passwords");
        guard::change(access, &self.connection, &self.how, proof, input).await
    }
}

/// The results of the nodes.
#[derive(Default)]
struct Outcomes {
    nodes: BTreeMap<Name, bool>,
}

impl Outcomes {
    fn add(&mut self, reporter: &Reporter, node: Name, done: Result<&Plan, String>) {
        let ok = done.is_ok();
        let (outcome, data) = match done {
            Ok(plan) => (plan.words(), plan.data()),
            Err(what) => (what, json!({})),
        };
        reporter.emit(Event::Done {
            node: node.clone(),
            ok,
            outcome,
            data,
        });
        self.nodes.insert(node, ok);
    }
}
