//! How a password store is: who reads it, whether the operator does, and whether the others have what is in it.
//! Nothing is asked of the operator, and nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::history::{History, Standing};
use super::keys::{self, Key, Reading};
use super::pass::{AT_ONCE, Pass, RECIPIENTS, ends_its_lines, recipients};
use super::{EntryName, Store};
use crate::error::{Context, Result};

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The entries of the cluster.
    pub entries: BTreeSet<EntryName>,
    /// The keys that are to read them.
    pub keys: Vec<Key>,
    /// What reading one of them came to, and which.
    pub reading: Option<(EntryName, Reading)>,
    /// Entries that a key is to read, and cannot, by how the key is named.
    pub lacking: BTreeMap<String, Vec<EntryName>>,
    /// Entries that a key reads which is not to.
    pub beyond: Vec<EntryName>,
    /// A list of keys that `pass` does not read to its end, and what to do.
    pub unread: Option<(String, Option<String>)>,
    /// Its repository, where it is in one.
    pub standing: Option<Standing>,
}

impl Pass {
    /// Looks at the store and its keys.
    pub async fn health(&self) -> Result<Health> {
        let entries = self.list().await?;
        let own = recipients(&self.root, &self.path().join("entry"))?;
        // Folders below may be for others.
        let mut lists = BTreeMap::from([(own, Vec::new())]);
        for name in &entries {
            let list = recipients(&self.root, &self.file(name))?;
            lists.entry(list).or_insert_with(Vec::new).push(name);
        }
        let mut health = Health {
            reading: None,
            keys: Vec::new(),
            lacking: BTreeMap::new(),
            beyond: Vec::new(),
            unread: None,
            standing: None,
            entries: entries.clone(),
        };
        let groups = keys::gpg().args(["--with-colons", "--list-config", "group"]);
        let groups = groups.run(|_| {}).await?;
        let groups = String::from_utf8_lossy(&groups.stdout).into_owned();
        for (list, names) in lists {
            let file = list.join(RECIPIENTS[0]);
            let text = fs::read_to_string(&file);
            let text = text.context(|| format!("cannot read {}", file.display()))?;
            if let Err(error) = ends_its_lines(&file) {
                health.unread = Some((error.what, error.help));
            }
            let mut readers = Vec::new();
            for named in keys::expanded(keys::names(&text), &groups) {
                readers.push(keys::key(&named).await?);
            }
            let seen = names.into_iter().map(|name| async move {
                let ids = keys::encrypted_for(&self.file(name)).await?;
                Ok::<_, crate::error::Error>((name.clone(), ids))
            });
            let seen: Vec<_> = stream::iter(seen).buffered(AT_ONCE).try_collect().await?;
            compare(&readers, &seen, &mut health);
            for key in readers {
                if !health.keys.contains(&key) {
                    health.keys.push(key);
                }
            }
        }
        if let Some(first) = entries.first() {
            let reading = keys::read(&self.file(first)).await?;
            health.reading = Some((first.clone(), reading));
        }
        if let Some(history) = History::find(&self.root, &self.root).await? {
            health.standing = Some(history.standing().await?);
        }
        Ok(health)
    }
}

/// Adds who reads what of `seen`, entries and the key IDs that they are encrypted for.
fn compare(readers: &[Key], seen: &[(EntryName, BTreeSet<String>)], health: &mut Health) {
    // Key IDs that are hidden tell nothing.
    let hidden = |id: &String| id.chars().all(|c| c == '0');
    for (name, ids) in seen {
        if ids.is_empty() || ids.iter().any(hidden) {
            continue;
        }
        for key in readers.iter().filter(|key| key.is_known()) {
            if key.encrypting.is_disjoint(ids) {
                let lacking = health.lacking.entry(key.named.clone()).or_default();
                lacking.push(name.clone());
            }
        }
        let known = |id: &String| readers.iter().any(|key| key.encrypting.contains(id));
        // A key that GnuPG does not have may be any of them.
        if readers.iter().all(Key::is_known) && !ids.iter().all(known) {
            health.beyond.push(name.clone());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(named: &str, id: &str) -> Key {
        Key {
            named: named.into(),
            whose: named.into(),
            encrypting: [id.to_owned()].into(),
            ..Key::default()
        }
    }

    pub(crate) fn well() -> Health {
        Health {
            entries: ["consul-ca.key".parse().unwrap()].into(),
            keys: vec![key("alice", "A")],
            reading: Some(("consul-ca.key".parse().unwrap(), Reading::Opens)),
            lacking: BTreeMap::new(),
            beyond: Vec::new(),
            unread: None,
            standing: None,
        }
    }

    #[test]
    fn who_lacks_an_entry_and_who_should_is_seen() {
        let readers = [key("alice", "A"), key("bob", "B")];
        let entry = |name: &str, ids: &[&str]| {
            let ids = ids.iter().map(ToString::to_string).collect();
            (name.parse::<EntryName>().unwrap(), ids)
        };
        let seen = [
            entry("both", &["A", "B"]),
            entry("old", &["A"]),
            entry("more", &["A", "B", "C"]),
            entry("hidden", &["0000000000000000"]),
        ];
        let mut health = well();
        compare(&readers, &seen, &mut health);
        assert_eq!(health.lacking["bob"], ["old".parse().unwrap()]);
        assert_eq!(health.lacking.len(), 1);
        assert_eq!(health.beyond, ["more".parse().unwrap()]);
        let unknown = [key("alice", "A"), Key::read("carol", "")];
        let mut health = well();
        compare(&unknown, &seen, &mut health);
        assert!(health.beyond.is_empty() && health.lacking.is_empty());
    }
}
