//! Files that Git does not track. Nix ignores them, and usually reports only that something is
//! missing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::source::Flake;
use crate::error::Error;
use crate::process::Command;

/// The files of a cluster's folder that Nix would read if Git tracked them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Untracked {
    /// The cluster's folder, below the flake's root.
    folder: PathBuf,
    /// Their paths below the flake's root.
    files: Vec<PathBuf>,
}

impl Untracked {
    /// Asks Git. Without a repository or an answer there are none.
    pub async fn of(flake: &Flake, cluster: &str) -> Self {
        if !flake.is_in_git() {
            return Self::default();
        }
        let folder = Path::new("cluster").join(cluster);
        let git = Command::new("git")
            .arg("-C")
            .arg(&flake.root)
            .args(["ls-files", "--others", "--exclude-standard", "-z", "--"])
            .arg(&folder);
        match git.run(|_| {}).await {
            Ok(finished) if finished.success => Self::read(&finished.stdout, folder),
            _ => Self::default(),
        }
    }

    /// Parses names below the flake's root, each terminated by a zero byte.
    pub(crate) fn read(stdout: &[u8], folder: PathBuf) -> Self {
        let names = String::from_utf8_lossy(stdout);
        let paths = names.split('\0').filter(|name| !name.is_empty());
        let matters = |path: &Path| {
            path.extension() == Some(OsStr::new("nix")) || path.starts_with(folder.join("app"))
        };
        let files = paths.map(PathBuf::from).filter(|path| matters(path));
        Self {
            files: files.collect(),
            folder,
        }
    }

    /// What to warn of, and what to do about it, in one line; nothing if there is none.
    pub fn warning(&self) -> Option<String> {
        let (what, help) = self.told()?;
        Some(format!("{what}: {help}"))
    }

    /// What to warn of, and the command that mends it; nothing if there is none.
    pub fn told(&self) -> Option<(String, String)> {
        let (first, rest) = self.files.split_first()?;
        let more = match rest.len() {
            0 => String::new(),
            1 => " and 1 more file".to_owned(),
            more => format!(" and {more} more files"),
        };
        let (are, them) = if rest.is_empty() {
            ("is", "it")
        } else {
            ("are", "them")
        };
        let what = format!(
            "{}{more} {are} not tracked by Git, so Nix does not see {them}",
            first.display()
        );
        Some((what, format!("git add {}", self.folder.display())))
    }

    /// Adds to an error about a missing thing that its file is not tracked. `word` names the thing
    /// as on a command line: a node, `site:NAME`, or the cluster.
    pub fn explain(&self, error: Error, word: &str) -> Error {
        let name = word.trim_start_matches('!');
        let name = name.strip_prefix("site:").unwrap_or(name);
        let named = |path: &&PathBuf| {
            path.file_stem() == Some(OsStr::new(name))
                || path.ends_with(Path::new(name).join("cluster.nix"))
        };
        match self.files.iter().find(named) {
            Some(path) if error.what.contains(&format!("‘{name}’")) => {
                let path = path.display();
                error.help(format!("{path} is not tracked by Git: git add {path}"))
            }
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &str) -> Untracked {
        Untracked::read(names.as_bytes(), "cluster/prod".into())
    }

    #[test]
    fn what_nix_would_read_is_warned_of_and_nothing_else() {
        let one = read(
            "cluster/prod/node/delta-1.nix\0cluster/prod/known_hosts\0cluster/prod/notes.md\0",
        );
        assert_eq!(
            one.warning().unwrap(),
            "cluster/prod/node/delta-1.nix is not tracked by Git, so Nix does not see it: git add cluster/prod"
        );
        let many = read(
            "cluster/prod/app/core.hcl\0cluster/prod/app/web/web.hcl\0cluster/prod/site/x.nix\0",
        );
        assert_eq!(
            many.warning().unwrap(),
            "cluster/prod/app/core.hcl and 2 more files are not tracked by Git, so Nix does not see them: git add cluster/prod"
        );
        assert_eq!(read("cluster/prod/ssh_config\0").warning(), None);
    }

    #[test]
    fn a_name_is_found_by_its_file_and_a_cluster_by_its_folder() {
        let some = read("cluster/prod/node/delta-1.nix\0cluster/prod/cluster.nix\0");
        let help = |word: &str, what: &str| some.explain(Error::usage(what), word).help;
        assert_eq!(
            help("!delta-1", "the cluster ‘prod’ has no node ‘delta-1’").unwrap(),
            "cluster/prod/node/delta-1.nix is not tracked by Git: git add cluster/prod/node/delta-1.nix"
        );
        let missing = help("prod", "there is no cluster ‘prod’ in this flake");
        assert!(missing.unwrap().contains("cluster/prod/cluster.nix"));
        assert_eq!(help("delta", "no node ‘delta’"), None);
        assert_eq!(help("delta-1", "no node ‘alder’"), None);
    }
}
