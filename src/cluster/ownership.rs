//! Owner, group and permissions of a file on a node.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Result};

/// Owner, group and permissions of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub user: Account,
    pub group: Account,
    pub mode: Mode,
}

impl Ownership {
    /// User and group root, with these permissions.
    pub fn root(mode: Mode) -> Self {
        Self {
            user: Account::root(),
            group: Account::root(),
            mode,
        }
    }
}

/// The name of a user or group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Account(String);

impl Account {
    pub fn root() -> Self {
        Self("root".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Account {
    type Err = Error;

    /// Parses lower-case letters, digits, `-`, `_` and inner dots, with a letter or `_` first, at
    /// most 31 characters: the names that systemd accepts (systemd.io/USER_NAMES).
    fn from_str(text: &str) -> Result<Self> {
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let inner = |c: char| first(c) || c.is_ascii_digit() || c == '-' || c == '.';
        if text.starts_with(first)
            && text.len() <= 31
            && text.chars().all(inner)
            && !text.ends_with('.')
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::usage(format!("‘{text}’ is not the name of a user or group"))
                .help("a name has lower-case letters, digits, ‘-’, ‘_’ and inner dots, at most 31, and begins with a letter or ‘_’"))
        }
    }
}

impl TryFrom<String> for Account {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Permissions of a file or folder: the lowest nine bits of its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(u16);

impl Mode {
    /// For the owner alone, to read: 0400.
    pub const SECRET: Self = Self(0o400);
    /// For the owner alone, to read and write: 0600.
    pub const PRIVATE: Self = Self(0o600);
    /// For all to read: 0644.
    pub const PUBLIC: Self = Self(0o644);
    /// A folder for the owner alone: 0700.
    pub const PRIVATE_FOLDER: Self = Self(0o700);
    /// For the owner and the group, to read: 0440.
    pub const GROUP_SECRET: Self = Self(0o440);
    /// A folder for the owner, which the group may read: 0750.
    pub const GROUP_FOLDER: Self = Self(0o750);
    /// A folder in which others can open files whose names they know: 0711.
    pub const PASSAGE: Self = Self(0o711);
}

impl FromStr for Mode {
    type Err = Error;

    /// Parses four octal digits, of which the first is 0: `0440`.
    fn from_str(text: &str) -> Result<Self> {
        match u16::from_str_radix(text, 8) {
            Ok(mode) if text.len() == 4 && text.starts_with('0') => Ok(Self(mode)),
            _ => Err(Error::usage(format!(
                "‘{text}’ is not a mode of four octal digits, such as 0440"
            ))),
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl fmt::Display for Mode {
    /// Prints the mode as `stat -c %a` does: `440`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_modes_that_would_be_read_otherwise_are_refused() {
        for name in ["", "-R", "a b", "a:b", "a\nb", "Root", "0", &"a".repeat(32)] {
            assert!(name.parse::<Account>().is_err(), "{name:?}");
        }
        assert!("consul".parse::<Account>().is_ok());
        for mode in ["400", "04000", "4755", "u=rw", "+400", ""] {
            assert!(mode.parse::<Mode>().is_err(), "{mode:?}");
        }
        assert_eq!("0440".parse::<Mode>().unwrap().to_string(), "440");
    }
}
