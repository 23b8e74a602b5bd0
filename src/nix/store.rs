//! Store paths. The only place that knows which crate provides them.

use std::fmt;
use std::str::FromStr;

use harmonia_store_core::store_path::{StoreDir, StorePath as Inner};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where every store of a cluster lies: a system built for another folder would not run on a node.
pub const STORE_DIR: &str = "/nix/store";

/// A valid path of the Nix store, such as `/nix/store/<hash>-<name>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(Inner);

impl StorePath {
    /// The name behind the hash, such as `nixos-system-alder-26.05`.
    pub fn name(&self) -> &str {
        self.0.name().as_ref()
    }

    /// Whether the path is a derivation.
    pub fn is_derivation(&self) -> bool {
        self.0.is_derivation()
    }
}

impl FromStr for StorePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let base = text
            .strip_prefix(STORE_DIR)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(text);
        Inner::from_base_path(base)
            .map(Self)
            .map_err(|e| Error::unexpected(format!("‘{text}’ is not a store path: {e}")))
    }
}

impl TryFrom<String> for StorePath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", StoreDir::default().display(&self.0))
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-nixos-system-alder-26.05";

    #[test]
    fn a_store_path_reads_back_as_it_was_written() {
        let path: StorePath = PATH.parse().unwrap();
        assert_eq!(path.to_string(), PATH);
        assert_eq!(path.name(), "nixos-system-alder-26.05");
        assert!(!path.is_derivation());
    }

    #[test]
    fn a_base_name_as_newer_nix_prints_it_is_the_same_path() {
        let path: StorePath = PATH.trim_start_matches("/nix/store/").parse().unwrap();
        assert_eq!(path.to_string(), PATH);
    }

    #[test]
    fn what_is_not_a_store_path_is_refused() {
        for text in [
            "",
            "/etc/passwd",
            "/nix/store/x",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a/b",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a;b",
        ] {
            assert!(text.parse::<StorePath>().is_err(), "{text}");
        }
    }
}
