//! The keys that a password store is encrypted for, as GnuPG lists them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use time::OffsetDateTime;

use super::trouble;
use crate::error::Result;
use crate::process::Command;

/// A key that `.gpg-id` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// How `.gpg-id` names it.
    pub named: String,
    /// Whose it is, as it says itself; empty where GnuPG has no such key.
    pub whose: String,
    /// Whether it was revoked, or is disabled.
    pub revoked: bool,
    /// When nothing can be encrypted for it any more.
    pub ends: Option<OffsetDateTime>,
    /// The key IDs (64 bits, hexadecimal) of its parts that encrypt.
    pub encrypting: BTreeSet<String>,
}

impl Key {
    /// Reads what `gpg --with-colons --list-keys` prints of the key that is `named` so (GnuPG, doc/DETAILS).
    pub fn read(named: &str, listed: &str) -> Self {
        let mut key = Self {
            named: named.to_owned(),
            ..Self::default()
        };
        let mut whole_ends = None;
        let mut parts_end: Vec<Option<OffsetDateTime>> = Vec::new();
        for line in listed.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let field = |n: usize| fields.get(n).copied().unwrap_or_default();
            let ends = || {
                let seconds = field(6).parse().ok()?;
                OffsetDateTime::from_unix_timestamp(seconds).ok()
            };
            match field(0) {
                "pub" => {
                    key.revoked |= field(1) == "r" || field(11).contains('D');
                    whole_ends = ends();
                }
                "uid" if key.whose.is_empty() => key.whose = field(9).to_owned(),
                _ => {}
            }
            // Upper case tells of the whole key, lower case of this part of it.
            if matches!(field(0), "pub" | "sub") && field(11).contains('e') && field(1) != "r" {
                key.encrypting.insert(field(4).to_owned());
                parts_end.push(ends());
            }
        }
        // The part that lasts longest is what GnuPG takes.
        let last = if parts_end.iter().any(Option::is_none) {
            None
        } else {
            parts_end.into_iter().flatten().max()
        };
        key.ends = [whole_ends, last].into_iter().flatten().min();
        key
    }

    /// Whether GnuPG has it.
    pub fn is_known(&self) -> bool {
        !self.whose.is_empty() || !self.encrypting.is_empty()
    }
}

/// What decrypting an entry came to, where nothing may ask for a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// It can be read.
    Opens,
    /// It can be read once the operator's key is unlocked.
    Locked,
    /// It is for other keys.
    Foreign,
    /// GnuPG says something else.
    Fails(String),
}

/// GnuPG, called as `pass` would with the operator's options.
pub(super) fn gpg() -> Command {
    let options = std::env::var("PASSWORD_STORE_GPG_OPTS").unwrap_or_default();
    Command::new("gpg")
        .args(options.split_whitespace())
        .arg("--batch")
        .env("LC_ALL", "C.UTF-8")
}

/// The names in a `.gpg-id`: one a line, `#` begins a remark (pass 1.7.4).
pub(crate) fn names(list: &str) -> Vec<String> {
    let lines = list.lines();
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
    let names = lines.filter(|line| !line.is_empty());
    names.map(str::to_owned).collect()
}

/// The groups of keys that `gpg.conf` makes, out of `gpg --list-config group`.
pub(crate) fn expanded(names: Vec<String>, groups: &str) -> Vec<String> {
    let members = |name: &str| -> Option<Vec<String>> {
        let lines = groups.lines().filter_map(|l| l.strip_prefix("cfg:group:"));
        let mut lines = lines.filter_map(|line| line.split_once(':'));
        let (_, keys) = lines.find(|(group, _)| *group == name)?;
        Some(keys.split(';').map(str::to_owned).collect())
    };
    let names = names.into_iter();
    names
        .flat_map(|name| members(&name).unwrap_or_else(|| vec![name]))
        .collect()
}

/// The key that is named so; one that GnuPG does not have is not known.
pub(super) async fn key(named: &str) -> Result<Key> {
    let list = gpg().args(["--with-colons", "--list-keys", "--", named]);
    let done = list.run(|_| {}).await?;
    Ok(Key::read(named, &String::from_utf8_lossy(&done.stdout)))
}

/// The key IDs that a file is encrypted for. Needs no key.
pub(super) async fn encrypted_for(file: &Path) -> Result<BTreeSet<String>> {
    let list = gpg().args(["--list-only", "--status-fd", "1", "--decrypt", "--"]);
    let done = list.arg(file).run(|_| {}).await?;
    let told = String::from_utf8_lossy(&done.stdout);
    let ids = trouble::recipients(&told).into_iter();
    Ok(ids.map(str::to_owned).collect())
}

/// Decrypts a file into nothing. What would ask for a passphrase is cancelled.
pub(super) async fn read(file: &Path) -> Result<Reading> {
    let words = [
        "--pinentry-mode",
        "cancel",
        "--status-fd",
        "2",
        "--yes",
        "--output",
        "/dev/null",
        "--decrypt",
        "--",
    ];
    let done = gpg().args(words).arg(file).run(|_| {}).await?;
    if done.success {
        return Ok(Reading::Opens);
    }
    let said = done.stderr_tail;
    for id in trouble::recipients(&said) {
        let own = gpg().args(["--list-secret-keys", "--"]).arg(OsStr::new(id));
        if own.run(|_| {}).await?.success {
            return Ok(Reading::Locked);
        }
    }
    Ok(if trouble::may_pass(&said) {
        Reading::Foreign
    } else {
        Reading::Fails(trouble::spoken(&said))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
tru::1:1795860160:1827396149:3:1:5
pub:u:255:22:B70F31B2BF5292A6:1795860149:1827396149::u:::scESC:::::ed25519:::0:
fpr:::::::::6621870DD442A7F964FC5D96B70F31B2BF5292A6:
uid:u::::1795860149::98DB::carol <carol@example.org>::::::::::0:
sub:e:255:18:1111111111111111:1795860149:1795860150:::::e:::::cv25519::
sub:u:255:18:ADF3FF8492537B8B:1795860149::::::e:::::cv25519::
sub:r:255:18:2222222222222222:1795860149::::::e:::::cv25519::
";

    fn seconds(key: &Key) -> Option<i64> {
        key.ends.map(OffsetDateTime::unix_timestamp)
    }

    #[test]
    fn a_key_tells_whose_it_is_what_encrypts_and_until_when() {
        let key = Key::read("carol", LISTED);
        assert_eq!(key.whose, "carol <carol@example.org>");
        let parts = ["1111111111111111", "ADF3FF8492537B8B"].map(String::from);
        assert_eq!(key.encrypting, parts.into());
        // The whole key ends, though its part does not.
        assert_eq!(seconds(&key), Some(1827396149));
        assert!(key.is_known() && !key.revoked);
        let part = LISTED.replace(
            "ADF3FF8492537B8B:1795860149:",
            "ADF3FF8492537B8B:1795860149:1800000000",
        );
        assert_eq!(seconds(&Key::read("carol", &part)), Some(1800000000));
        assert!(!Key::read("nobody", "tru::1:1795860160:0:3:1:5\n").is_known());
        assert!(Key::read("x", &LISTED.replace("pub:u", "pub:r")).revoked);
    }

    #[test]
    fn the_names_of_a_list_are_without_remarks_and_with_members_of_groups() {
        let list = names("alice # since 2024\n\n# all of them\nteam\n");
        assert_eq!(list, ["alice", "team"]);
        let groups = "cfg:group:team:AAAA;BBBB\n";
        assert_eq!(expanded(list, groups), ["alice", "AAAA", "BBBB"]);
    }
}
