//! Makes missing pairs, and touches no existing one.

use std::collections::BTreeSet;

use serde_json::json;
use time::OffsetDateTime;

use super::layout::PairId;
use super::plan::{self, Make};
use super::spec::Spec;
use super::stored::{Held, Stored};
use super::x509::Key;
use super::{Year, day};
use crate::cluster::Cluster;
use crate::cluster::Daemon;
use crate::error::{Error, Result};
use crate::event::{Event, Reporter, Summary, count};
use crate::secret::Secret;
use crate::store::{EntryName, Existing, Store, Writer};

/// The daemons of a run: the one asked for, or all that the cluster runs.
pub fn chosen(cluster: &Cluster, asked: Option<Daemon>) -> Result<Vec<Daemon>> {
    match asked {
        None => Ok(cluster.daemons()),
        Some(daemon) if daemon.is_enabled(cluster) => Ok(vec![daemon]),
        Some(daemon) => Err(
            Error::usage(format!("{} has no {}", cluster.name, daemon.title()))
                .help(format!("set cluster.{daemon}.enable in its cluster.nix")),
        ),
    }
}

/// Makes what is missing in `store`, under its lock all the time. Returns what it made, not reported
/// yet, and whether that is anything.
pub async fn generate<S: Store>(
    cluster: &Cluster,
    daemons: &[Daemon],
    year: Year,
    store: &S,
    reporter: &Reporter,
    now: OffsetDateTime,
) -> Result<(Summary, bool)> {
    let mut writer = store.writer().await?;
    let pairs: Vec<PairId> = daemons
        .iter()
        .flat_map(|daemon| PairId::wanted(cluster, *daemon, year))
        .collect();
    reporter.phase("reading the store");
    let mut stored = Stored::read(store, &pairs)
        .await
        .map_err(|errors| all(reporter, errors))?;
    let plan =
        plan::plan(cluster, daemons, year, &stored, now).map_err(|errors| all(reporter, errors))?;
    for warning in &plan.warnings {
        reporter.warning(None, warning);
    }
    if !plan.make.is_empty() {
        reporter.phase(format!("making {}", count(plan.make.len(), "certificate")));
    }
    for make in &plan.make {
        let until = create(cluster, make, &mut stored, &mut writer, now).await?;
        let made = if make.key_exists {
            "made for the key that was there"
        } else {
            "made"
        };
        reporter.emit(Event::Log {
            node: None,
            line: format!("{}.crt {made}, valid until {}", make.pair, day(until)),
        });
    }
    let entries = pairs
        .iter()
        .flat_map(|pair| [pair.certificate(), pair.key()])
        .collect::<Result<BTreeSet<EntryName>>>()?;
    let message = format!("Add certificates of {} for {year}", cluster.name);
    writer.finish(&entries, &message).await?;
    let names =
        |pairs: &mut dyn Iterator<Item = &PairId>| pairs.map(PairId::stem).collect::<Vec<_>>();
    let summary = Summary {
        text: if plan.make.is_empty() {
            format!(
                "nothing to do: {} of {year} are there",
                count(plan.complete.len(), "certificate")
            )
        } else {
            format!(
                "{} made, {} there already",
                plan.make.len(),
                plan.complete.len()
            )
        },
        data: json!({
            "year": year,
            "made": names(&mut plan.make.iter().map(|make| &make.pair)),
            "unchanged": names(&mut plan.complete.iter()),
            "warnings": plan.warnings,
        }),
    };
    Ok((summary, !plan.make.is_empty()))
}

/// Makes one pair. The key is stored before its certificate is made, so no interruption leaves a
/// certificate without its key.
async fn create(
    cluster: &Cluster,
    make: &Make,
    stored: &mut Stored,
    writer: &mut impl Writer,
    now: OffsetDateTime,
) -> Result<OffsetDateTime> {
    let pair = &make.pair;
    let key = match stored.held(pair).keys.first() {
        Some(key) => Key::read_all(key.pem(), &pair.stem())?.into_iter().next(),
        None => None,
    };
    let key = match key {
        Some(key) => key,
        None => {
            let key = Key::generate()?;
            writer
                .insert(&pair.key()?, key.pem(), Existing::Keep)
                .await?;
            key
        }
    };
    let spec = Spec::of(cluster, pair);
    let certificate = if *pair == PairId::authority(pair.daemon) {
        key.self_signed(&spec, None, now)?
    } else {
        let authority = stored.authority(pair.daemon);
        let authority = authority
            .ok_or_else(|| Error::unexpected(format!("{}-ca cannot sign", pair.daemon)))?;
        authority.sign(&spec, &key, now)?
    };
    let text = Secret::new(certificate.pem());
    writer
        .insert(&pair.certificate()?, &text, Existing::Keep)
        .await?;
    let until = certificate.not_after;
    stored.put(
        pair.clone(),
        Held {
            certificates: vec![certificate],
            keys: vec![key],
        },
    );
    Ok(until)
}

/// Reports all errors, and returns the one that ends the run.
pub fn all(reporter: &Reporter, errors: Vec<Error>) -> Error {
    let exit = errors.iter().map(|error| error.exit).max();
    let mut errors = errors.into_iter();
    match (errors.next(), errors.len()) {
        (Some(only), 0) => only,
        (Some(first), more) => {
            reporter.failure(&first);
            errors.for_each(|error| reporter.failure(&error));
            Error::usage(format!(
                "the store has {}; nothing was changed",
                count(more + 1, "fault")
            ))
            .exit(exit.unwrap_or(first.exit))
        }
        (None, _) => Error::unexpected("something is wrong with the store"),
    }
}
