//! `rotate-gossip`: replaces the gossip key of Consul or Nomad while the cluster runs.
//!
//! Each agent keeps its keys in a keyring of its own. All agents must hold the new key before one
//! encrypts with it, and all must encrypt with it before one forgets the old key. During a
//! rotation, an entry of the store holds the new key and the old one, one per line. The whole
//! rotation can be repeated from its beginning.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::Daemon;
use crate::cluster::{Cluster, Name, Role};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, count};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::operations::deploy_secrets;
use crate::secret::Secret;
use crate::secrets::keyring::{Act, Held, Keyring};
use crate::secrets::{Value, generate};
use crate::store::pass::Pass;
use crate::store::{self, EntryName, Existing, Store, Writer};
use crate::uplink::api::Api;
use crate::uplink::client::Client;
use crate::uplink::reach::Reach;

/// The arguments of `rotate-gossip`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    reach: Reach,

    /// The daemon whose key to replace
    #[arg(long, value_enum)]
    app: Daemon,
}

/// The secret with which a daemon's agents start for the first time.
pub fn secret(daemon: Daemon) -> Result<Name> {
    Ok(format!("{daemon}-gossip").parse()?)
}

/// The entries of a rotation.
struct Entries {
    /// The key that nodes get.
    key: EntryName,
    /// The new key and the old one, during a rotation.
    both: EntryName,
}

impl Entries {
    fn of(secret: &Name) -> Result<Self> {
        let value = Value {
            secret: secret.clone(),
            node: None,
        };
        let key = value.entry()?;
        let both = format!("{key}-rotation").parse()?;
        Ok(Self { key, both })
    }

    fn all(&self) -> BTreeSet<EntryName> {
        [self.key.clone(), self.both.clone()].into()
    }
}

/// The keys of a rotation.
struct Keys {
    new: Secret,
    old: Secret,
    /// Whether an earlier run began it.
    begun: bool,
}

/// Runs `rotate-gossip`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let title = args.app.title();
    let secret = secret(args.app)?;
    let spec = operation.cluster.secrets.get(&secret);
    let (Some(spec), true) = (spec, args.app.is_enabled(&operation.cluster)) else {
        return Err(Error::usage(format!(
            "the cluster ‘{}’ has no secret ‘{secret}’",
            operation.cluster.name
        )));
    };
    let (spec, nodes) = (spec.clone(), spec.nodes.iter().cloned().collect());
    let store = store::open(&operation.cluster)?;
    let entries = Entries::of(&secret)?;
    reporter.phase("reading the password store");
    let known = stored(&store, &entries).await?;
    let probed = if args.reach.by_ssh() {
        reporter.phase(format!("probing {}", count(spec.nodes.len(), "node")));
        Some(operation.probe(&nodes, true).await?)
    } else {
        None
    };
    let uplink = args.reach.uplink(&operation)?;
    let api = Api::new(Client::new(uplink, args.app));
    let ring = Keyring(&api);
    let agents = agents(&operation.cluster, args.app);

    reporter.phase(format!("asking {title} for its keys"));
    let held = all(&ring, agents).await?;
    let keys = match known {
        Known::Settled(old) => {
            fit(&held, &[&old], &store.place(&entries.key))?;
            let new = generate::generate(&spec, secret.as_str()).await?;
            let keys = Keys {
                new,
                old,
                begun: false,
            };
            begin(&operation.cluster, &store, &entries, &keys).await?;
            keys
        }
        Known::Begun(keys) => {
            let place = store.place(&entries.both);
            fit(&held, &[&keys.new, &keys.old], &place)?;
            reporter.warning(None, "a rotation that was begun before goes on");
            keys
        }
    };
    turn(&ring, agents, Act::Install, &keys, &reporter).await?;
    turn(&ring, agents, Act::Use, &keys, &reporter).await?;
    settle(&operation.cluster, &store, &entries, &keys).await?;
    match probed {
        Some(probed) => {
            reporter.phase("writing the key for new agents");
            let values = [(entries.key.clone(), keys.new.clone())].into();
            let outcomes = deploy_secrets::write(&operation, &values, probed).await?;
            if !outcomes.values().all(|outcome| outcome.ok) {
                return Err(Error::new(
                    Exit::Partial,
                    format!("the new key is in use, and {title} keeps the old one until every node has its file"),
                )
                .help("run it again: it goes on from here"));
            }
        }
        None => reporter.warning(
            None,
            format!("run deploy-secrets {} as well: a node whose {title} is made anew would begin with the old key", operation.cluster.name),
        ),
    }
    turn(&ring, agents, Act::Remove, &keys, &reporter).await?;
    end(&operation.cluster, &store, &entries).await?;
    reporter.emit(Event::Summary {
        text: format!(
            "{} of {title} gossip with the new key alone",
            count(agents, "agent")
        ),
        data: json!({"app": args.app, "agents": agents, "resumed": keys.begun}),
    });
    Ok(())
}

/// The number of agents that gossip: Consul's on all nodes, Nomad's servers.
fn agents(cluster: &Cluster, daemon: Daemon) -> usize {
    let nodes = cluster.nodes.values();
    nodes
        .filter(|node| daemon == Daemon::Consul || node.role == Role::Server)
        .count()
}

/// Reads the agents' keys. All agents must take part: an absent one would keep the old key alone,
/// and never come back.
async fn all(ring: &Keyring<'_>, wanted: usize) -> Result<Held> {
    let held = ring.held().await?;
    match held.agents() {
        there if there < wanted => Err(Error::new(
            Exit::Partial,
            format!("{there} of the {wanted} agents take part: one that is away would be shut out"),
        )
        .help("bring it back, or take its node out of the cluster's files, and run again")),
        _ => Ok(held),
    }
}

/// Fails unless the keyrings have one of the store's keys, and no key that the store lacks.
fn fit(held: &Held, known: &[&Secret], place: &str) -> Result<()> {
    if !known.iter().any(|key| held.everywhere(key)) {
        return Err(
            Error::usage(format!("not every agent has the key of {place}"))
                .help("is it this cluster's store, and is it pulled?"),
        );
    }
    if held.others(known) {
        return Err(
            Error::usage("an agent has a key that the store does not know; nothing was changed")
                .help("has another operator begun a rotation? pull the store. Otherwise remove it by ‘consul keyring’ or ‘nomad operator gossip keyring’"),
        );
    }
    Ok(())
}

/// Carries out one step at every agent, and verifies it.
async fn turn(
    ring: &Keyring<'_>,
    agents: usize,
    act: Act,
    keys: &Keys,
    reporter: &Reporter,
) -> Result<()> {
    let (phase, key) = match act {
        Act::Install => ("giving the new key to every agent", &keys.new),
        Act::Use => ("having every agent use the new key", &keys.new),
        Act::Remove => ("taking the old key from every agent", &keys.old),
    };
    reporter.phase(phase);
    all(ring, agents).await?;
    ring.act(act, key).await?;
    let held = all(ring, agents).await?;
    let done = match act {
        Act::Install => held.everywhere(&keys.new),
        Act::Use => held.in_use(&keys.new),
        Act::Remove => held.everywhere(&keys.new) && !held.others(&[&keys.new]),
    };
    if done {
        Ok(())
    } else {
        Err(
            Error::new(Exit::Partial, format!("{phase}: not every agent did"))
                .help("run it again: it goes on from here"),
        )
    }
}

/// The state in the store.
enum Known {
    /// The key that is in use.
    Settled(Secret),
    /// A rotation is under way.
    Begun(Keys),
}

async fn stored(store: &Pass, entries: &Entries) -> Result<Known> {
    let there = store.list().await?;
    let begun = there.contains(&entries.both);
    let entry = if begun { &entries.both } else { &entries.key };
    if !there.contains(entry) {
        return Err(
            Error::usage(format!("{} is not in the store", store.place(entry))).help(
                "is the store up to date? a cluster that never ran needs no rotation: gen-secrets",
            ),
        );
    }
    let shown = store.show(&[entry.clone()].into()).await?;
    let text = shown.get(entry).map_or("", Secret::expose);
    let mut lines = text.lines().map(|line| Secret::new(line.trim().to_owned()));
    let whole = |key: &Secret| !key.expose().is_empty();
    match (
        begun,
        lines.next().filter(whole),
        lines.next().filter(whole),
    ) {
        (false, Some(key), _) => Ok(Known::Settled(key)),
        (true, Some(new), Some(old)) => Ok(Known::Begun(Keys {
            new,
            old,
            begun: true,
        })),
        _ => Err(Error::usage(format!(
            "{} does not hold what it should",
            store.place(entry)
        ))
        .help("restore it from the store's history: git log")),
    }
}

/// Stores the new key beside the old one, before any agent has it.
async fn begin(cluster: &Cluster, store: &Pass, entries: &Entries, keys: &Keys) -> Result<()> {
    let mut text = String::with_capacity(256);
    for key in [&keys.new, &keys.old] {
        text.push_str(key.expose());
        text.push('\n');
    }
    let mut writer = store.writer().await?;
    let text = Secret::new(text);
    writer.insert(&entries.both, &text, Existing::Keep).await?;
    let message = format!("Begin a rotation of {} of {}", entries.key, cluster.name);
    writer.finish(&entries.all(), &message).await
}

/// Makes the new key the one that nodes get.
async fn settle(cluster: &Cluster, store: &Pass, entries: &Entries, keys: &Keys) -> Result<()> {
    let mut writer = store.writer().await?;
    writer
        .insert(&entries.key, &keys.new, Existing::Replace)
        .await?;
    let message = format!("Use the new {} of {}", entries.key, cluster.name);
    writer.finish(&entries.all(), &message).await
}

/// Removes the old key from the store.
async fn end(cluster: &Cluster, store: &Pass, entries: &Entries) -> Result<()> {
    let mut writer = store.writer().await?;
    writer.remove(&entries.both).await?;
    let message = format!("End the rotation of {} of {}", entries.key, cluster.name);
    writer.finish(&entries.all(), &message).await
}
