//! `rotate-ca`: replaces an authority while the cluster runs. The store itself shows the stage:
//!
//! | `<daemon>-ca.crt` | `<daemon>-ca.key` | stage |
//! |---|---|---|
//! | old | old | settled |
//! | old, new | old, new | trusting: both are trusted, the old one signs |
//! | new, old | new, old | signing: both are trusted, the new one signs |
//! | new | new, old | dropping: `<daemon>-ca-retired.crt` says what must be refused |
//!
//! The first certificate is the one that signs. A key is always written before
//! the certificate that needs it and removed after it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use time::OffsetDateTime;

use crate::cluster::Daemon;
use crate::cluster::{Cluster, Name};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, count};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::pki::deploy::{bring, finish, load, members};
use crate::pki::generate::{all, chosen};
use crate::pki::layout::{Holder, PairId};
use crate::pki::member::{Member, Work};
use crate::pki::rollout::Care;
use crate::pki::spec::Spec;
use crate::pki::stored::{Held, Stored};
use crate::pki::x509::{Certificate, Key};
use crate::pki::{Year, files};
use crate::secret::Secret;
use crate::store::{self, EntryName, Existing, Store, Writer};

/// The arguments of `rotate-ca`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The daemon whose authority to replace
    #[arg(long, value_enum)]
    app: Daemon,

    /// The step to take [default: none; print the next one]
    #[arg(long, value_enum)]
    step: Option<Step>,

    /// The year whose certificates the nodes use [default: this one]
    #[arg(long, value_name = "YEAR")]
    year: Option<i32>,

    /// Leave out this node: it cannot take part in the cluster until deploy-pki updates it; may be
    /// repeated
    #[arg(long, value_name = "NODE")]
    without: Vec<Name>,

    #[command(flatten)]
    care: Care,
}

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// Make a new authority, which all nodes trust beside the old one
    Trust,
    /// Sign all certificates anew
    Leaves,
    /// Let nodes forget the old authority
    Drop,
}

impl Step {
    const fn word(self) -> &'static str {
        match self {
            Step::Trust => "trust",
            Step::Leaves => "leaves",
            Step::Drop => "drop",
        }
    }
}

/// The stage of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is one authority.
    Settled,
    /// Nodes learn to trust both; the old one signs.
    Trusting,
    /// Both are trusted; the new one signs.
    Signing,
    /// Nodes forget the old one.
    Dropping,
}

impl Stage {
    /// The stage that the store shows.
    pub fn of(stored: &Stored, daemon: Daemon) -> Self {
        let held = stored.held(&PairId::authority(daemon));
        match held.certificates.as_slice() {
            [first, second, ..] if first.not_before < second.not_before => Stage::Trusting,
            [_, _, ..] => Stage::Signing,
            _ if stored.retired(daemon).is_some() => Stage::Dropping,
            _ => Stage::Settled,
        }
    }

    /// The step that is under way in this stage, and may be repeated.
    const fn current(self) -> Option<Step> {
        match self {
            Stage::Settled => None,
            Stage::Trusting => Some(Step::Trust),
            Stage::Signing => Some(Step::Leaves),
            Stage::Dropping => Some(Step::Drop),
        }
    }

    /// The next step.
    const fn next(self) -> Step {
        match self {
            Stage::Settled => Step::Trust,
            Stage::Trusting => Step::Leaves,
            Stage::Signing | Stage::Dropping => Step::Drop,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Stage::Settled => "one authority is trusted; no rotation is under way",
            Stage::Trusting => "two authorities are to be trusted, the old one signs",
            Stage::Signing => "two authorities are trusted, the new one signs",
            Stage::Dropping => "the old authority is to be trusted no more",
        }
    }
}

/// Runs `rotate-ca`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let now = OffsetDateTime::now_utc();
    let year = Year::choose(args.year, now)?;
    let daemon = args.app;
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    chosen(&operation.cluster, Some(daemon))?;
    let daemons = concerned(&operation.cluster, daemon);
    let nodes = taking_part(&operation.cluster, &args.without)?;
    let work = load(&operation, &daemons, year, now).await?;
    let stage = Stage::of(&work.stored, daemon);
    let Some(step) = args.step else {
        tell(&reporter, &operation.cluster.name, daemon, stage);
        return Ok(());
    };
    if stage.current() != Some(step) && stage.next() != step {
        let what = format!("the step {} is not due: {}", step.word(), stage.words());
        return Err(
            Error::usage(what).help(format!("the next one is --step {}", stage.next().word()))
        );
    }
    let members = members(&mut operation, &nodes).await?;
    if stage.current() != Some(step) {
        reporter.phase("verifying every node before anything changes");
        verify(&work, &members, daemon, &daemons, &reporter).await?;
        change_store(&operation, daemon, step, &reporter).await?;
    } else if step == Step::Leaves {
        // After an interruption, some certificates may still be the old authority's.
        change_store(&operation, daemon, step, &reporter).await?;
    }
    let work = load(&operation, &daemons, year, now).await?;
    let results = bring(&work, &members, &daemons, &reporter, args.care, false).await?;
    if results.failed.is_empty() {
        reporter.phase("verifying every node");
        verify(&work, &members, daemon, &daemons, &reporter).await?;
        if step == Step::Drop {
            forget(&operation, daemon).await?;
        }
    }
    let (summary, result) = finish(&reporter, &nodes, &results);
    reporter.emit(summary.into());
    result?;
    let store = store::open(&operation.cluster)?;
    let stored = Stored::read(&store, &authorities(daemon))
        .await
        .map_err(|errors| all(&reporter, errors))?;
    let stage = Stage::of(&stored, daemon);
    tell(&reporter, &operation.cluster.name, daemon, stage);
    Ok(())
}

fn tell(reporter: &Reporter, cluster: &Name, daemon: Daemon, stage: Stage) {
    let next = stage.next().word();
    let begin = match stage {
        Stage::Settled => "to begin one",
        _ => "next",
    };
    let command = format!("nix run .#rotate-ca -- {cluster} --app {daemon} --step {next}");
    reporter.emit(Event::Summary {
        text: format!(
            "{}: {}\n{begin}:\n  {command}",
            daemon.title(),
            stage.words()
        ),
        data: json!({"app": daemon, "next": next, "rotating": stage != Stage::Settled}),
    });
}

/// The daemons whose files include an authority.
fn concerned(cluster: &Cluster, daemon: Daemon) -> Vec<Daemon> {
    let all = Daemon::ALL.into_iter();
    all.filter(|of| {
        chosen(cluster, Some(*of)).is_ok() && files::authorities(cluster, *of).contains(&daemon)
    })
    .collect()
}

fn taking_part(cluster: &Cluster, without: &[Name]) -> Result<BTreeSet<Name>> {
    if let Some(strange) = without
        .iter()
        .find(|name| !cluster.nodes.contains_key(*name))
    {
        return Err(Error::usage(format!(
            "the cluster ‘{}’ has no node ‘{strange}’",
            cluster.name
        )));
    }
    let nodes: BTreeSet<Name> = cluster
        .nodes
        .keys()
        .filter(|name| !without.contains(name))
        .cloned()
        .collect();
    if nodes.is_empty() {
        Err(Error::usage("no node is left"))
    } else {
        Ok(nodes)
    }
}

/// Fails unless every node has, serves and trusts what the store says.
async fn verify(
    work: &Work,
    members: &[Member],
    daemon: Daemon,
    daemons: &[Daemon],
    reporter: &Reporter,
) -> Result<()> {
    let looked = join_all(
        members
            .iter()
            .map(|member| async move { (member, member.behind(work, daemon, daemons).await) }),
    );
    let mut behind = 0;
    for (member, looked) in looked.await {
        let why = match looked {
            Ok(None) => continue,
            Ok(Some(why)) => Error::new(Exit::Partial, why).on(&member.name),
            Err(error) => error,
        };
        reporter.failure(&why);
        behind += 1;
    }
    match behind {
        0 => Ok(()),
        _ => Err(Error::new(Exit::Partial, format!("{} not ready; the rotation stays where it is, and the cluster works", count(behind, "node")))
            .help("take the step before again, or run deploy-pki; a node that is gone for good is left out by --without")),
    }
}

fn all_entries(names: &[PairId]) -> Result<BTreeSet<EntryName>> {
    names
        .iter()
        .flat_map(|pair| [pair.certificate(), pair.key()])
        .collect()
}

/// The authority of a daemon, and the one that it replaced.
fn authorities(daemon: Daemon) -> [PairId; 2] {
    let retired = PairId {
        daemon,
        holder: Holder::Retired,
    };
    [PairId::authority(daemon), retired]
}

/// Reads the authority of a daemon, and everything that it signed.
async fn read(store: &impl Store, daemon: Daemon) -> Result<Stored, Vec<Error>> {
    let names = store.list().await.map_err(|error| vec![error])?;
    let mut pairs = authorities(daemon).to_vec();
    let stems = names
        .iter()
        .filter_map(|name| name.as_str().strip_suffix(".crt"));
    pairs.extend(stems.filter_map(|stem| PairId::parse(daemon, stem)));
    Stored::read(store, &pairs).await
}

async fn change_store(
    operation: &Operation,
    daemon: Daemon,
    step: Step,
    reporter: &Reporter,
) -> Result<()> {
    let store = store::open(&operation.cluster)?;
    let mut writer = store.writer().await?;
    let stored = read(&store, daemon)
        .await
        .map_err(|errors| all(reporter, errors))?;
    let names: Vec<PairId> = stored.iter().map(|(pair, _)| pair.clone()).collect();
    change(
        &operation.cluster,
        daemon,
        step,
        &stored,
        &mut writer,
        OffsetDateTime::now_utc(),
    )
    .await?;
    let message = format!(
        "Rotate the authority of {} of {}: {}",
        daemon.title(),
        operation.cluster.name,
        step.word()
    );
    writer.finish(&all_entries(&names)?, &message).await
}

/// Changes the store for a step. After any interruption it can be repeated.
pub async fn change(
    cluster: &Cluster,
    daemon: Daemon,
    step: Step,
    stored: &Stored,
    writer: &mut impl Writer,
    now: OffsetDateTime,
) -> Result<()> {
    let authority = PairId::authority(daemon);
    let held = stored.held(&authority);
    let missing = || Error::usage(format!("{authority} is not whole in the store"));
    let (current, current_key) = held.pair().ok_or_else(missing)?;
    match step {
        Step::Trust => {
            // A key without a certificate is from an interrupted run.
            let unused = |key: &&Key| !held.certificates.iter().any(|c| key.fits(c));
            let fresh;
            let made = match held.keys.iter().find(unused) {
                Some(key) => key,
                None => {
                    fresh = Key::generate()?;
                    replace(writer, &authority.key()?, keys(&[current_key, &fresh])).await?;
                    &fresh
                }
            };
            let new = made.self_signed(&Spec::of(cluster, &authority), Some(current), now)?;
            replace(
                writer,
                &authority.certificate()?,
                certificates(&[current, &new]),
            )
            .await
        }
        Step::Leaves => {
            let [first, second, ..] = held.certificates.as_slice() else {
                return Err(missing());
            };
            let (old, new) = if first.not_before < second.not_before {
                (first, second)
            } else {
                (second, first)
            };
            let key = |certificate: &Certificate| {
                held.keys
                    .iter()
                    .find(|key| key.fits(certificate))
                    .ok_or_else(missing)
            };
            if new != first {
                replace(writer, &authority.key()?, keys(&[key(new)?, key(old)?])).await?;
                replace(writer, &authority.certificate()?, certificates(&[new, old])).await?;
            }
            let signer = crate::pki::x509::Authority {
                certificate: new,
                key: key(new)?,
            };
            for (pair, leaf) in stored.iter().filter(|(pair, _)| !pair.holder.authority()) {
                let Some((certificate, own)) = leaf.pair() else {
                    continue;
                };
                if certificate.valid_at(now) && !certificate.signed_by(new) {
                    let anew = signer.sign(&Spec::of(cluster, pair), own, now)?;
                    replace(writer, &pair.certificate()?, certificates(&[&anew])).await?;
                }
            }
            Ok(())
        }
        Step::Drop => {
            let Some(old) = held.certificates.get(1) else {
                return Ok(());
            };
            if let Some((pair, _)) = stored.iter().find(|(pair, leaf)| {
                !pair.holder.authority()
                    && leaf
                        .certificates
                        .iter()
                        .any(|c| c.valid_at(now) && !c.signed_by(current))
            }) {
                return Err(
                    Error::usage(format!("{pair}.crt is still the old authority’s"))
                        .help("take the step before again: --step leaves"),
                );
            }
            let retired = PairId {
                daemon,
                holder: Holder::Retired,
            };
            replace(writer, &retired.certificate()?, certificates(&[old])).await?;
            replace(writer, &authority.certificate()?, certificates(&[current])).await
        }
    }
}

/// Removes the old authority's key once every node refuses it.
async fn forget(operation: &Operation, daemon: Daemon) -> Result<()> {
    let store = store::open(&operation.cluster)?;
    let mut writer = store.writer().await?;
    let stored = read(&store, daemon)
        .await
        .map_err(|errors| all(&operation.reporter, errors))?;
    let (authority, retired) = (
        PairId::authority(daemon),
        PairId {
            daemon,
            holder: Holder::Retired,
        },
    );
    let Held { keys: own, .. } = stored.held(&authority);
    if let (Some((_, key)), 2..) = (stored.held(&authority).pair(), own.len()) {
        replace(&mut writer, &authority.key()?, keys(&[key])).await?;
    }
    writer.remove(&retired.certificate()?).await?;
    let message = format!(
        "Rotate the authority of {} of {}: done",
        daemon.title(),
        operation.cluster.name
    );
    writer
        .finish(&all_entries(&[authority, retired])?, &message)
        .await
}

async fn replace(writer: &mut impl Writer, name: &EntryName, text: Secret) -> Result<()> {
    writer.insert(name, &text, Existing::Replace).await
}

fn keys(keys: &[&Key]) -> Secret {
    let mut text = String::with_capacity(keys.iter().map(|key| key.pem().expose().len() + 1).sum());
    for key in keys {
        text.push_str(key.pem().expose());
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Secret::new(text)
}

fn certificates(certificates: &[&Certificate]) -> Secret {
    Secret::new(
        certificates
            .iter()
            .map(|certificate| certificate.pem())
            .collect(),
    )
}
