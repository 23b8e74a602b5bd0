//! Builds systems on the operator's machine, all in one call.

use std::collections::BTreeMap;
use std::path::Path;

use super::Settings;
use super::eval::System;
use super::message;
use super::store::StorePath;
use crate::error::{Error, Exit, Result};

/// How many lines of a failed derivation's log are shown.
const LOG_LINES: usize = 25;

/// Which of `paths` are not valid in the local store.
pub async fn missing(settings: &Settings, paths: &[StorePath]) -> Result<Vec<StorePath>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let command = settings
        .nix_store()
        .args(["--check-validity", "--print-invalid"])
        .args(paths.iter().map(ToString::to_string));
    lines(&command.output().await?)
}

/// Builds the systems that are not in the store yet. Roots all of them under `roots`, so that no
/// garbage collection removes one while that folder exists.
///
/// `progress` gets each line that Nix prints. The result holds an error for every system that
/// failed; the others are in the store.
pub async fn realise(
    settings: &Settings,
    systems: &BTreeMap<String, System>,
    roots: &Path,
    mut progress: impl FnMut(&str) + Send,
) -> Result<BTreeMap<String, Error>> {
    if systems.is_empty() {
        return Ok(BTreeMap::new());
    }
    let outs: Vec<StorePath> = systems.values().map(|system| system.out.clone()).collect();
    // A remembered system may have lost its derivation. If it is built, it only needs a root.
    let remembered = systems.values().filter(|system| !system.has_derivation());
    let remembered: Vec<StorePath> = remembered.map(|system| system.out.clone()).collect();
    let absent = missing(settings, &remembered).await?;
    let targets = systems.values().map(|system| {
        if remembered.contains(&system.out) && !absent.contains(&system.out) {
            system.out.to_string()
        } else {
            system.drv.to_string()
        }
    });
    let command = settings
        .nix_store()
        .args(["--realise", "--keep-going", "--indirect", "--add-root"])
        .arg(roots.join("system"))
        .args(targets);
    let mut broken = Vec::new();
    let finished = command
        .run(|line| {
            if let Some(drv) = failed_derivation(line) {
                broken.push(drv);
            }
            progress(line);
        })
        .await?;
    if finished.success {
        return Ok(BTreeMap::new());
    }
    let unbuilt = missing(settings, &outs).await?;
    let mut errors = BTreeMap::new();
    for (name, system) in systems {
        if unbuilt.contains(&system.out) {
            let error = Error::new(Exit::Build, "its system does not build");
            errors.insert(
                name.clone(),
                explain(settings, error, system, &broken, &finished.stderr_tail).await,
            );
        }
    }
    // The systems that were built are still wanted, and need roots.
    let built: Vec<String> = outs
        .iter()
        .filter(|out| !unbuilt.contains(out))
        .map(ToString::to_string)
        .collect();
    if !built.is_empty() {
        settings
            .nix_store()
            .args(["--realise", "--indirect", "--add-root"])
            .arg(roots.join("built"))
            .args(built)
            .output()
            .await?;
    }
    if errors.is_empty() {
        return Err(command.failed(&finished.ended).saying(finished.stderr_tail));
    }
    Ok(errors)
}

/// Adds the log of the derivation that failed, among those that the system needs.
async fn explain(
    settings: &Settings,
    error: Error,
    system: &System,
    broken: &[StorePath],
    stderr: &str,
) -> Error {
    let needed = settings
        .nix_store()
        .args(["--query", "--requisites"])
        .arg(system.drv.to_string())
        .output()
        .await
        .and_then(|out| lines(&out))
        .unwrap_or_default();
    let Some(culprit) = broken.iter().find(|drv| needed.contains(drv)) else {
        return error.saying(message::essence(stderr));
    };
    let log = settings
        .nix_store()
        .arg("--read-log")
        .arg(culprit.to_string())
        .output()
        .await
        .map(|log| String::from_utf8_lossy(&log).into_owned())
        .unwrap_or_default();
    let all = message::log_lines(&log);
    let last = all[all.len().saturating_sub(LOG_LINES)..].join("\n");
    let said = if last.trim().is_empty() {
        message::essence(stderr)
    } else {
        last
    };
    Error {
        what: format!(
            "its system does not build: {} failed",
            culprit.name().trim_end_matches(".drv")
        ),
        ..error
    }
    .saying(said)
    .help(format!("the whole log: nix-store --read-log {culprit}"))
}

/// The derivation that a line reports as failed. Nix 2.8 and Lix print `builder for '…' failed`,
/// newer versions `Cannot build '…'`.
pub(crate) fn failed_derivation(line: &str) -> Option<StorePath> {
    let line = line.trim_start().trim_start_matches("error: ");
    let rest = line
        .strip_prefix("builder for '")
        .or_else(|| line.strip_prefix("Cannot build '"))
        .or_else(|| {
            line.strip_prefix("build of '")
                .filter(|rest| !rest.contains(".drv', '"))
        })?;
    rest.split('\'').next()?.parse().ok()
}

/// Parses store paths, one per line.
pub fn lines(output: &[u8]) -> Result<Vec<StorePath>> {
    String::from_utf8_lossy(output)
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRV: &str = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-broken.drv";

    #[test]
    fn the_failed_derivation_is_found_in_old_and_new_words() {
        for line in [
            format!("error: builder for '{DRV}' failed with exit code 1;"),
            format!("error: Cannot build '{DRV}'."),
        ] {
            assert_eq!(failed_derivation(&line).unwrap().to_string(), DRV);
        }
        assert_eq!(
            failed_derivation("error: 1 dependencies of derivation '…' failed to build"),
            None
        );
    }

    #[test]
    fn printed_paths_are_read_and_anything_else_is_refused() {
        assert_eq!(lines(format!("{DRV}\n\n").as_bytes()).unwrap().len(), 1);
        assert!(lines(b"rubbish\n").is_err());
    }
}
