//! Paths on nodes.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Result};

/// Bytes of a file's name. File systems allow 255; unfinished files have a prefix.
const LONGEST_NAME: usize = 200;

/// An absolute path on a node, in its one spelling: no `.`, `..`, double slash, final slash or line
/// break.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct NodePath(String);

impl NodePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder it is in; none if that is the root.
    pub fn folder(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            Some(("", _)) | None => None,
            Some((folder, _)) => Some(Self(folder.to_owned())),
        }
    }

    /// The path of something in this folder.
    pub fn join(&self, name: &str) -> Result<Self> {
        format!("{}/{name}", self.0).parse()
    }
}

impl FromStr for NodePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::usage(format!(
                "‘{}’ is no path for a file on a node: {why}",
                text.escape_debug()
            )))
        };
        let Some(rest) = text.strip_prefix('/') else {
            return refuse("it does not begin with ‘/’");
        };
        if text.contains(char::is_control) {
            return refuse("it holds a control character");
        }
        if text.ends_with(char::is_whitespace) {
            return refuse("it ends with a space");
        }
        for part in rest.split('/') {
            match part {
                "" | "." | ".." => return refuse("a part of it is empty, ‘.’ or ‘..’"),
                part if part.len() > LONGEST_NAME => {
                    return refuse("a part of it is longer than 200 bytes");
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for NodePath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for text in [
            "", "/", "a", "/a/", "/a//b", "/a/./b", "/../a", "/a\nb", "/a ", "/a\0",
        ] {
            assert!(text.parse::<NodePath>().is_err(), "{text:?}");
        }
        for text in ["/a", "/var/lib/nixcfg/a key", "/ä/.b"] {
            assert!(text.parse::<NodePath>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_path_knows_its_folder() {
        let path: NodePath = "/a/b c/d".parse().unwrap();
        assert_eq!(path.folder().unwrap().as_str(), "/a/b c");
        assert_eq!("/a".parse::<NodePath>().unwrap().folder(), None);
    }

    #[test]
    fn a_name_that_leaves_its_folder_cannot_be_joined() {
        let folder: NodePath = "/a".parse().unwrap();
        assert_eq!(folder.join("b").unwrap().as_str(), "/a/b");
        assert!(folder.join("../b").is_err());
    }
}
