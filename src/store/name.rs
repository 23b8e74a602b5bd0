//! Names of entries: relative paths that stay inside their folder.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, Result};

/// The name of an entry in its folder, such as `consul-ca.crt` or `passwd/alice`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EntryName(String);

impl EntryName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EntryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && !part.chars().any(|c| c.is_control() || c == '\\')
        };
        if text.split('/').all(part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                Error::usage(format!("‘{text}’ is not the name of an entry in the store"))
                    .help("names are relative paths, no part of which begins with ‘.’ or ‘-’"),
            )
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_its_folder_or_reads_as_an_option_is_refused() {
        for text in [
            "",
            "/etc/x",
            "../x",
            "a/../b",
            "-f",
            "a/-f",
            ".git/config",
            "a//b",
            "a/",
            "a\nb",
        ] {
            assert!(text.parse::<EntryName>().is_err(), "{text}");
        }
        for text in [
            "consul-ca.crt",
            "passwd/alice",
            "a b",
            "consul2026-client.key",
        ] {
            assert!(text.parse::<EntryName>().is_ok(), "{text}");
        }
    }
}
