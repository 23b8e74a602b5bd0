//! What the store holds of a password: a line with the hash, and a line `set:` with the day.

use time::OffsetDateTime;

use super::hash::Hash;
use crate::error::Result;
use crate::secret::Secret;

/// The folder of the cluster's entries in which they are, with its slash.
pub const FOLDER: &str = "passwd/";

/// What the second line begins with.
const SET: &str = "set: ";

/// The hash of a user's password, and when it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The hash.
    pub hash: Hash,
    since: Option<String>,
}

impl Entry {
    /// A hash that is set today (UTC).
    pub fn now(hash: Hash) -> Self {
        Self {
            hash,
            since: Some(OffsetDateTime::now_utc().date().to_string()),
        }
    }

    /// Since when, as `2026-11-22`; none for an entry of the hash alone.
    pub fn since(&self) -> Option<&str> {
        self.since.as_deref()
    }

    /// Reads an entry.
    pub fn parse(text: &Secret) -> Result<Self> {
        let mut lines = text.expose().lines();
        let hash = lines.next().unwrap_or_default().parse()?;
        let since = lines.find_map(|line| line.strip_prefix(SET));
        Ok(Self {
            hash,
            since: since.map(str::to_owned),
        })
    }

    /// The entry as it is kept.
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
