//! Store paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The folder of the store on every machine: a system built for another folder would not run on a
/// node.
pub const STORE_DIR: &str = "/nix/store";

/// The digits of Nix's base 32, without e, o, t and u.
const DIGITS: &str = "0123456789abcdfghijklmnpqrsvwxyz";
/// The digits of a path's hash: 160 bits, 5 per digit.
const HASH: usize = 32;
/// The longest name, in characters (Nix, src/libstore/path.cc).
const LONGEST: usize = 211;

/// A path of the Nix store, `/nix/store/<hash>-<name>`. Files below such a path are none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// The name behind the hash, such as `nixos-system-alder-26.05`.
    pub fn name(&self) -> &str {
        self.0.get(HASH + 1..).unwrap_or_default()
    }

    /// Whether the path is a derivation.
    pub fn is_derivation(&self) -> bool {
        self.0.ends_with(".drv")
    }
}

/// Why `base` is not of the form `<hash>-<name>`; none if it is.
fn fault(base: &str) -> Option<&'static str> {
    let Some((hash, name)) = base.split_at_checked(HASH) else {
        return Some("it is too short");
    };
    let Some(name) = name.strip_prefix('-') else {
        return Some("no name follows its hash");
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    // A name is a file name: neither it nor its part before the first `-` may be `.` or `..`.
    let first = name.split('-').next().unwrap_or_default();
    if !hash.chars().all(|c| DIGITS.contains(c)) {
        Some("its hash is no number in base 32")
    } else if name.is_empty() || name.len() > LONGEST {
        Some("its name is empty or too long")
    } else if !name.chars().all(plain) || first == "." || first == ".." {
        Some("its name has characters that none has")
    } else {
        None
    }
}

impl FromStr for StorePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let base = text
            .strip_prefix(STORE_DIR)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(text);
        match fault(base) {
            None => Ok(Self(base.to_owned())),
            Some(why) => Err(Error::unexpected(format!(
                "‘{text}’ is not a store path: {why}"
            ))),
        }
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
        write!(f, "{STORE_DIR}/{}", self.0)
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
    fn a_name_may_be_long_and_hold_what_nix_lets_it() {
        let path = |name: &str| format!("/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-{name}");
        for name in [
            &*"a".repeat(211),
            "g++-13.2_x?y=z",
            ".config",
            "...",
            "a.drv",
        ] {
            let read: StorePath = path(name).parse().unwrap();
            assert_eq!((read.name(), read.to_string()), (name, path(name)));
            assert_eq!(read.is_derivation(), name == "a.drv");
        }
        assert!(path(&"a".repeat(212)).parse::<StorePath>().is_err());
    }

    #[test]
    fn what_is_not_a_store_path_is_refused() {
        for text in [
            "",
            "/etc/passwd",
            "/nix/store/x",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a/b",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a;b",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n_a",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0u-a",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-..",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-.-a",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-ä",
            "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0ä-a",
            "/gnu/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a",
        ] {
            assert!(text.parse::<StorePath>().is_err(), "{text}");
        }
    }
}
