//! Whether a store's authority may replace the one that a node trusts.
//!
//! The store may be another cluster's, or not pulled. Nodes that trust another authority refuse
//! whatever it signed, so this is checked before any file is written.

use std::collections::{BTreeMap, BTreeSet};

use super::day;
use super::files;
use super::member::Work;
use super::node::State;
use super::x509::Certificate;
use crate::cluster::Daemon;
use crate::cluster::Name;
use crate::error::{Error, Result};
use crate::event::Reporter;

/// Why a store's authorities are not those of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Foreign {
    /// The node trusts none of them.
    Other(Certificate),
    /// The node also trusts one that is younger than all of them.
    Younger(Certificate),
}

/// Compares the authorities that a node trusts with the store's. A node that trusts none yet
/// accepts any. During a replacement node and store share one, and the one that the store has
/// dropped is older.
fn compare(trusted: &[Certificate], stored: &[Certificate]) -> Option<Foreign> {
    let newest = |all: &[Certificate]| all.iter().max_by_key(|ca| ca.not_before).cloned();
    let left: Vec<Certificate> = trusted
        .iter()
        .filter(|ca| !stored.contains(ca))
        .cloned()
        .collect();
    let lost = newest(&left)?;
    if left.len() == trusted.len() {
        return Some(Foreign::Other(lost));
    }
    let own = newest(stored)?;
    (lost.not_before > own.not_before).then_some(Foreign::Younger(lost))
}

/// Refuses a store with another authority than nodes trust. `states` are the nodes before anything
/// is written.
pub fn check(
    work: &Work,
    daemons: &[Daemon],
    states: &BTreeMap<Name, State>,
    reporter: &Reporter,
) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (node, state) in states {
        for daemon in daemons {
            for authority in files::authorities(&work.cluster, *daemon) {
                let path = files::trusted(&work.cluster, *daemon, authority)?;
                let Some(file) = state.file(path.as_str()) else {
                    continue;
                };
                // A file without a certificate trusts nobody.
                let trusted = Certificate::read_all(&file.content, path.as_str());
                let trusted = trusted.unwrap_or_default();
                let Some(foreign) = compare(&trusted, work.stored.trusted(authority)) else {
                    continue;
                };
                if seen.insert((node, authority)) {
                    reporter.failure(&told(authority, &foreign).on(node));
                }
            }
        }
    }
    if seen.is_empty() {
        return Ok(());
    }
    Err(Error::usage(
        "the nodes do not trust the authority of this store; nothing was changed",
    )
    .help(
        "is it this cluster's store (PASSWORD_STORE_DIR), and is it pulled? rotate-ca puts another \
         authority in the place of one; deploy-pki --replace-authority does so at once",
    ))
}

fn told(authority: Daemon, foreign: &Foreign) -> Error {
    let words = |ca: &Certificate| {
        let print = ca.fingerprint();
        format!("{} of {} ({print})", ca.subject, day(ca.not_before))
    };
    Error::usage(match foreign {
        Foreign::Other(ca) => format!(
            "trusts another authority of {} than the store's: {}",
            authority.title(),
            words(ca)
        ),
        Foreign::Younger(ca) => format!(
            "trusts an authority of {} that is younger than the store's: {}",
            authority.title(),
            words(ca)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;
    use crate::pki::layout::PairId;
    use crate::pki::spec::Spec;
    use crate::pki::x509::Key;
    use time::macros::datetime;
    use time::{Duration, OffsetDateTime};

    const BEGIN: OffsetDateTime = datetime!(2026-11-22 15:00 UTC);

    fn authority(day: i64) -> Certificate {
        let spec = Spec::of(&example(), &PairId::authority(Daemon::Consul));
        let begins = BEGIN + Duration::days(day);
        Key::generate()
            .unwrap()
            .self_signed(&spec, None, begins)
            .unwrap()
    }

    #[test]
    fn every_step_of_a_rotation_and_a_node_that_missed_one_are_let_through() {
        let (old, new) = (authority(0), authority(1));
        let both = [old.clone(), new.clone()];
        let signing = [new.clone(), old.clone()];
        let only = |ca: &Certificate| vec![ca.clone()];
        for (trusted, stored) in [
            (vec![], only(&new)),
            (only(&old), only(&old)),
            (only(&old), both.to_vec()),
            (both.to_vec(), signing.to_vec()),
            (only(&old), signing.to_vec()),
            (signing.to_vec(), only(&new)),
            (both.to_vec(), only(&new)),
        ] {
            assert_eq!(compare(&trusted, &stored), None);
        }
    }

    #[test]
    fn another_authority_and_a_store_that_is_behind_are_seen() {
        let (old, new) = (authority(0), authority(1));
        let both = [old.clone(), new.clone()];
        let one = std::slice::from_ref;
        // Older or younger: the one has nothing to do with the other.
        assert_eq!(
            compare(one(&old), one(&new)),
            Some(Foreign::Other(old.clone()))
        );
        assert_eq!(
            compare(one(&new), one(&old)),
            Some(Foreign::Other(new.clone()))
        );
        assert_eq!(
            compare(&both, one(&authority(2))),
            Some(Foreign::Other(new.clone()))
        );
        assert_eq!(compare(&both, &[]), Some(Foreign::Other(new.clone())));
        assert_eq!(compare(&both, one(&old)), Some(Foreign::Younger(new)));
    }
}
