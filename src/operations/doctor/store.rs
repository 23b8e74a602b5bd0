//! The password store: its keys, its entries, and whether others have what is in it.

use time::{Duration, OffsetDateTime};

use super::check::Check;
use crate::event::count;
use crate::operations::next::steps::few;
use crate::pki::day;
use crate::store::health::Health;
use crate::store::history::Standing;
use crate::store::keys::{Key, Reading};

/// A key that ends within this is to be prolonged.
const SOON: Duration = Duration::days(30);

/// All that is looked at in a store.
pub fn checks(health: &Health, now: OffsetDateTime) -> Vec<Check> {
    let mut checks = vec![reading(health)];
    checks.extend(health.keys.iter().map(|one| key(one, now)));
    checks.push(readers(health));
    checks.push(standing(health.standing.as_ref()));
    checks
}

/// Whether the operator can read it.
pub fn reading(health: &Health) -> Check {
    let Some((entry, reading)) = &health.reading else {
        return Check::ok("decryption", "the store has no entry of this cluster yet");
    };
    match reading {
        Reading::Opens => Check::ok("decryption", format!("{entry} can be read")),
        Reading::Locked => {
            let told =
                "your key is locked: the next operation on the store asks for its passphrase";
            Check::ok("decryption", told)
        }
        Reading::Foreign => {
            let told = format!("{entry} is not encrypted for a key that you have");
            let help = "import your secret key, or ask someone who can read the store to add your key: pass init -p FOLDER KEY…";
            Check::wrong("decryption", told, help)
        }
        Reading::Fails(said) => {
            let told = format!("{entry} cannot be read\n{said}");
            Check::wrong("decryption", told, "restore it: pass git log")
        }
    }
}

/// One of the keys that are to read it.
pub fn key(key: &Key, now: OffsetDateTime) -> Check {
    let whose = if key.whose.is_empty() {
        &key.named
    } else {
        &key.whose
    };
    if !key.is_known() {
        let told = format!("GnuPG does not have {whose}, for whom the store is encrypted");
        let help = "nothing can be written to the store: import their public key (gpg --import)";
        return Check::wrong("key", told, help);
    }
    let replace = "who has it makes another one, and someone adds it: pass init -p FOLDER KEY…";
    if key.revoked {
        return Check::wrong("key", format!("{whose} is revoked or disabled"), replace);
    }
    if key.encrypting.is_empty() {
        return Check::wrong("key", format!("{whose} cannot encrypt"), replace);
    }
    let prolong = "who has it prolongs it (gpg --quick-set-expire KEY 2y, and the same with '*' for its parts) and sends the public key again";
    match key.ends {
        Some(end) if end <= now => {
            let told = format!(
                "{whose} ended on {}: nothing can be written to the store",
                day(end)
            );
            Check::wrong("key", told, prolong)
        }
        Some(end) if end <= now + SOON => {
            Check::wrong("key", format!("{whose} ends on {}", day(end)), prolong)
        }
        Some(end) => Check::ok("key", format!("{whose}, until {}", day(end))),
        None => Check::ok("key", format!("{whose}, without end")),
    }
}

/// Whether those read the entries who are to.
pub fn readers(health: &Health) -> Check {
    let again = "encrypt them anew: pass init -p FOLDER KEY…, with all the keys";
    if let Some((what, help)) = &health.unread {
        let help = help.clone().unwrap_or_default();
        return Check::wrong("readers", what.clone(), help);
    }
    if let Some((key, entries)) = health.lacking.first_key_value() {
        let names: Vec<String> = entries.iter().map(ToString::to_string).collect();
        let told = format!("{key} is to read the store and cannot read {}", few(&names));
        return Check::wrong("readers", told, again);
    }
    if !health.beyond.is_empty() {
        let names: Vec<String> = health.beyond.iter().map(ToString::to_string).collect();
        let told = format!("a key that is not among the store’s reads {}", few(&names));
        return Check::wrong("readers", told, again);
    }
    let keys = count(health.keys.len(), "key");
    Check::ok("readers", format!("what is stored is for the {keys} above"))
}

/// Whether the others have what is in it.
pub fn standing(standing: Option<&Standing>) -> Check {
    let Some(standing) = standing else {
        let told = "the store is in no Git repository: nobody else has what you make, and nothing of it comes back";
        return Check::wrong("history", told, "pass git init");
    };
    let files = count(standing.uncommitted, "file");
    let help = "pass git status, then commit";
    match (standing.uncommitted, &standing.upstream, standing.apart) {
        (1.., ..) => Check::wrong(
            "history",
            format!("{files} of the store not committed"),
            help,
        ),
        (0, None, _) => {
            let told = "the store’s branch follows no other: nobody else has what you make";
            let help =
                "pass git remote add origin URL, then pass git push --set-upstream origin HEAD";
            Check::wrong("history", told, help)
        }
        (0, Some(to), (0, 0)) => Check::ok("history", format!("as {to} was when last fetched")),
        (0, Some(to), (ahead, 0)) => {
            let told = format!("{} not pushed to {to}", count(ahead, "commit"));
            Check::wrong("history", told, "pass git push")
        }
        (0, Some(to), (_, behind)) => {
            let told = format!("{to} has {} more", count(behind, "commit"));
            Check::wrong("history", told, "pass git pull --rebase")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verdict;
    use crate::store::health::tests as health;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-06-01 0:00 UTC);

    fn wrong(check: Check, told: &str) {
        assert_eq!(check.verdict, Verdict::Wrong, "{check:?}");
        assert!(check.told.contains(told), "{check:?}");
        assert!(check.help.is_some(), "{check:?}");
    }

    #[test]
    fn whether_the_store_can_be_read_is_told() {
        let mut store = health::well();
        assert_eq!(reading(&store).verdict, Verdict::Ok);
        let mut is = |what: Reading| {
            store.reading = store.reading.take().map(|(name, _)| (name, what));
            reading(&store)
        };
        assert_eq!(is(Reading::Locked).verdict, Verdict::Ok);
        wrong(
            is(Reading::Foreign),
            "not encrypted for a key that you have",
        );
        wrong(is(Reading::Fails("no space".into())), "no space");
        store.reading = None;
        assert!(reading(&store).told.contains("no entry"));
    }

    #[test]
    fn a_key_that_ends_or_is_not_there_is_told_with_whose_it_is() {
        let mut one = health::key("alice", "A");
        assert_eq!(key(&one, NOW), Check::ok("key", "alice, without end"));
        one.ends = Some(NOW + Duration::days(31));
        assert_eq!(key(&one, NOW).told, "alice, until 2026-07-02");
        one.ends = Some(NOW + Duration::days(30));
        wrong(key(&one, NOW), "alice ends on 2026-07-01");
        one.ends = Some(NOW - Duration::DAY);
        wrong(key(&one, NOW), "alice ended on 2026-05-31");
        one.revoked = true;
        wrong(key(&one, NOW), "revoked");
        let signs = Key {
            whose: "bob".into(),
            ..Key::default()
        };
        wrong(key(&signs, NOW), "bob cannot encrypt");
        wrong(key(&Key::read("carol", ""), NOW), "does not have carol");
    }

    #[test]
    fn who_cannot_read_and_who_still_can_is_told() {
        let mut store = health::well();
        let told = "what is stored is for the 1 key above";
        assert_eq!(readers(&store), Check::ok("readers", told));
        let entry = "passwd/alice".parse().unwrap();
        store.beyond = vec![entry];
        wrong(readers(&store), "reads passwd/alice");
        let entries = std::mem::take(&mut store.beyond);
        store.lacking.insert("bob".into(), entries);
        wrong(
            readers(&store),
            "bob is to read the store and cannot read passwd/alice",
        );
        store.unread = Some(("the last line has no newline".into(), Some("end it".into())));
        wrong(readers(&store), "no newline");
    }

    #[test]
    fn a_store_that_others_do_not_have_is_told() {
        let mut one = Standing {
            upstream: Some("origin/main".into()),
            ..Standing::default()
        };
        assert_eq!(standing(Some(&one)).verdict, Verdict::Ok);
        one.apart = (2, 0);
        wrong(standing(Some(&one)), "2 commits not pushed to origin/main");
        one.apart = (2, 1);
        wrong(standing(Some(&one)), "origin/main has 1 commit more");
        one.uncommitted = 1;
        wrong(standing(Some(&one)), "1 file of the store not committed");
        wrong(standing(Some(&Standing::default())), "follows no other");
        wrong(standing(None), "no Git repository");
    }
}
