//! Computes the lock file with another revision of nixpkgs. Writes nothing.

use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Context, Error, Exit, Result};
use crate::event::{Event, Reporter};
use crate::nix::source::Flake;
use crate::nix::{Settings, message};

/// The input that is updated.
const INPUT: &str = "nixpkgs";

/// The wanted revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The newest of the branch that flake.nix names.
    Newest,
    /// This one.
    Revision(String),
}

/// A lock file's present and wanted text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub file: PathBuf,
    /// The present text.
    pub before: String,
    /// The wanted text.
    pub after: String,
    from: String,
    to: String,
}

impl Update {
    /// Asks Nix for the wanted revision.
    pub async fn find(flake: &Flake, settings: &Settings, target: &Target) -> Result<Self> {
        if settings
            .override_inputs
            .iter()
            .any(|(name, _)| name == INPUT)
        {
            let what = "--override-input nixpkgs and an update of nixpkgs contradict each other";
            return Err(Error::usage(what).help("use --no-update, or leave the override away"));
        }
        let file = flake.root.join("flake.lock");
        let before = std::fs::read_to_string(&file).map_err(|e| {
            Error::usage(format!("{} cannot be read: {e}", file.display())).help(
                "upgrade-nixos changes the lock file of a flake in a folder; `nix flake lock` makes one",
            )
        })?;
        let lock: Value = serde_json::from_str(&before)
            .map_err(|e| Error::usage(format!("{} is no lock file: {e}", file.display())))?;
        let node = node_of(&lock, INPUT)?;
        let reference = reference(&lock["nodes"][&node]["original"], target)?;
        let mut asking = settings.clone();
        asking
            .override_inputs
            .push((INPUT.into(), reference.clone()));
        let command = asking
            .flake_command(&[
                "flake",
                "metadata",
                "--json",
                "--no-write-lock-file",
                "--refresh",
            ])
            .arg(&flake.reference);
        let finished = command.run(|_| {}).await?;
        if !finished.success {
            let what = format!("{reference} cannot be had; nothing was changed");
            return Err(Error::new(Exit::Build, what)
                .running(command.display())
                .saying(message::essence(&finished.stderr_tail)));
        }
        let metadata: Value = serde_json::from_slice(&finished.stdout)
            .context(|| "cannot read what `nix flake metadata --json` printed".into())?;
        let locks = &metadata["locks"];
        let locked = &locks["nodes"][&node_of(locks, INPUT)?];
        let after = relocked(&lock, &node, locked)?;
        let after = if after == lock {
            before.clone()
        } else {
            printed(&after)?
        };
        Ok(Self {
            file,
            from: revision(&lock["nodes"][&node]["locked"]),
            to: revision(&locked["locked"]),
            before,
            after,
        })
    }

    /// An update of a file, for tests.
    #[cfg(test)]
    pub fn of(file: PathBuf, before: &str, after: &str) -> Self {
        Self {
            file,
            before: before.into(),
            after: after.into(),
            from: "a".into(),
            to: "b".into(),
        }
    }

    /// Reports the change.
    pub fn tell(&self, reporter: &Reporter) {
        let text = if self.before == self.after {
            format!("nixpkgs stays at {}", self.from)
        } else {
            format!("nixpkgs: {} → {}", self.from, self.to)
        };
        reporter.emit(Event::Log {
            node: None,
            line: text,
        });
    }
}

/// A revision, with its day if known.
fn revision(locked: &Value) -> String {
    let rev = locked["rev"].as_str().or(locked["narHash"].as_str());
    let rev = rev.unwrap_or("?");
    let day = locked["lastModified"]
        .as_i64()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    match day {
        Some(day) => format!("{rev} ({})", day.date()),
        None => rev.to_owned(),
    }
}

/// The lock's node of a direct input.
fn node_of(lock: &Value, input: &str) -> Result<String> {
    let root = lock["root"].as_str().unwrap_or("root");
    let node = lock["nodes"][root]["inputs"][input].as_str();
    node.map(str::to_owned).ok_or_else(|| {
        Error::usage(format!(
            "the flake has no input {input} of its own in its lock"
        ))
        .help("update it as your flake wants it (`nix flake update`), then use --no-update")
    })
}

/// The reference to ask Nix for, from the lock's description (`nix flake --help`, "Flake
/// references").
fn reference(original: &Value, target: &Target) -> Result<String> {
    let text = |name: &str| original[name].as_str();
    let no_way = || {
        Error::usage(format!(
            "nixpkgs is locked as {original}, of which no other revision can be asked for"
        ))
        .help("update it as your flake wants it (`nix flake update`), then use --no-update")
    };
    let rev = match target {
        Target::Newest => None,
        Target::Revision(rev) => Some(rev.as_str()),
    };
    let kind = text("type").unwrap_or_default();
    match kind {
        "github" | "gitlab" | "sourcehut" => {
            let (owner, repo) = text("owner").zip(text("repo")).ok_or_else(no_way)?;
            let at = rev.or(text("rev")).or(text("ref"));
            let at = at.map(|at| format!("/{at}")).unwrap_or_default();
            let host = text("host").map(|host| format!("?host={host}"));
            Ok(format!(
                "{kind}:{owner}/{repo}{at}{}",
                host.unwrap_or_default()
            ))
        }
        "git" => {
            let url = text("url").ok_or_else(no_way)?;
            let given = [("ref", text("ref")), ("rev", rev.or(text("rev")))];
            let more = given
                .iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
            let more = more.collect::<Vec<_>>().join("&");
            let mark = if url.contains('?') { "&" } else { "?" };
            Ok(if more.is_empty() {
                format!("git+{url}")
            } else {
                format!("git+{url}{mark}{more}")
            })
        }
        "indirect" => {
            let id = text("id").ok_or_else(no_way)?;
            let at = rev.or(text("rev")).or(text("ref"));
            Ok(match at {
                Some(at) => format!("flake:{id}/{at}"),
                None => format!("flake:{id}"),
            })
        }
        "tarball" | "path" if rev.is_some() => Err(no_way()),
        "tarball" => text("url").map(str::to_owned).ok_or_else(no_way),
        "path" => Ok(format!("path:{}", text("path").ok_or_else(no_way)?)),
        _ => Err(no_way()),
    }
}

/// Replaces the node's revision in the lock by what Nix `found`. The flake's own reference
/// (`original`) stays.
fn relocked(lock: &Value, node: &str, found: &Value) -> Result<Value> {
    let mut new = lock.clone();
    let has_inputs = |node: &Value| node["inputs"].as_object().is_some_and(|i| !i.is_empty());
    if has_inputs(found) || has_inputs(&lock["nodes"][node]) {
        return Err(Error::usage("this nixpkgs has inputs of its own")
            .help("update it as your flake wants it (`nix flake update`), then use --no-update"));
    }
    new["nodes"][node]["locked"] = found["locked"].clone();
    Ok(new)
}

/// Formats a lock file as Nix does: two spaces, sorted names, a final line break.
fn printed(lock: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(lock)
        .map_err(|e| Error::unexpected(format!("the lock cannot be printed: {e}")))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(original: &Value, rev: Option<&str>) -> Option<String> {
        let target = rev.map_or(Target::Newest, |rev| Target::Revision(rev.into()));
        reference(original, &target).ok()
    }

    #[test]
    fn the_newest_of_a_branch_or_a_revision_is_asked_for() {
        let github =
            json!({"type": "github", "owner": "NixOS", "repo": "nixpkgs", "ref": "nixos-26.05"});
        assert_eq!(
            asked(&github, None).unwrap(),
            "github:NixOS/nixpkgs/nixos-26.05"
        );
        assert_eq!(
            asked(&github, Some("abc")).unwrap(),
            "github:NixOS/nixpkgs/abc"
        );
        let git = json!({"type": "git", "url": "file:///r", "ref": "stable"});
        assert_eq!(asked(&git, None).unwrap(), "git+file:///r?ref=stable");
        assert_eq!(
            asked(&git, Some("abc")).unwrap(),
            "git+file:///r?ref=stable&rev=abc"
        );
        let registry = json!({"type": "indirect", "id": "nixpkgs"});
        assert_eq!(asked(&registry, None).unwrap(), "flake:nixpkgs");
        let path = json!({"type": "path", "path": "/n"});
        assert_eq!(asked(&path, None).unwrap(), "path:/n");
        assert_eq!(asked(&path, Some("abc")), None);
    }

    #[test]
    fn a_lock_with_the_same_revision_is_the_same_byte_for_byte() {
        let text = include_str!("../../../flake.lock");
        let lock: Value = serde_json::from_str(text).unwrap();
        let node = node_of(&lock, "nixpkgs").unwrap();
        let same = relocked(&lock, &node, &lock["nodes"][&node]).unwrap();
        assert_eq!(printed(&same).unwrap(), text);
    }

    #[test]
    fn another_revision_changes_what_is_locked_and_not_what_is_asked_for() {
        let lock = json!({"nodes": {"n": {"locked": {"rev": "a"}, "original": {"ref": "b"}}, "root": {"inputs": {"nixpkgs": "n"}}}, "root": "root"});
        let found = json!({"locked": {"rev": "c"}, "original": {"rev": "c"}});
        let new = relocked(&lock, &node_of(&lock, "nixpkgs").unwrap(), &found).unwrap();
        assert_eq!(
            new["nodes"]["n"],
            json!({"locked": {"rev": "c"}, "original": {"ref": "b"}})
        );
    }
}
