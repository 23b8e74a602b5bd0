//! The Git repository of a password store, if it has one.

use std::collections::BTreeSet;
use std::path::Path;

use super::EntryName;
use crate::error::{Error, Result};
use crate::process::Command;

/// Variables that would make Git use another repository than the store's.
const GIT_ENVIRONMENT: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_NAMESPACE",
    "GIT_INDEX_FILE",
    "GIT_INDEX_VERSION",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
];

/// How a repository stands to the one that it is shared through, as was last fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many files are not as committed.
    pub uncommitted: usize,
    /// The branch that it follows.
    pub upstream: Option<String>,
    /// How many commits that branch lacks, and how many it has besides.
    pub apart: (usize, usize),
}

impl Standing {
    /// Reads what `git status --porcelain=v2 --branch` prints.
    pub(crate) fn read(status: &str) -> Self {
        let mut standing = Self::default();
        for line in status.lines() {
            match line.strip_prefix("# ") {
                None => standing.uncommitted += 1,
                Some(header) => {
                    if let Some(branch) = header.strip_prefix("branch.upstream ") {
                        standing.upstream = Some(branch.to_owned());
                    } else if let Some(apart) = header.strip_prefix("branch.ab ") {
                        let apart: Vec<usize> = apart
                            .split(' ')
                            .filter_map(|n| n.trim_start_matches(['+', '-']).parse().ok())
                            .collect();
                        standing.apart = match apart[..] {
                            [ahead, behind] => (ahead, behind),
                            _ => (0, 0),
                        };
                    }
                }
            }
        }
        standing
    }
}

/// The repository of a folder of the store.
#[derive(Debug)]
pub struct History {
    git: Command,
}

impl History {
    /// Finds the repository of `folder` as `pass` does: from the folder up to the store's root.
    pub async fn find(root: &Path, folder: &Path) -> Result<Option<Self>> {
        let git = Command::new("git")
            .without_env(&GIT_ENVIRONMENT)
            .env("GIT_CEILING_DIRECTORIES", root.join(".."))
            .env("LC_ALL", "C.UTF-8")
            .arg("-C")
            .arg(folder);
        let ask = git.clone().args(["rev-parse", "--is-inside-work-tree"]);
        match ask.run(|_| {}).await {
            Ok(told) if told.success && told.stdout.trim_ascii() == b"true" => {
                Ok(Some(Self { git }))
            }
            Ok(_) => Ok(None),
            Err(_) if !root.join(".git").exists() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// How it stands to the repository that it is shared through. Asks no other machine.
    pub async fn standing(&self) -> Result<Standing> {
        let status = [
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=all",
        ];
        let told = self.git.clone().args(status).output().await?;
        Ok(Standing::read(&String::from_utf8_lossy(&told)))
    }

    /// Commits all changes of these entries, and nothing else.
    pub async fn commit(&self, names: &BTreeSet<EntryName>, message: &str) -> Result<()> {
        let entries: Vec<String> = names
            .iter()
            .map(|name| format!(":(literal){name}.gpg"))
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let status = [
            "status",
            "--porcelain",
            "--no-renames",
            "--untracked-files=all",
            "-z",
            "--",
        ];
        let status = self.run(&status, &entries).await?;
        // Only changed paths are named: Git fails on a path that neither exists nor is tracked.
        let changed: Vec<String> = paths(&status)
            .iter()
            .map(|path| format!(":(top,literal){path}"))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        self.run(&["add", "--all", "--"], &changed).await?;
        let signs = self
            .git
            .clone()
            .args(["config", "--bool", "--get", "pass.signcommits"]);
        let mut commit = vec!["commit", "--quiet", "-m", message];
        if signs.run(|_| {}).await?.stdout.trim_ascii() == b"true" {
            commit.push("--gpg-sign");
        }
        commit.push("--");
        self.run(&commit, &changed).await?;
        Ok(())
    }

    async fn run(&self, args: &[&str], paths: &[String]) -> Result<Vec<u8>> {
        let command = self.git.clone().args(args).args(paths);
        command.output().await.map_err(|e: Error| {
            e.help("the entries are written; mend the repository and run again, which commits them")
        })
    }
}

/// The paths that `git status --porcelain -z` names, from the repository's root.
pub(crate) fn paths(status: &[u8]) -> Vec<String> {
    status
        .split(|byte| *byte == 0)
        .filter_map(|record| record.get(3..))
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_compared_with_the_one_it_follows() {
        let status = "# branch.oid 1234\n# branch.head main\n# branch.upstream origin/main\n# branch.ab +2 -1\n1 .M N... x\n? y\n";
        let standing = Standing::read(status);
        assert_eq!(standing.upstream.as_deref(), Some("origin/main"));
        assert_eq!((standing.uncommitted, standing.apart), (2, (2, 1)));
        assert_eq!(Standing::read("# branch.head main\n"), Standing::default());
    }

    #[test]
    fn the_paths_of_a_status_are_told_from_their_marks() {
        assert_eq!(paths(b"?? a/b c.gpg\0 M d.gpg\0"), ["a/b c.gpg", "d.gpg"]);
    }
}
