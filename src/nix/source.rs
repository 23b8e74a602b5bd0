//! Pins the flake: everything that a run evaluates comes from one immutable source, even if a file
//! changes during the run.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::store::StorePath;
use super::{Settings, message};
use crate::error::{Context, Error, Exit, Result};

/// A flake reference of the operator, and its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flake {
    /// The reference. For a folder of this machine it is an absolute URL.
    pub reference: String,
    /// The folder with `flake.nix`; the working directory for a flake that is no folder of this
    /// machine.
    pub root: PathBuf,
    /// The folder's Git repository, if it is in one.
    repository: Option<PathBuf>,
}

impl Flake {
    /// Resolves a reference against the working directory, and searches upwards for `flake.nix` as
    /// Nix does.
    pub fn locate(reference: &str, cwd: &Path) -> Result<Self> {
        let Some(local) = Local::of(reference) else {
            return Ok(Self {
                reference: reference.to_owned(),
                root: cwd.to_owned(),
                repository: None,
            });
        };
        let start = cwd.join(&local.folder);
        let start = start.canonicalize().map_err(|e| {
            Error::usage(format!("the flake {} cannot be read: {e}", start.display()))
        })?;
        let is_flake = |dir: &Path| dir.join("flake.nix").is_file();
        let root = match &local.below {
            Some(below) => Some(start.join(below)).filter(|dir| is_flake(dir)),
            None => start
                .ancestors()
                .find(|dir| is_flake(dir))
                .map(Path::to_owned),
        };
        let root = root.ok_or_else(|| {
            let what = match &local.below {
                Some(below) => format!("there is no flake.nix in {}", start.join(below).display()),
                None => format!("there is no flake.nix in {} or above it", start.display()),
            };
            Error::usage(what)
                .help("run this in the repository of your cluster, or name it with --flake")
        })?;
        let (reference, repository) = local.url(&start, &root);
        Ok(Self {
            reference,
            root,
            repository,
        })
    }

    /// Whether it is a folder of this machine.
    pub fn is_folder(&self) -> bool {
        Local::of(&self.reference).is_some()
    }

    /// Whether Nix reads it through Git, and so reads tracked files alone.
    pub fn is_in_git(&self) -> bool {
        self.repository.is_some()
    }

    /// The flake in this folder, for tests.
    #[cfg(any(test, fuzzing))]
    pub fn folder(root: &Path) -> Self {
        Self {
            reference: format!("path:{}", root.display()),
            root: root.to_owned(),
            repository: None,
        }
    }

    /// The owner of the repository, if Git refuses it because of the owner.
    fn foreign(&self) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        let repository = self.repository.as_ref()?;
        let owner = std::fs::metadata(repository.join(".git")).ok()?.uid();
        (owner != rustix::process::geteuid().as_raw()).then(|| {
            format!(
                "Git reads no repository of another user (this is the one of user {owner}): run as that user, or, if you trust it, \
                 git config --global --add safe.directory '{}'",
                repository.display()
            )
        })
    }
}

/// A reference that names a folder of this machine.
struct Local<'a> {
    /// The folder, as given.
    folder: PathBuf,
    /// `path:` or `git+file:`, if the reference has one.
    scheme: Option<&'a str>,
    /// The folder of the flake below that one (`dir=`).
    below: Option<PathBuf>,
    /// The reference's other parameters, such as `submodules=1`.
    more: Vec<&'a str>,
}

impl<'a> Local<'a> {
    /// Parses Nix's forms: a path that begins with `/` or `.`, and URLs of the schemes `path` and
    /// `git+file`, each with parameters (Nix manual, `nix flake`).
    fn of(reference: &'a str) -> Option<Self> {
        let (place, parameters) = reference.split_once('?').unwrap_or((reference, ""));
        let scheme = ["path:", "git+file:"]
            .into_iter()
            .find(|scheme| place.starts_with(scheme));
        let folder = match scheme {
            Some(scheme) => {
                let rest = place.strip_prefix(scheme)?;
                let rest = rest.strip_prefix("//").unwrap_or(rest);
                percent_decode_str(rest).decode_utf8().ok()?.into_owned()
            }
            None if place.starts_with('/') || place.starts_with('.') => place.to_owned(),
            None => return None,
        };
        let (mut below, mut more) = (None, Vec::new());
        for parameter in parameters.split('&').filter(|one| !one.is_empty()) {
            match parameter.strip_prefix("dir=") {
                Some(dir) => {
                    below = Some(percent_decode_str(dir).decode_utf8().ok()?.as_ref().into())
                }
                None => more.push(parameter),
            }
        }
        Some(Self {
            folder: folder.into(),
            scheme,
            below,
            more,
        })
    }

    /// The URL of the flake in `root`, named from `start`, and its repository. As in Nix, a path
    /// inside a repository means Git unless the reference says otherwise. A plain path will not do:
    /// Nix 2.8 turns it into a URL without encoding spaces.
    fn url(&self, start: &Path, root: &Path) -> (String, Option<PathBuf>) {
        let repository = root.ancestors().find(|dir| dir.join(".git").exists());
        let mut parameters: Vec<String> = self.more.iter().map(ToString::to_string).collect();
        let (scheme, place, repository) = match (self.scheme, repository) {
            (Some("path:"), _) | (None, None) => {
                // The flake's tree is the whole folder that was named.
                let place = if self.below.is_some() { start } else { root };
                ("path:", place, None)
            }
            (_, Some(repository)) => {
                if is_shallow(repository)
                    && !self.more.iter().any(|one| one.starts_with("shallow="))
                {
                    parameters.push("shallow=1".to_owned());
                }
                ("git+file://", repository, Some(repository.to_owned()))
            }
            (_, None) => ("git+file://", start, None),
        };
        if let Ok(below) = root.strip_prefix(place)
            && below != Path::new("")
        {
            parameters.push(format!("dir={}", encoded(below, &PARAMETER)));
        }
        let query = if parameters.is_empty() {
            String::new()
        } else {
            format!("?{}", parameters.join("&"))
        };
        (
            format!("{scheme}{}{query}", encoded(place, &PATH)),
            repository,
        )
    }
}

/// Whether a clone is shallow: Nix then needs `shallow=1`.
fn is_shallow(repository: &Path) -> bool {
    let mut git = repository.join(".git");
    // In a worktree or submodule, `.git` is a file that names the folder (gitrepository-layout(5)).
    if let Ok(text) = std::fs::read_to_string(&git) {
        let named = text.trim().strip_prefix("gitdir: ").unwrap_or_default();
        git = repository.join(named);
        if let Ok(common) = std::fs::read_to_string(git.join("commondir")) {
            git = git.join(common.trim());
        }
    }
    git.join("shallow").exists()
}

/// The characters to encode in a URL's path: all but `pchar` and `/` (RFC 3986). Nix 2.8 decodes
/// nothing in `path:`, so no others are encoded.
const PATH: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');
/// The characters to encode in a parameter: also those that separate parameters.
const PARAMETER: AsciiSet = PATH.add(b'&').add(b'=').add(b'+');

fn encoded(path: &Path, kept: &'static AsciiSet) -> String {
    utf8_percent_encode(&path.to_string_lossy(), kept).to_string()
}

/// Makes a local reference independent of the working directory.
pub fn absolute_reference(reference: &str, cwd: &Path) -> String {
    let Some(local) = Local::of(reference) else {
        return reference.to_owned();
    };
    let path = cwd.join(&local.folder);
    let path = path.canonicalize().unwrap_or(path);
    let root = match &local.below {
        Some(below) => path.join(below),
        None => path.clone(),
    };
    local.url(&path, &root).0
}

/// An immutable flake to evaluate, and the identity of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A reference that always means the same content.
    pub reference: String,
    /// Identifies the content and all locked inputs, overrides included. If Nix does not report it,
    /// there is none, and nothing is cached.
    pub identity: Option<String>,
    /// The Git revision, if the tree is clean.
    pub revision: Option<String>,
    /// The folder of its files in the Nix store. Nix's messages name files there.
    pub files: Option<String>,
}

impl Source {
    /// Replaces paths in the Nix store by those in the repository, in a message of Nix.
    pub fn own_paths(&self, message: &str) -> String {
        match &self.files {
            Some(files) => message.replace(&format!("{files}/"), ""),
            None => message.to_owned(),
        }
    }
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
        if let Some(help) = message::help_with_download(&finished.stderr_tail) {
            error = error.help(help);
        } else if let Some(help) = flake.foreign() {
            error = error.help(help);
        } else if flake.reference.contains("shallow=1") {
            error = error.help("this clone has no history, which Nix before 2.26 cannot read: git fetch --unshallow");
        } else if flake.reference.starts_with("path:") && flake.reference.contains('%') {
            error = error.help(
                "before 2.26, Nix reads a folder of such a name only if it is in a Git repository",
            );
        }
        return Err(error);
    }
    let metadata: Value = serde_json::from_slice(&finished.stdout)
        .context(|| "cannot read what `nix flake metadata --json` printed".into())?;
    Ok(parse(&metadata, flake))
}

pub(crate) fn parse(metadata: &Value, flake: &Flake) -> Source {
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
            files: None,
        };
    };
    let dirty_below = revision.is_none() && folder.is_some();
    if dirty_below && metadata["locked"]["__final"].is_null() {
        // Nix 2.8 knows no `dir` in a `path:`. The flake is then not pinned, and nothing is cached.
        return Source {
            reference: flake.reference.clone(),
            identity: None,
            revision,
            files: Some(path),
        };
    }
    // A clean Git tree is named by its revision, so that `self.rev` exists. Anything else is named
    // by the content-addressed copy that Nix just made.
    let reference = match (&revision, locked_url) {
        (Some(revision), Some(url)) if url.contains(revision.as_str()) => {
            whole(url, &metadata["locked"])
        }
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
        files: Some(path),
    }
}

/// Completes a locked URL by what Nix 2.8 reports elsewhere.
fn whole(url: String, locked: &Value) -> String {
    ["submodules", "shallow"].iter().fold(url, |url, name| {
        if locked[name] == true && !url.contains(&format!("{name}=")) {
            format!("{url}&{name}=1")
        } else {
            url
        }
    })
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
        assert_eq!(flake.reference, format!("path:{}", root.display()));
        let flake = Flake::locate("path:../..", &root.join("cluster/prod")).unwrap();
        assert_eq!(flake.reference, format!("path:{}", root.display()));
    }

    #[test]
    fn a_folder_becomes_a_url_of_its_repository_with_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("a b#c%");
        let infra = top.join("in fra");
        std::fs::create_dir_all(infra.join("cluster")).unwrap();
        std::fs::write(infra.join("flake.nix"), "").unwrap();
        let url = |text: &str| {
            text.replace(
                "TOP",
                &format!("{}/a%20b%23c%25", top.parent().unwrap().display()),
            )
        };
        let located = |reference: &str, cwd: &Path| {
            let flake = Flake::locate(reference, cwd).unwrap();
            assert_eq!(flake.root, infra, "{reference}");
            assert!(flake.is_folder(), "{}", flake.reference);
            // What was made of it means the same once more, and from elsewhere.
            assert_eq!(
                Flake::locate(&flake.reference, Path::new("/")).unwrap(),
                flake
            );
            flake.reference
        };
        assert_eq!(located(".", &infra), url("path:TOP/in%20fra"));
        assert_eq!(located(".?dir=in fra", &top), url("path:TOP?dir=in%20fra"));
        std::fs::create_dir(top.join(".git")).unwrap();
        assert_eq!(
            located(".", &infra.join("cluster")),
            url("git+file://TOP?dir=in%20fra")
        );
        for reference in [".?submodules=1", ".?submodules=1&dir=in%20fra"] {
            let cwd = if reference.contains("dir") {
                &top
            } else {
                &infra
            };
            assert_eq!(
                located(reference, cwd),
                url("git+file://TOP?submodules=1&dir=in%20fra")
            );
        }
        assert_eq!(located("path:.", &infra), url("path:TOP/in%20fra"));
        std::fs::write(top.join(".git/shallow"), "").unwrap();
        assert_eq!(
            located(&infra.display().to_string(), Path::new("/")),
            url("git+file://TOP?shallow=1&dir=in%20fra")
        );
        let error = Flake::locate(".?dir=nowhere", &top).unwrap_err();
        assert!(error.what.contains("nowhere"), "{}", error.what);
    }

    #[test]
    fn an_input_in_a_folder_becomes_a_url_and_another_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("n p")).unwrap();
        assert_eq!(
            absolute_reference("./n p", &top),
            format!("path:{}/n%20p", top.display())
        );
        assert_eq!(absolute_reference("nixpkgs", &top), "nixpkgs");
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

    #[test]
    fn a_fault_is_where_the_operator_wrote_it() {
        let source = pinned(&json!({"path": SOURCE, "locked": {}, "locks": {}}));
        let said = format!("at {SOURCE}/cluster/prod/cluster.nix:3:1:, and {SOURCE}2/x");
        let shown = format!("at cluster/prod/cluster.nix:3:1:, and {SOURCE}2/x");
        assert_eq!(source.own_paths(&said), shown);
    }

    fn pinned(metadata: &Value) -> Source {
        parse(metadata, &Flake::folder(Path::new("/r")))
    }

    #[test]
    fn a_clean_tree_is_pinned_by_revision_and_a_dirty_one_by_content() {
        let clean = json!({"path": SOURCE, "url": "git+file:///r?ref=main&rev=abc", "locked": {"rev": "abc"}, "locks": {}});
        assert_eq!(pinned(&clean).reference, "git+file:///r?ref=main&rev=abc");
        let whole = json!({"path": SOURCE, "url": "git+file:///r?rev=abc", "locked": {"rev": "abc", "submodules": true}, "locks": {}});
        assert_eq!(
            pinned(&whole).reference,
            "git+file:///r?rev=abc&submodules=1"
        );
        let dirty = json!({"path": SOURCE, "url": "git+file:///r", "locked": {}, "locks": {}});
        assert_eq!(pinned(&dirty).reference, format!("path:{SOURCE}"));
        let below = json!({"path": SOURCE, "url": "git+file:///r?dir=sub", "locked": {"dir": "sub", "__final": true}, "locks": {}});
        assert_eq!(pinned(&below).reference, format!("path:{SOURCE}?dir=sub"));
        let by_old_nix = json!({"path": SOURCE, "url": "git+file:///r?dir=sub", "locked": {"dir": "sub"}, "locks": {}});
        let source = pinned(&by_old_nix);
        assert_eq!(
            (source.reference.as_str(), source.identity),
            ("path:/r", None)
        );
    }

    #[test]
    fn a_source_outside_the_store_is_not_remembered() {
        let source = pinned(&json!({"path": "/virtual/source", "locks": {}}));
        assert_eq!(
            (source.reference.as_str(), source.identity),
            ("path:/r", None)
        );
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
