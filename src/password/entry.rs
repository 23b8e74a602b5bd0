//! The store's entry of a password: a line with the hash, and a line `set: DAY`.

use time::OffsetDateTime;

use super::hash::Hash;
use crate::error::Result;
use crate::secret::Secret;

/// The folder of these entries among the cluster's, with its slash.
pub const FOLDER: &str = "passwd/";

/// The beginning of the second line.
const SET: &str = "set: ";

/// The hash of a user's password, and when it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub hash: Hash,
    since: Option<String>,
}

impl Entry {
    /// An entry of today (UTC).
    pub fn now(hash: Hash) -> Self {
        Self {
            hash,
            since: Some(OffsetDateTime::now_utc().date().to_string()),
        }
    }

    /// The day it was set, as in `2026-11-22`; none for an entry of the hash alone.
    pub fn since(&self) -> Option<&str> {
        self.since.as_deref()
    }

    pub fn parse(text: &Secret) -> Result<Self> {
        let mut lines = text.expose().lines();
        let hash = lines.next().unwrap_or_default().parse()?;
        let since = lines.find_map(|line| line.strip_prefix(SET));
        Ok(Self {
            hash,
            since: since.map(str::to_owned),
        })
    }

    /// The entry in the form that [`Entry::parse`] reads.
    pub fn text(&self) -> Secret {
        let since = self.since.iter().map(|day| format!("{SET}{day}\n"));
        let lines: String = std::iter::once(format!("{}\n", self.hash.expose()))
            .chain(since)
            .collect();
        Secret::new(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2b$12$uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

    #[test]
    fn an_entry_reads_as_it_was_written() {
        let entry = Entry::now(HASH.parse().unwrap());
        assert_eq!(Entry::parse(&entry.text()).unwrap(), entry);
        assert_eq!(entry.since().map(str::len), Some("2026-11-22".len()));
    }

    #[test]
    fn a_hash_alone_is_an_entry_of_unknown_age() {
        let entry = Entry::parse(&Secret::new(HASH.into())).unwrap();
        assert_eq!((entry.hash.expose(), entry.since()), (HASH, None));
    }

    #[test]
    fn an_empty_entry_is_refused() {
        let error = Entry::parse(&Secret::new("\n".into())).unwrap_err();
        assert!(error.what.contains("empty"));
    }
}
