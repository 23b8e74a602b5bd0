//! A cluster's folder in a repository of the original scripts, read as data.

mod file;
mod plan;
mod read;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cluster::Name;
use crate::error::{Error, Result};
use crate::scaffold::files;
use file::File;

pub use plan::{Cluster, plan};
pub use read::read;

/// A setting of a file: `a.b.c = value;`.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    path: Vec<String>,
    /// Where it stands. The line is 0 where Nix does not know it.
    file: PathBuf,
    line: u64,
    /// The value, or why it is no plain data.
    value: std::result::Result<Value, String>,
    /// That of `mkForce`, `mkDefault` and `mkOverride`.
    priority: Option<i64>,
}

/// The files of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Original {
    folder: PathBuf,
    cluster: Vec<Setting>,
    sites: BTreeMap<Name, Vec<Setting>>,
    nodes: BTreeMap<Name, Vec<Setting>>,
    /// The sites of nodes with a file `<node>.site.nix`, a link to the site's file.
    linked: BTreeMap<Name, Name>,
    ssh_config: Option<String>,
    known_hosts: Option<String>,
    /// Folders that are not read.
    others: Vec<PathBuf>,
}

/// Something that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The file in the original's folder.
    pub file: PathBuf,
    /// None for a whole file.
    pub line: Option<u64>,
    /// The setting.
    pub what: Option<String>,
    pub why: String,
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.what {
            Some(what) => write!(f, "  {what}: {}", self.why),
            None => write!(f, "  {}", self.why),
        }
    }
}

impl Original {
    /// A setting that was not taken over.
    fn left(&self, setting: &Setting, why: impl Into<String>) -> Left {
        Left {
            file: self.relative(&setting.file),
            line: Some(setting.line).filter(|line| *line > 0),
            what: Some(setting.path.join(".")),
            why: why.into(),
        }
    }

    /// A note on an option of many files.
    fn about(&self, option: &str, why: String) -> Left {
        Left {
            file: self.relative(&self.folder),
            line: None,
            what: Some(option.into()),
            why,
        }
    }

    /// The prefix of the original's own options, such as `deuxfleurs`.
    fn prefix(&self) -> Result<&[String]> {
        let own = ["clusterName", "clusterNodes", "adminAccounts"];
        let found = self.cluster.iter().find_map(|setting| {
            let at = setting
                .path
                .iter()
                .position(|name| own.contains(&name.as_str()))?;
            setting.path.get(..at).filter(|prefix| !prefix.is_empty())
        });
        found.ok_or_else(|| {
            Error::usage(format!("{} is no cluster of the original scripts", self.folder.join("cluster.nix").display()))
                .help("its cluster.nix sets PREFIX.clusterName, PREFIX.clusterNodes or PREFIX.adminAccounts")
        })
    }

    /// The folder in the password store that the original's scripts most likely used.
    pub fn store(&self) -> Option<String> {
        Some(self.prefix().ok()?.last()?.clone())
    }

    /// A node's site.
    fn site_of(&self, node: &Name, file: &mut File, cluster: &mut File) -> Result<Name> {
        let listed = cluster.text(&format!("clusterNodes.{node}.siteName"));
        let said = file.text("siteName").or(listed);
        if file
            .own
            .get("hostName")
            .and_then(|setting| setting.value.as_ref().ok())
            == Some(&json!(node))
        {
            file.take("hostName");
        }
        if let Some(site) = self.linked.get(node) {
            return Ok(site.clone());
        }
        let known = said.and_then(|said| self.sites.keys().find(|site| site.as_str() == said));
        match (known, said, self.sites.len()) {
            (Some(site), _, _) => Ok(site.clone()),
            (None, None, 1) => Ok(self.sites.keys().next().cloned().unwrap_or_else(|| node.clone())),
            (None, Some(said), _) => Err(Error::usage(format!("{node} is in the site ‘{said}’, which has no file"))),
            (None, None, _) => Err(Error::usage(format!("the site of {node} cannot be found out"))
                .help(format!("set siteName in node/{node}.nix, or make node/{node}.site.nix a link to its site's file"))),
        }
    }

    /// A node's address in `ssh_config`.
    fn host_name(&self, node: &Name) -> Option<IpAddr> {
        let mut of_node = false;
        for line in self.ssh_config.as_deref()?.lines() {
            let mut words = line.split_whitespace();
            match (
                words.next().map(str::to_ascii_lowercase).as_deref(),
                words.next(),
            ) {
                (Some("host"), _) => {
                    of_node = line
                        .split_whitespace()
                        .skip(1)
                        .any(|word| word == node.as_str())
                }
                (Some("hostname"), Some(name)) if of_node => return name.parse().ok(),
                _ => {}
            }
        }
        None
    }

    /// The original's file, with the path of `known_hosts` in our cluster.
    fn ssh_config(&self, name: &Name) -> String {
        let theirs = self
            .folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        match &self.ssh_config {
            Some(text) => text.replace(&format!("cluster/{theirs}/"), &format!("cluster/{name}/")),
            None => files::ssh_config(name),
        }
    }

    /// A path as seen from the repository's root, if it is there.
    fn relative(&self, file: &Path) -> PathBuf {
        let root = self.folder.parent().and_then(Path::parent);
        let below = root.and_then(|root| file.strip_prefix(root).ok());
        below.unwrap_or(file).to_owned()
    }
}
