//! The flake as it is now, pinned: everything a run evaluates comes from one
//! immutable source, also when a file is saved while the run goes on.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::store::StorePath;
use super::{Settings, message};
use crate::error::{Context, Error, Exit, Result};

/// A flake reference as the operator gave it, and the folder it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flake {
    /// The reference, absolute where it names a folder.
    pub reference: String,
    /// The repository's root: the folder with `flake.nix`, or the working
    /// directory for a flake that is not a folder here.
    pub root: PathBuf,
}

impl Flake {
    /// Resolves a reference against the working directory, climbing to the
    /// folder that holds `flake.nix` as Nix does.
    pub fn locate(reference: &str, cwd: &Path) -> Result<Self> {
        let Some(folder) = local_folder(reference) else {
            return Ok(Self {
                reference: reference.to_owned(),
                root: cwd.to_owned(),
            });
        };
        let start = cwd.join(folder);
        let start = start.canonicalize().map_err(|e| {
            Error::usage(format!("the flake {} cannot be read: {e}", start.display()))
        })?;
        let root = start
            .ancestors()
            .find(|dir| dir.join("flake.nix").is_file())
            .ok_or_else(|| {
                Error::usage(format!(
                    "there is no flake.nix in {} or above it",
                    start.display()
                ))
                .help("run this in the repository of your cluster, or name it with --flake")
            })?
            .to_owned();
        let reference = match reference.split_once(':') {
            Some((scheme, _)) => format!("{scheme}:{}", root.display()),
            None => root.display().to_string(),
        };
        Ok(Self { reference, root })
    }
}

impl Flake {
    /// Whether it is a folder of this machine.
    pub fn is_folder(&self) -> bool {
        local_folder(&self.reference).is_some()
    }
}

/// The folder that a reference names on this machine, if it does.
fn local_folder(reference: &str) -> Option<&str> {
    let path = reference.strip_prefix("path:").unwrap_or(reference);
    (path.starts_with('/') || path.starts_with('.')).then_some(path)
}

/// Makes a local reference independent of the working directory.
pub fn absolute_reference(reference: &str, cwd: &Path) -> String {
    match local_folder(reference) {
        Some(folder) if folder.starts_with('.') => {
            let path = cwd.join(folder);
            let path = path.canonicalize().unwrap_or(path);
            let scheme = if reference.starts_with("path:") {
                "path:"
            } else {
                ""
            };
            format!("{scheme}{}", path.display())
        }
        _ => reference.to_owned(),
    }
}

/// An immutable flake: what to evaluate, and what identifies its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A reference that always means the same content.
    pub reference: String,
    /// Identifies the content and all locked inputs, overrides included; none
    /// where Nix does not tell, and then nothing is remembered about it.
    pub identity: Option<String>,
    /// The Git revision, where the tree is clean.
    pub revision: Option<String>,
}

/// Asks Nix for the flake's locked state (`nix flake metadata`), which also
/// puts its files into the store.
pub async fn pin(flake: &Flake, settings: &Settings) -> Result<Source> {
    let command = settings
        .flake_command(&["flake", "metadata", "--json", "--no-write-lock-file"])
        .arg(&flake.reference);
    let finished = command.run(|_| {}).await?;
    if !finished.success {
        let mut error = Error::new(Exit::Build, "the flake cannot be read")
            .running(command.display())
            .saying(message::essence(&finished.stderr_tail));
        if finished.stderr_tail.contains("resolve host")
            || finished.stderr_tail.contains("unable to download")
        {
            error = error.help("an input has to be downloaded: check the network, or name a local copy with --override-input");
        }
        return Err(error);
    }
    let metadata: Value = serde_json::from_slice(&finished.stdout)
        .context(|| "cannot read what `nix flake metadata --json` printed".into())?;
    Ok(parse(&metadata, flake))
}

fn parse(metadata: &Value, flake: &Flake) -> Source {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let revision = text(&metadata["locked"]["rev"]);
    let folder = text(&metadata["locked"]["dir"]).or_else(|| text(&metadata["resolved"]["dir"]));
    let locked_url = text(&metadata["url"]).or_else(|| text(&metadata["lockedUrl"]));
    let Some(path) = text(&metadata["path"]).filter(|path| path.parse::<StorePath>().is_ok())
    else {
        return Source {
            reference: flake.reference.clone(),
            identity: None,
            revision,
        };
    };
    // A clean Git tree is named by its revision, so that `self.rev` exists;
    // anything else by the content-addressed copy that Nix just made.
    let reference = match (&revision, locked_url) {
        (Some(revision), Some(url)) if url.contains(revision.as_str()) => url,
        _ => match &folder {
            Some(folder) => format!("path:{path}?dir={folder}"),
            None => format!("path:{path}"),
        },
    };
    let identity = format!(
        "{path} {} {} {}",
        folder.unwrap_or_default(),
        revision.as_deref().unwrap_or("-"),
        metadata["locks"]
    );
    Source {
        reference,
        identity: Some(identity),
        revision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_flake_is_found_from_a_folder_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("flake.nix"), "").unwrap();
        std::fs::create_dir_all(root.join("cluster/prod")).unwrap();
        let flake = Flake::locate(".", &root.join("cluster/prod")).unwrap();
        assert_eq!(flake.root, root);
        assert_eq!(flake.reference, root.display().to_string());
        let flake = Flake::locate("path:../..", &root.join("cluster/prod")).unwrap();
        assert_eq!(flake.reference, format!("path:{}", root.display()));
    }

    #[test]
    fn a_folder_without_a_flake_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Flake::locate(".", dir.path()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.what.contains("no flake.nix"));
    }

    #[test]
    fn a_remote_flake_keeps_its_reference() {
        let flake = Flake::locate("github:o/r", Path::new("/tmp")).unwrap();
        assert_eq!(flake.reference, "github:o/r");
        assert_eq!(flake.root, Path::new("/tmp"));
    }

    const SOURCE: &str = "/nix/store/nqlq4wf82bvxz1b7mqgn05f8i4sby5qm-source";

    fn pinned(metadata: &Value) -> Source {
        let flake = Flake {
            reference: "/r".into(),
            root: "/r".into(),
        };
        parse(metadata, &flake)
    }

    #[test]
    fn a_clean_tree_is_pinned_by_revision_and_a_dirty_one_by_content() {
        let clean = json!({"path": SOURCE, "url": "git+file:///r?ref=main&rev=abc", "locked": {"rev": "abc"}, "locks": {}});
        assert_eq!(pinned(&clean).reference, "git+file:///r?ref=main&rev=abc");
        let dirty = json!({"path": SOURCE, "url": "git+file:///r", "locked": {}, "locks": {}});
        assert_eq!(pinned(&dirty).reference, format!("path:{SOURCE}"));
        let below = json!({"path": SOURCE, "url": "git+file:///r?dir=sub", "locked": {"dir": "sub"}, "locks": {}});
        assert_eq!(pinned(&below).reference, format!("path:{SOURCE}?dir=sub"));
    }

    #[test]
    fn a_source_outside_the_store_is_not_remembered() {
        let source = pinned(&json!({"path": "/virtual/source", "locks": {}}));
        assert_eq!((source.reference.as_str(), source.identity), ("/r", None));
    }

    #[test]
    fn a_changed_lock_is_another_identity() {
        let with = |hash: &str| {
            pinned(&json!({"path": SOURCE, "locks": {"nodes": {"nixpkgs": {"locked": {"narHash": hash}}}}})).identity
        };
        assert_ne!(with("a"), with("b"));
        assert_eq!(with("a"), with("a"));
    }
}
