//! Reads the folder: its files by Nix, so that what they compute is taken as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Original, Setting};
use crate::cluster::Name;
use crate::error::{Context, Error, Result};
use crate::nix::{Settings, message, syntax};
use crate::scaffold::answer::label;

/// The expression that reads the files.
const READ: &str = include_str!("read.nix");

/// A setting, as the expression prints it.
#[derive(Debug, Deserialize)]
struct Found {
    path: Vec<String>,
    file: PathBuf,
    line: u64,
    priority: Option<i64>,
    /// The number of its file.
    source: usize,
    #[serde(default)]
    value: Option<Encoded>,
}

/// A value, or why it is no plain data.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoded {
    Data(Value),
    Why(String),
}

impl From<Encoded> for Result<Value, String> {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Data(value) => Ok(value),
            Encoded::Why(why) => Err(why),
        }
    }
}

/// What a file is of.
enum Part {
    Cluster,
    Site(Name),
    Node(Name),
}

/// Reads `cluster/<name>` of a repository of the original scripts.
pub async fn read(folder: &Path, settings: &Settings) -> Result<Original> {
    let folder = folder
        .canonicalize()
        .map_err(|e| Error::usage(format!("{} cannot be read: {e}", folder.display())))?;
    let cluster = folder.join("cluster.nix");
    if !cluster.is_file() {
        return Err(
            Error::usage(format!("there is no cluster.nix in {}", folder.display()))
                .help("--from takes the folder cluster/<name> of the other repository"),
        );
    }
    let mut original = Original::default();
    let mut parts = vec![(Part::Cluster, cluster)];
    for file in entries(&folder.join("site"))? {
        if let Some(name) = stem(&file, ".nix") {
            parts.push((Part::Site(label(name)?), file.clone()));
        }
    }
    for file in entries(&folder.join("node"))? {
        if let Some(node) = stem(&file, ".site.nix") {
            if let Some(site) = file
                .read_link()
                .ok()
                .as_deref()
                .and_then(|to| stem(to, ".nix"))
            {
                original.linked.insert(label(node)?, label(site)?);
            }
        } else if let Some(node) = stem(&file, ".nix") {
            parts.push((Part::Node(label(node)?), file.clone()));
        }
    }
    let files: Vec<&Path> = parts.iter().map(|(_, file)| file.as_path()).collect();
    let mut found = settings_of(&folder, &files, settings).await?;
    for (number, (part, _)) in parts.into_iter().enumerate() {
        let of_part = found.remove(&number).unwrap_or_default();
        match part {
            Part::Cluster => original.cluster = of_part,
            Part::Site(name) => {
                original.sites.insert(name, of_part);
            }
            Part::Node(name) => {
                original.nodes.insert(name, of_part);
            }
        }
    }
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    original.ssh_config = text("ssh_config");
    original.known_hosts = text("known_hosts");
    let beside = ["../../nix", "../nix", "app"].map(|beside| folder.join(beside));
    original.others = beside
        .iter()
        .filter_map(|beside| beside.canonicalize().ok())
        .collect();
    original.folder = folder;
    Ok(original)
}

/// The entries of a folder, by name; none of one that does not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let doing = || format!("cannot read {}", folder.display());
    let mut entries = std::fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .context(doing)?;
    entries.sort();
    Ok(entries)
}

/// A file's name without `ending`; none of another.
fn stem<'a>(file: &'a Path, ending: &str) -> Option<&'a str> {
    file.file_name()?.to_str()?.strip_suffix(ending)
}

/// The settings of each file, by its number.
///
/// A name that only nixpkgs has ends an evaluation. Then each value is evaluated alone, and those
/// that need such a name are known.
async fn settings_of(
    folder: &Path,
    files: &[&Path],
    settings: &Settings,
) -> Result<BTreeMap<usize, Vec<Setting>>> {
    let found: Vec<Found> = match eval(folder, files, "null", settings).await {
        Ok(found) => found,
        Err(_) => {
            let mut found: Vec<Found> = eval(folder, files, "false", settings).await?;
            for (number, one) in found.iter_mut().enumerate() {
                let value = eval(folder, files, &number.to_string(), settings).await;
                one.value = Some(value.unwrap_or_else(|_| {
                    Encoded::Why("needs what is in that repository or in nixpkgs".into())
                }));
            }
            found
        }
    };
    let mut all = BTreeMap::<usize, Vec<Setting>>::new();
    for one in found {
        let value = one
            .value
            .unwrap_or_else(|| Encoded::Why("has no value".into()));
        all.entry(one.source).or_default().push(Setting {
            path: one.path,
            file: one.file,
            line: one.line,
            value: value.into(),
            priority: one.priority,
        });
    }
    Ok(all)
}

/// Evaluates the expression. It may read that repository alone, and builds nothing.
async fn eval<T: DeserializeOwned>(
    folder: &Path,
    files: &[&Path],
    wanted: &str,
    settings: &Settings,
) -> Result<T> {
    let repository = folder.parent().and_then(Path::parent).unwrap_or(folder);
    let mut paths = String::new();
    for file in files {
        paths += &format!("(/. + {}) ", syntax::string(&file.display().to_string()));
    }
    let command = settings
        .store_command(&["eval", "--json", "--impure"])
        .args(["--option", "restrict-eval", "true"])
        .args(["--option", "allow-import-from-derivation", "false"])
        .arg("-I")
        .arg(format!("original={}", repository.display()))
        .args([
            "--expr",
            &format!("({READ}) {{ files = [ {paths}]; wanted = {wanted}; }}"),
        ]);
    let finished = command.run(|_| {}).await?;
    if !finished.success {
        return Err(Error::usage(format!("Nix cannot read the files of {}", folder.display()))
            .saying(message::essence(&finished.stderr_tail))
            .help("what they compute from other files of that repository cannot be read; write the value instead"));
    }
    serde_json::from_slice(&finished.stdout)
        .context(|| "cannot read what Nix printed of these files".into())
}
