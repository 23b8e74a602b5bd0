//! The apps of a cluster: folders `cluster/<cluster>/app/<app>/` with jobs in
//! `deploy/*.hcl` and the secrets they read in `secrets.toml`.

pub mod kv;
pub mod plan;
pub mod value;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cluster::{Name, name};
use crate::error::{Context, Error, Result};

/// The folder of a cluster's apps, below the repository's root.
pub fn folder(cluster: &Name) -> PathBuf {
    Path::new("cluster").join(cluster.as_str()).join("app")
}

/// The apps that have a folder.
pub fn present(cluster: &Name) -> Result<BTreeSet<Name>> {
    let folder = folder(cluster);
    let mut apps = BTreeSet::new();
    if !folder.is_dir() {
        return Ok(apps);
    }
    let reading = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(&folder).context(reading)? {
        let entry = entry.context(reading)?;
        if !entry.path().is_dir() {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        apps.insert(name.parse().map_err(|e: name::NotAName| {
            Error::usage(format!("{} is no name for an app", entry.path().display()))
                .saying(e.to_string())
        })?);
    }
    Ok(apps)
}

/// The apps in the order of deployment: those of `first`, then the others by name. Only the
/// `wanted` ones, or all if none is wanted by name.
pub fn in_order(present: &BTreeSet<Name>, first: &[Name], wanted: &[Name]) -> Result<Vec<Name>> {
    for app in wanted {
        if !present.contains(app) {
            let names: Vec<&str> = present.iter().map(Name::as_str).collect();
            return Err(
                Error::usage(format!("there is no app ‘{app}’")).help(name::suggestion(
                    app.as_str(),
                    &names,
                    "apps",
                )),
            );
        }
    }
    let others = present.iter().filter(|app| !first.contains(app));
    let ordered = first.iter().filter(|app| present.contains(app));
    Ok(ordered
        .chain(others)
        .filter(|app| wanted.is_empty() || wanted.contains(app))
        .cloned()
        .collect())
}

/// The files of an app's jobs, by name.
pub fn jobs(cluster: &Name, app: &Name) -> Result<Vec<PathBuf>> {
    let folder = folder(cluster).join(app.as_str()).join("deploy");
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    let reading = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(&folder).context(reading)? {
        let path = entry.context(reading)?.path();
        if path.extension().is_some_and(|e| e == "hcl") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    fn ordered(wanted: &[&str]) -> Vec<String> {
        let present = names(&["core", "cryptpad", "garage", "im"])
            .into_iter()
            .collect();
        let first = names(&["garage", "core", "telemetry"]);
        let apps = in_order(&present, &first, &names(wanted)).unwrap();
        apps.iter().map(Name::to_string).collect()
    }

    #[test]
    fn named_apps_come_first_and_the_rest_by_name() {
        assert_eq!(ordered(&[]), ["garage", "core", "cryptpad", "im"]);
    }

    #[test]
    fn wanted_apps_keep_the_clusters_order() {
        assert_eq!(ordered(&["im", "core"]), ["core", "im"]);
    }

    #[test]
    fn an_app_without_a_folder_is_told_with_a_near_miss() {
        let present = names(&["core"]).into_iter().collect();
        let error = in_order(&present, &[], &names(&["cor"])).unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean ‘core’?"));
    }
}
