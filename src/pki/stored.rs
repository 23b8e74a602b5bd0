//! The store's content of the PKI, parsed and checked.
//!
//! During a replacement, an authority's entries hold several certificates and keys. The first
//! certificate signs, all are trusted, and a key belongs to the certificate that it fits.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

use super::day;
use super::layout::{Holder, PairId};
use super::x509::{Authority, Certificate, Key};
use crate::cluster::Daemon;
use crate::error::{Error, Result};
use crate::store::{EntryName, Store};

/// How far in the future a certificate may begin before the clock counts as wrong.
const CLOCK_DOUBT: Duration = Duration::days(1);

/// The store's content of one pair; either part may be missing.
#[derive(Debug, Default)]
pub struct Held {
    /// The certificates; empty without an entry.
    pub certificates: Vec<Certificate>,
    /// The keys; empty without an entry.
    pub keys: Vec<Key>,
}

impl Held {
    /// The first certificate and the key that fits it; none unless both exist.
    pub fn pair(&self) -> Option<(&Certificate, &Key)> {
        let certificate = self.certificates.first()?;
        Some((
            certificate,
            self.keys.iter().find(|key| key.fits(certificate))?,
        ))
    }
}

/// The store's content of a cluster's PKI.
#[derive(Debug, Default)]
pub struct Stored {
    pairs: BTreeMap<PairId, Held>,
}

impl Stored {
    /// Reads the existing ones of `pairs`. Errors name everything that cannot be read.
    pub async fn read(store: &impl Store, pairs: &[PairId]) -> Result<Self, Vec<Error>> {
        let fail = |error| vec![error];
        let there = store.list().await.map_err(fail)?;
        let mut entries = BTreeSet::new();
        for pair in pairs {
            for entry in [pair.certificate().map_err(fail)?, pair.key().map_err(fail)?] {
                if there.contains(&entry) {
                    entries.insert(entry);
                }
            }
        }
        let values = store.show(&entries).await.map_err(fail)?;
        let mut stored = Self::default();
        let mut errors = Vec::new();
        for pair in pairs {
            let mut held = Held::default();
            let value = |entry: Result<EntryName>| {
                let entry = entry.ok()?;
                values.get(&entry).map(|value| (value, store.place(&entry)))
            };
            if let Some((text, place)) = value(pair.certificate()) {
                match Certificate::read_all(text.expose(), &place) {
                    Ok(certificates) => held.certificates = certificates,
                    Err(error) => errors.push(error),
                }
            }
            if let Some((text, place)) = value(pair.key()) {
                match Key::read_all(text, &place) {
                    Ok(keys) => held.keys = keys,
                    Err(error) => errors.push(error),
                }
            }
            stored.pairs.insert(pair.clone(), held);
        }
        if errors.is_empty() {
            Ok(stored)
        } else {
            Err(errors)
        }
    }

    /// The content of a pair.
    pub fn held(&self, pair: &PairId) -> &Held {
        static NOTHING: Held = Held {
            certificates: Vec::new(),
            keys: Vec::new(),
        };
        self.pairs.get(pair).unwrap_or(&NOTHING)
    }

    /// Adds what was just made, and returns what was there.
    pub fn put(&mut self, pair: PairId, held: Held) -> Option<Held> {
        self.pairs.insert(pair, held)
    }

    /// All pairs that were read.
    pub fn iter(&self) -> impl Iterator<Item = (&PairId, &Held)> {
        self.pairs.iter()
    }

    /// The certificates that all agents of a daemon should trust.
    pub fn trusted(&self, daemon: Daemon) -> &[Certificate] {
        &self.held(&PairId::authority(daemon)).certificates
    }

    /// The authority that signs for a daemon.
    pub fn authority(&self, daemon: Daemon) -> Option<Authority<'_>> {
        let (certificate, key) = self.held(&PairId::authority(daemon)).pair()?;
        Some(Authority { certificate, key })
    }

    /// All trusted authorities of a daemon whose keys the store has: two during a replacement.
    pub fn authorities(&self, daemon: Daemon) -> Vec<Authority<'_>> {
        let held = self.held(&PairId::authority(daemon));
        let certificates = held.certificates.iter();
        certificates
            .filter_map(|certificate| {
                let key = held.keys.iter().find(|key| key.fits(certificate))?;
                Some(Authority { certificate, key })
            })
            .collect()
    }

    /// The authority that is no longer trusted, while the store still has its key to prove that.
    /// None if an interrupted step has stored it but left it trusted.
    pub fn retired(&self, daemon: Daemon) -> Option<Authority<'_>> {
        let certificate = self
            .held(&PairId {
                daemon,
                holder: Holder::Retired,
            })
            .certificates
            .first()?;
        if self.trusted(daemon).contains(certificate) {
            return None;
        }
        let keys = &self.held(&PairId::authority(daemon)).keys;
        let key = keys.iter().find(|key| key.fits(certificate))?;
        Some(Authority { certificate, key })
    }

    /// What is wrong with a stored pair; none if nothing is.
    pub fn fault(&self, pair: &PairId, now: OffsetDateTime) -> Option<Error> {
        let held = self.held(pair);
        let certificate = held.certificates.first()?;
        let error =
            |what: String, help: &str| Some(Error::usage(format!("{pair}.crt {what}")).help(help));
        if held.keys.is_empty() {
            return error(
                "is in the store, but its key is not".into(),
                "restore the key from a backup or the store’s history; if it is lost, remove the certificate too: pass rm",
            );
        }
        if held.pair().is_none() {
            return error(
                format!("does not fit the key {pair}.key"),
                "restore the one that was replaced from the store’s history: git log",
            );
        }
        if certificate.not_before > now + CLOCK_DOUBT {
            return error(
                format!(
                    "begins on {}, and this machine’s clock says {}",
                    day(certificate.not_before),
                    day(now)
                ),
                "set the clock",
            );
        }
        if certificate.not_after < now {
            return error(
                format!("ended on {}", day(certificate.not_after)),
                match pair.holder {
                    Holder::Authority => {
                        "nothing can be signed with it, and rotate-ca cannot begin: remove it and what it signed from the store (pass rm), then gen-pki, and deploy-pki --replace-authority --unhealthy"
                    }
                    _ => "make this year’s certificates: gen-pki",
                },
            );
        }
        let authority = pair.holder == Holder::Authority;
        if certificate.authority != authority {
            return error(
                if authority {
                    "is no authority’s certificate".into()
                } else {
                    "is an authority’s certificate".into()
                },
                "restore the right one from the store’s history: git log",
            );
        }
        if !authority
            && !self
                .trusted(pair.daemon)
                .iter()
                .any(|ca| certificate.signed_by(ca))
        {
            return error(
                format!("is not signed by {}-ca", pair.daemon),
                "was the authority replaced? remove the pair (pass rm) and run gen-pki",
            );
        }
        None
    }
}
