//! Remembers between runs what an immutable source evaluated to.
//!
//! Evaluation of a flake is pure: the same source and inputs always give the same derivations. So a
//! run with nothing to do need not evaluate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Settings;
use super::eval::System;
use super::source::Source;
use crate::private;

/// The evaluated values of one source.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Remembered {
    /// `clusters.<name>`, as Nix printed it.
    #[serde(default)]
    pub clusters: BTreeMap<String, Value>,
    /// `nixosConfigurations.<name>`.
    #[serde(default)]
    pub systems: BTreeMap<String, System>,
}

/// The cache of one source. It stays empty and is never written if evaluation may be impure.
#[derive(Debug)]
pub struct Cache {
    file: Option<PathBuf>,
    /// The values of earlier runs and of this one.
    pub known: Remembered,
}

impl Cache {
    /// Reads the values of earlier runs with `source`.
    pub fn open(source: &Source, settings: &Settings) -> Self {
        let file = file(source, settings);
        // The cache decides what nodes run, so nobody else may write to it.
        let read = |file: &PathBuf| {
            private::lasting(file.parent()?).ok()?;
            std::fs::read(file).ok()
        };
        let known = file
            .as_ref()
            .and_then(read)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { file, known }
    }

    /// Writes the values for later runs. Failing to write is no error.
    pub fn save(&self) {
        if let Some(file) = &self.file
            && let Err(e) = self.write(file)
        {
            tracing::debug!(file = %file.display(), "evaluation is not remembered: {e}");
        }
    }

    fn write(&self, file: &Path) -> std::io::Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        private::lasting(folder)?;
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut new, &self.known)?;
        new.persist(file)?;
        Ok(())
    }
}

fn file(source: &Source, settings: &Settings) -> Option<PathBuf> {
    let nix_config = std::env::var("NIX_CONFIG").unwrap_or_default();
    let unusual = |name: &str| matches!(name, "eval-cache" | "pure-eval" | "restrict-eval");
    if settings.options.iter().any(|(name, _)| unusual(name)) || nix_config.contains("pure-eval") {
        return None;
    }
    let key = format!(
        "{}\n{}\n{}\n{:?}\n{nix_config}\n{}",
        env!("CARGO_PKG_VERSION"),
        source.identity.as_deref()?,
        source.reference,
        settings.options,
        nix_identity()
    );
    let digest = HEXLOWER.encode(&Sha256::digest(key));
    Some(
        cache_folder()?
            .join("nixcfg/evaluations")
            .join(format!("{digest}.json")),
    )
}

/// How many files are read for a remembered cluster.
const LATEST: usize = 16;

/// The clusters of this name that were evaluated last, of any source, the latest first. For proposals
/// alone: they may be old, or another repository's.
pub fn latest(cluster: &str) -> Vec<Value> {
    let folder = cache_folder().map(|folder| folder.join("nixcfg/evaluations"));
    folder.map_or_else(Vec::new, |folder| latest_in(&folder, cluster))
}

fn latest_in(folder: &Path, cluster: &str) -> Vec<Value> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = files
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    let read = |(_, file): &(_, PathBuf)| {
        let mut known: Remembered = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        known.clusters.remove(cluster)
    };
    files.iter().take(LATEST).filter_map(read).collect()
}

/// `XDG_CACHE_HOME`, or `~/.cache` (XDG Base Directory Specification).
fn cache_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
}

/// Identifies the evaluating Nix by its file, size and time: expressions can depend on its version
/// (`builtins.nixVersion`).
fn nix_identity() -> String {
    use std::os::unix::fs::MetadataExt;
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join("nix"))
        .find_map(|file| {
            let file = file.canonicalize().ok()?;
            let meta = file.metadata().ok()?;
            Some(format!(
                "{} {} {}",
                file.display(),
                meta.size(),
                meta.mtime()
            ))
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(identity: Option<&str>) -> Source {
        Source {
            reference: "path:/nix/store/x".into(),
            identity: identity.map(str::to_owned),
            revision: None,
            files: None,
        }
    }

    #[test]
    fn another_source_or_another_option_is_another_file() {
        let plain = Settings::default();
        let cores = Settings {
            options: vec![("cores".into(), "1".into())],
            ..Settings::default()
        };
        let file_of = |s: &Source, o: &Settings| file(s, o).unwrap();
        let (a, b) = (source(Some("a")), source(Some("b")));
        assert_eq!(file_of(&a, &plain), file_of(&a, &plain));
        assert_ne!(file_of(&a, &plain), file_of(&b, &plain));
        assert_ne!(file_of(&a, &plain), file_of(&a, &cores));
    }

    #[test]
    fn the_clusters_of_a_name_are_found_again_the_latest_first() {
        use std::time::{Duration, SystemTime};
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in [(2, "prod"), (1, "prod"), (3, "other")] {
            let text = format!(r#"{{"clusters": {{"{name}": {{"age": {age}}}}}}}"#);
            let path = folder.path().join(format!("{age}.json"));
            std::fs::write(&path, text).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age * 60);
            let file = std::fs::File::open(path).unwrap();
            file.set_modified(time).unwrap();
        }
        std::fs::write(folder.path().join("torn.json"), "{").unwrap();
        let ages = latest_in(folder.path(), "prod");
        let ages: Vec<_> = ages.iter().map(|cluster| &cluster["age"]).collect();
        assert_eq!(ages, [1, 2]);
        assert!(latest_in(&folder.path().join("none"), "prod").is_empty());
    }

    #[test]
    fn nothing_is_remembered_where_evaluation_may_be_impure_or_unidentified() {
        let impure = Settings {
            options: vec![("pure-eval".into(), "false".into())],
            ..Settings::default()
        };
        assert!(file(&source(Some("a")), &impure).is_none());
        assert!(file(&source(None), &Settings::default()).is_none());
    }
}
