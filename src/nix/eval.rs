//! Evaluates a cluster's data, and its nodes' systems by parallel workers.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::inhibitors::Inhibitors;
use super::parts::PARTS;
use super::source::Source;
use super::store::StorePath;
use super::syntax::string;
use super::{Settings, message};
use crate::error::{Context, Error, Exit, Result};

/// The memory that a worker needs for its first system, in bytes; each further one needs half of
/// it. Measured with genuine nixpkgs: 0.5 to 0.9 GB.
const WORKER_BYTES: u64 = 1 << 30;

/// A node's evaluated system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// The derivation of the toplevel.
    pub drv: StorePath,
    /// The toplevel.
    pub out: StorePath,
}

impl System {
    /// Whether its derivation is in the local store.
    pub fn has_derivation(&self) -> bool {
        Path::new(&self.drv.to_string()).exists()
    }

    /// Its switch inhibitors, once it is built.
    pub fn inhibitors(&self) -> Inhibitors {
        Inhibitors::of(Path::new(&self.out.to_string()))
    }

    /// The paths of its kernel, initrd, kernel modules and systemd, once it is built.
    pub fn parts(&self) -> Vec<String> {
        parts_of(Path::new(&self.out.to_string()))
    }
}

/// The paths of a system's parts. For a missing part it has the word that a probe prints.
fn parts_of(toplevel: &Path) -> Vec<String> {
    let parts = PARTS.iter().map(|part| toplevel.join(part).canonicalize());
    parts
        .map(|path| {
            path.map_or_else(
                |_| "none".into(),
                |path| path.to_string_lossy().into_owned(),
            )
        })
        .collect()
}

/// The result of looking up a name in `clusters`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Named {
    /// The cluster's data.
    Found {
        /// The data, as Nix printed it.
        data: Value,
    },
    /// No cluster has that name.
    Missing {
        /// The names of all clusters.
        names: Vec<String>,
    },
}

/// The systems of some configurations, or an error for each that does not evaluate.
pub type Systems = Result<BTreeMap<String, System>, Vec<(String, Error)>>;

/// Evaluates `clusters.<name>` alone.
pub async fn cluster(source: &Source, settings: &Settings, name: &str) -> Result<Named> {
    let apply = format!(
        "clusters: let name = {}; in if clusters ? ${{name}} then {{ data = clusters.${{name}}; }} else {{ names = builtins.attrNames clusters; }}",
        string(name)
    );
    eval(source, settings, "clusters", &apply)
        .await
        .map_err(|e| e.exit(Exit::Usage))
}

/// Evaluates the named `nixosConfigurations`, spread over at most `workers` evaluators.
///
/// If a worker fails, its systems are evaluated one by one, so that every bad one is named.
pub async fn systems(
    source: &Source,
    settings: &Settings,
    names: &[String],
    workers: usize,
) -> Systems {
    let chunks = spread(names, workers);
    let runs = chunks
        .into_iter()
        .map(|chunk| chunk_of_systems(source, settings, chunk));
    let mut found = BTreeMap::new();
    let mut failed = Vec::new();
    for run in join_all(runs).await {
        match run {
            Ok(systems) => found.extend(systems),
            Err(errors) => failed.extend(errors),
        }
    }
    if failed.is_empty() {
        Ok(found)
    } else {
        Err(failed)
    }
}

async fn chunk_of_systems(source: &Source, settings: &Settings, names: Vec<String>) -> Systems {
    match toplevels(source, settings, &names).await {
        Ok(systems) => Ok(systems),
        Err(error) if names.len() == 1 => Err(names
            .into_iter()
            .map(|name| (name, error.clone()))
            .collect()),
        Err(error) => {
            tracing::debug!("a worker failed, its systems are evaluated one by one: {error}");
            let mut found = BTreeMap::new();
            let mut failed = Vec::new();
            for name in names {
                match toplevels(source, settings, std::slice::from_ref(&name)).await {
                    Ok(systems) => found.extend(systems),
                    Err(error) => failed.push((name, error)),
                }
            }
            if failed.is_empty() {
                Ok(found)
            } else {
                Err(failed)
            }
        }
    }
}

async fn toplevels(
    source: &Source,
    settings: &Settings,
    names: &[String],
) -> Result<BTreeMap<String, System>> {
    let list: Vec<String> = names.iter().map(|name| string(name)).collect();
    let apply = format!(
        "systems: builtins.listToAttrs (map (name: let toplevel = systems.${{name}}.config.system.build.toplevel; in {{ inherit name; value = {{ drv = toplevel.drvPath; out = toplevel.outPath; }}; }}) [ {} ])",
        list.join(" ")
    );
    eval(source, settings, "nixosConfigurations", &apply).await
}

async fn eval<T: DeserializeOwned>(
    source: &Source,
    settings: &Settings,
    attribute: &str,
    apply: &str,
) -> Result<T> {
    let command = settings
        .flake_command(&["eval", "--json", "--no-write-lock-file"])
        // Nix's own cache does not support several evaluators of one flake: with it, 2.8 sometimes
        // reports an existing attribute as missing.
        .args(["--option", "eval-cache", "false"])
        .arg(format!("{}#{attribute}", source.reference))
        .args(["--apply", apply]);
    let finished = command.run(|_| {}).await?;
    if !finished.success {
        let download = message::help_with_download(&finished.stderr_tail);
        let said = if settings.show_trace {
            finished.stderr_tail
        } else {
            source.own_paths(&message::essence(&finished.stderr_tail))
        };
        let error = Error::new(Exit::Build, "Nix cannot evaluate it").saying(said);
        return Err(match download {
            Some(help) => error.help(help),
            None if settings.show_trace => error.running(command.display()),
            None => error.help("--show-trace shows how Nix got there"),
        });
    }
    serde_json::from_slice(&finished.stdout)
        .context(|| format!("cannot read what `{}` printed", command.display()))
}

/// Distributes `names` to at most `workers` lists of nearly equal length.
fn spread(names: &[String], workers: usize) -> Vec<Vec<String>> {
    let workers = workers.clamp(1, names.len().max(1));
    let mut chunks = vec![Vec::new(); workers];
    for (i, name) in names.iter().enumerate() {
        chunks[i % workers].push(name.clone());
    }
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

/// The number of evaluators for `systems` systems, as cores and free memory (bytes) allow.
pub fn workers(systems: usize, cores: usize, free_memory: u64) -> usize {
    (1..=cores.min(systems).max(1))
        .rev()
        .find(|&workers| {
            let each = systems.div_ceil(workers) as u64;
            let need = WORKER_BYTES + WORKER_BYTES / 2 * each.saturating_sub(1);
            need * workers as u64 <= free_memory
        })
        .unwrap_or(1)
}

/// [`workers`] with this machine's cores and free memory.
pub fn workers_here(systems: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut machine = sysinfo::System::new();
    machine.refresh_memory();
    workers(systems, cores, machine.available_memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_a_kernel_says_none() {
        let toplevel = tempfile::tempdir().unwrap();
        let systemd = toplevel.path().join("systemd");
        std::fs::write(&systemd, "").unwrap();
        let systemd = systemd.canonicalize().unwrap();
        assert_eq!(
            parts_of(toplevel.path()),
            ["none", "none", "none", systemd.to_str().unwrap()]
        );
    }

    #[test]
    fn names_are_dealt_out_evenly_and_none_is_lost() {
        let names: Vec<String> = ["a", "b", "c"].map(String::from).into();
        assert_eq!(spread(&names, 2), [vec!["a", "c"], vec!["b"]]);
        assert_eq!(spread(&names, 9).len(), 3);
        assert!(spread(&[], 2).is_empty());
    }

    #[test]
    fn workers_are_bounded_by_cores_by_systems_and_by_memory() {
        let gib = 1 << 30;
        assert_eq!(workers(8, 2, 64 * gib), 2);
        assert_eq!(workers(1, 8, 64 * gib), 1);
        assert_eq!(workers(8, 8, 8 * gib), 8);
        assert_eq!(
            workers(8, 8, 5 * gib),
            2,
            "2 workers with 4 systems each need 5 GiB"
        );
        assert_eq!(workers(8, 8, gib / 2), 1, "one must always run");
    }

    #[test]
    fn a_missing_cluster_is_told_from_a_found_one() {
        let missing: Named = serde_json::from_str(r#"{"names":["prod"]}"#).unwrap();
        assert!(matches!(missing, Named::Missing { names } if names == ["prod"]));
        let found: Named = serde_json::from_str(r#"{"data":{"schema":1}}"#).unwrap();
        assert!(matches!(found, Named::Found { .. }));
    }
}
