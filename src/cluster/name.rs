//! Names of clusters, sites, nodes and users, and suggestions for misspelt ones.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is safe as a host name, a file name and an attribute: letters, digits, `-` and `_`,
/// with a letter or digit first, at most 63 characters (a DNS label of RFC 1035, plus the
/// underscore that older clusters use).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let inner = |c: char| first(c) || c == '-' || c == '.';
        let dotted = text.ends_with('.') || text.contains("..");
        if text.starts_with(first) && text.len() <= 63 && text.chars().all(inner) && !dotted {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that is not a [`Name`]. Of a type of its own, as errors have names of nodes.
#[derive(Debug, Clone)]
pub struct NotAName(String);

impl NotAName {
    pub const HELP: &str = "a name has letters, digits, ‘_’, and inside ‘-’ and ‘.’, at most 63";

    pub fn what(&self) -> String {
        format!("‘{}’ is not a name", self.0)
    }
}

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  help: {}", self.what(), Self::HELP)
    }
}

impl std::error::Error for NotAName {}

/// Help for a `wrong` name: the near misses among `known`, or all of them.
pub fn suggestion<S: AsRef<str>>(wrong: &str, known: &[S], kind: &str) -> String {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (distance(name.as_ref()), name.as_ref()))
        .filter(|(d, name)| {
            *d <= 1 + wrong.len().min(name.len()) / 4
                || (wrong.len() >= 3 && name.starts_with(wrong))
        })
        .collect();
    near.sort_unstable();
    if known.is_empty() {
        return format!("there are no {kind}");
    }
    if near.is_empty() {
        let all: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
        return format!("{kind}: {}", all.join(", "));
    }
    let near: Vec<String> = near.iter().map(|(_, name)| format!("‘{name}’")).collect();
    format!("did you mean {}?", near.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_an_option_or_leave_its_folder_is_refused() {
        for text in [
            "",
            "-oProxyCommand=x",
            "../etc",
            "..",
            "a..b",
            ".hidden",
            "dot.",
            "a b",
            "a;b",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
        for text in ["alder", "node-1", "df_pw5", "4real", "j.doe", "_svc"] {
            assert!(text.parse::<Name>().is_ok(), "{text}");
        }
    }

    #[test]
    fn a_near_miss_is_suggested() {
        assert_eq!(
            suggestion("prdo", &["prod", "staging"], "clusters"),
            "did you mean ‘prod’?"
        );
        assert_eq!(
            suggestion("ald", &["alder", "birch"], "nodes"),
            "did you mean ‘alder’?"
        );
    }

    #[test]
    fn all_names_are_shown_where_none_is_near() {
        assert_eq!(
            suggestion("xyz", &["alder", "birch"], "nodes"),
            "nodes: alder, birch"
        );
        assert_eq!(
            suggestion("xyz", &[] as &[&str], "nodes"),
            "there are no nodes"
        );
    }
}
