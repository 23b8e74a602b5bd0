//! The plan of `gen-pki`: a value, computed from the store's content.

use time::OffsetDateTime;

use super::layout::{Holder, PairId};
use super::spec::Spec;
use super::stored::Stored;
use super::x509::Certificate;
use super::{WARNING_DAYS, Year, day};
use crate::cluster::Cluster;
use crate::cluster::Daemon;
use crate::error::Error;
use crate::event::count;

/// A pair to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Make {
    pub pair: PairId,
    /// Whether its key exists, from an interrupted run.
    pub key_exists: bool,
}

/// What a run would make, in order, and its warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Missing pairs; an authority comes before what it signs.
    pub make: Vec<Make>,
    /// Complete pairs.
    pub complete: Vec<PairId>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
}

/// Compares what a cluster needs with what the store holds. Errors are those that `gen-pki`
/// refuses.
pub fn plan(
    cluster: &Cluster,
    daemons: &[Daemon],
    year: Year,
    stored: &Stored,
    now: OffsetDateTime,
) -> Result<Plan, Vec<Error>> {
    let mut plan = Plan::default();
    let mut errors = Vec::new();
    for daemon in daemons {
        let wanted = PairId::wanted(cluster, *daemon, year);
        let mut missing = Vec::new();
        for pair in wanted {
            let held = stored.held(&pair);
            if held.certificates.is_empty() {
                missing.push(Make {
                    key_exists: !held.keys.is_empty(),
                    pair,
                });
                continue;
            }
            match stored.fault(&pair, now) {
                Some(error) => errors.push(error),
                None => {
                    plan.warnings
                        .extend(deviation(cluster, &pair, &held.certificates[0]));
                    plan.complete.push(pair);
                }
            }
        }
        errors.extend(orphans(*daemon, &missing, stored));
        plan.make.extend(missing);
    }
    plan.warnings.extend(ending(stored, now));
    if errors.is_empty() {
        Ok(plan)
    } else {
        Err(errors)
    }
}

/// A new authority beside certificates of a former one would break the cluster.
fn orphans(daemon: Daemon, missing: &[Make], stored: &Stored) -> Option<Error> {
    let authority = PairId::authority(daemon);
    if !missing.iter().any(|make| make.pair == authority) {
        return None;
    }
    let (pair, _) = stored.iter().find(|(pair, held)| {
        pair.daemon == daemon && **pair != authority && !held.certificates.is_empty()
    })?;
    Some(
        Error::usage(format!("{authority}.crt is not in the store, but {pair}.crt, which it should have signed, is"))
            .help("restore the authority from a backup or the store’s history, or remove what it signed: pass rm"),
    )
}

/// How a stored certificate differs from one that would be made today.
fn deviation(cluster: &Cluster, pair: &PairId, certificate: &Certificate) -> Option<String> {
    if pair.holder == Holder::Authority {
        return None;
    }
    let spec = Spec::of(cluster, pair);
    let missing: Vec<&str> = spec
        .dns
        .difference(&certificate.dns)
        .map(String::as_str)
        .collect();
    let needless: Vec<&str> = certificate
        .dns
        .difference(&spec.dns)
        .map(String::as_str)
        .collect();
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("lacks {}", missing.join(", ")));
    }
    if !needless.is_empty() {
        parts.push(format!("has {} besides", needless.join(", ")));
    }
    if parts.is_empty() {
        None
    } else {
        Some(format!(
            "{pair}.crt {}: to make it anew, remove the pair first (pass rm)",
            parts.join(" and ")
        ))
    }
}

/// Warnings of certificates that end soon.
pub fn ending(stored: &Stored, now: OffsetDateTime) -> Vec<String> {
    let held = stored
        .iter()
        .flat_map(|(pair, held)| held.certificates.iter().map(move |c| (pair, c)));
    held.filter(|(_, certificate)| {
        certificate.valid_at(now) && certificate.days_left(now) < WARNING_DAYS
    })
    .map(|(pair, certificate)| {
        let what = match pair.holder {
            Holder::Authority => "replace it with rotate-ca",
            _ => "make next year’s with gen-pki, then run deploy-pki",
        };
        format!(
            "{pair}.crt ends in {}, on {}: {what}",
            count(certificate.days_left(now), "day"),
            day(certificate.not_after)
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;
    use crate::pki::stored::Held;
    use crate::pki::x509::{Authority, Key};
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 15:00 UTC);
    const YEAR: Year = Year::new(2026);

    fn authority(daemon: Daemon) -> Held {
        let key = Key::generate().unwrap();
        let certificate = key
            .self_signed(&Spec::of(&example(), &PairId::authority(daemon)), None, NOW)
            .unwrap();
        Held {
            certificates: vec![certificate],
            keys: vec![key],
        }
    }

    /// A whole PKI.
    fn complete() -> Stored {
        let mut stored = Stored::default();
        for daemon in Daemon::ALL {
            stored.put(PairId::authority(daemon), authority(daemon));
            for pair in PairId::wanted(&example(), daemon, YEAR).into_iter().skip(1) {
                let key = Key::generate().unwrap();
                let certificate = stored
                    .authority(daemon)
                    .unwrap()
                    .sign(&Spec::of(&example(), &pair), &key, NOW)
                    .unwrap();
                stored.put(
                    pair,
                    Held {
                        certificates: vec![certificate],
                        keys: vec![key],
                    },
                );
            }
        }
        stored
    }

    /// Takes a pair away.
    fn take(stored: &mut Stored, pair: &PairId) -> Held {
        stored.put(pair.clone(), Held::default()).unwrap()
    }

    fn planned(stored: &Stored, now: OffsetDateTime) -> Result<Plan, Vec<Error>> {
        plan(&example(), &Daemon::ALL, YEAR, stored, now)
    }

    #[test]
    fn an_empty_store_needs_everything_with_the_authority_first() {
        let plan = planned(&Stored::default(), NOW).unwrap();
        let names: Vec<String> = plan.make.iter().map(|make| make.pair.stem()).collect();
        assert_eq!(
            names,
            [
                "consul-ca",
                "consul2026",
                "consul2026-agent",
                "consul2026-client",
                "nomad-ca",
                "nomad2026",
                "nomad2026-agent",
                "nomad2026-client"
            ]
        );
        assert!(plan.make.iter().all(|make| !make.key_exists));
    }

    #[test]
    fn a_complete_store_needs_nothing() {
        let plan = planned(&complete(), NOW).unwrap();
        assert_eq!(
            (plan.make.len(), plan.complete.len(), plan.warnings.len()),
            (0, 8, 0)
        );
    }

    #[test]
    fn a_key_without_its_certificate_is_completed() {
        let mut stored = complete();
        let pair = PairId::operator(Daemon::Nomad, YEAR);
        let held = take(&mut stored, &pair);
        stored.put(
            pair.clone(),
            Held {
                certificates: vec![],
                keys: held.keys,
            },
        );
        assert_eq!(
            planned(&stored, NOW).unwrap().make,
            [Make {
                pair,
                key_exists: true
            }]
        );
    }

    #[test]
    fn a_certificate_without_its_key_is_an_error() {
        let mut stored = complete();
        let pair = PairId::authority(Daemon::Consul);
        let held = take(&mut stored, &pair);
        stored.put(
            pair,
            Held {
                certificates: held.certificates,
                keys: vec![],
            },
        );
        let errors = planned(&stored, NOW).unwrap_err();
        assert!(
            errors[0]
                .what
                .contains("consul-ca.crt is in the store, but its key is not"),
            "{errors:?}"
        );
    }

    #[test]
    fn no_authority_is_made_beside_certificates_of_a_lost_one() {
        let mut stored = complete();
        take(&mut stored, &PairId::authority(Daemon::Nomad));
        let errors = planned(&stored, NOW).unwrap_err();
        assert!(
            errors.iter().any(|e| e
                .what
                .starts_with("nomad-ca.crt is not in the store, but nomad2026")),
            "{errors:?}"
        );
    }

    #[test]
    fn a_pair_whose_halves_do_not_fit_is_an_error() {
        let mut stored = complete();
        let pair = PairId::operator(Daemon::Consul, YEAR);
        let held = take(&mut stored, &pair);
        stored.put(
            pair,
            Held {
                certificates: held.certificates,
                keys: vec![Key::generate().unwrap()],
            },
        );
        assert!(
            planned(&stored, NOW).unwrap_err()[0]
                .what
                .contains("does not fit the key")
        );
    }

    #[test]
    fn certificates_of_another_authority_are_an_error() {
        let mut stored = complete();
        stored.put(PairId::authority(Daemon::Consul), authority(Daemon::Consul));
        assert_eq!(planned(&stored, NOW).unwrap_err().len(), 3);
    }

    #[test]
    fn an_authority_that_ended_signs_nothing() {
        let late = NOW + Duration::days(3651);
        let errors = planned(&complete(), late).unwrap_err();
        assert!(
            errors
                .iter()
                .any(|e| e.what.starts_with("consul-ca.crt ended on 2036-11-19")),
            "{errors:?}"
        );
    }

    #[test]
    fn a_clock_before_the_certificates_is_doubted() {
        let errors = planned(&complete(), datetime!(2016-11-22 15:00 UTC)).unwrap_err();
        assert!(
            errors[0]
                .what
                .contains("this machine’s clock says 2016-11-22"),
            "{errors:?}"
        );
    }

    #[test]
    fn what_ends_within_sixty_days_is_warned_of() {
        let stored = complete();
        assert_eq!(
            planned(&stored, NOW + Duration::days(640))
                .unwrap()
                .warnings,
            Vec::<String>::new()
        );
        let warnings = planned(&stored, NOW + Duration::days(641))
            .unwrap()
            .warnings;
        assert_eq!(warnings.len(), 6);
        assert!(
            warnings[0].starts_with("consul2026.crt ends in 59 days, on 2028-10-22"),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_certificate_with_other_names_than_wanted_is_warned_of() {
        let mut stored = complete();
        let key = Key::generate().unwrap();
        let agents = PairId {
            daemon: Daemon::Consul,
            holder: Holder::Agents(YEAR),
        };
        let servers = Spec::of(
            &example(),
            &PairId {
                daemon: Daemon::Consul,
                holder: Holder::Servers(YEAR),
            },
        );
        let Authority {
            certificate,
            key: signing,
        } = stored.authority(Daemon::Consul).unwrap();
        let made = Authority {
            certificate,
            key: signing,
        }
        .sign(&servers, &key, NOW)
        .unwrap();
        stored.put(
            agents,
            Held {
                certificates: vec![made],
                keys: vec![key],
            },
        );
        let warnings = planned(&stored, NOW).unwrap().warnings;
        assert!(
            warnings[0].starts_with(
                "consul2026-agent.crt lacks client.prod.consul and has alder.server.prod.consul"
            ),
            "{warnings:?}"
        );
    }
}
