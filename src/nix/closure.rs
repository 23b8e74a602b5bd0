//! Closures: the paths of a system, and their sizes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Settings;
use super::store::StorePath;
use crate::error::{Context, Error, Result};

/// The local store's data about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// Size of its archive (NAR), in bytes.
    pub nar_size: u64,
    /// The paths it refers to.
    pub references: Vec<StorePath>,
}

/// The union of some closures: its paths with their sizes and references.
#[derive(Debug, Default)]
pub struct Graph(BTreeMap<StorePath, PathInfo>);

impl Graph {
    /// Asks the local store for the closures of `roots`, in one call.
    pub async fn of(settings: &Settings, roots: &[StorePath]) -> Result<Self> {
        if roots.is_empty() {
            return Ok(Self::default());
        }
        let command = |format: &[&str]| {
            let words = [&["path-info", "--json", "--recursive"], format].concat();
            let roots = roots.iter().map(ToString::to_string);
            settings.store_command(&words).args(roots)
        };
        // From 2.33 on, Nix wants `--json-format` and warns without it; a later version will
        // require it. Earlier versions and Lix do not know the option.
        let mut command_used = command(&[]);
        let mut finished = command_used.run(|_| {}).await?;
        if !finished.success && finished.stderr_tail.contains("--json-format") {
            command_used = command(&["--json-format", "1"]);
            finished = command_used.run(|_| {}).await?;
        }
        let command = command_used;
        if !finished.success {
            return Err(command.failed(&finished.ended).saying(finished.stderr_tail));
        }
        let printed = finished.stdout;
        let value: Value = serde_json::from_slice(&printed)
            .context(|| format!("cannot read what `{}` printed", command.display()))?;
        Self::parse(&value)
    }

    /// Parses the output of `nix path-info --json`: a list of objects (until Nix 2.18, and Lix), an
    /// object by full path (from 2.19), or one by base name under `info` (format 2, from 2.32).
    /// Sources: doc/versions.md.
    pub(crate) fn parse(value: &Value) -> Result<Self> {
        let by_path = value.get("info").unwrap_or(value);
        let mut graph = BTreeMap::new();
        if let Some(list) = by_path.as_array() {
            for info in list {
                let path = info["path"].as_str().unwrap_or_default();
                graph.insert(path.parse()?, path_info(info)?);
            }
        } else if let Some(object) = by_path.as_object() {
            for (path, info) in object {
                graph.insert(path.parse()?, path_info(info)?);
            }
        } else {
            return Err(Error::unexpected(
                "`nix path-info --json` printed neither a list nor an object",
            ));
        }
        Ok(Self(graph))
    }

    /// The closure of one path, itself included.
    pub fn closure(&self, root: &StorePath) -> BTreeSet<StorePath> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![root.clone()];
        while let Some(path) = todo.pop() {
            if let Some(info) = self.0.get(&path)
                && seen.insert(path)
            {
                todo.extend(info.references.iter().cloned());
            }
        }
        seen
    }

    /// The closure of one path, with the size of each path's archive in bytes.
    pub fn sizes(&self, root: &StorePath) -> BTreeMap<StorePath, u64> {
        let sized = |path: StorePath| {
            let size = self.0.get(&path)?.nar_size;
            Some((path, size))
        };
        self.closure(root).into_iter().filter_map(sized).collect()
    }

    /// The size of some paths together, in bytes of their archives.
    pub fn size<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) -> u64 {
        paths
            .into_iter()
            .filter_map(|path| self.0.get(path))
            .map(|info| info.nar_size)
            .sum()
    }
}

fn path_info(info: &Value) -> Result<PathInfo> {
    let nar_size = info["narSize"].as_u64().ok_or_else(|| {
        Error::unexpected("`nix path-info --json` gives no size: is the path built?")
    })?;
    let references = info["references"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::parse)
        .collect::<Result<_>>()?;
    Ok(PathInfo {
        nar_size,
        references,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a";
    const B: &str = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-b";
    const C: &str = "/nix/store/2cq1bq31hix6xjnvpn8kfablndjcqb0n-c";

    fn base(path: &str) -> &str {
        path.trim_start_matches("/nix/store/")
    }

    /// As Lix has it (`lix/libstore/store-api.cc`, `pathInfoToJSON`), where a path that it has not is in the list too.
    #[test]
    fn what_lix_prints_is_read_and_a_path_that_it_has_not_is_an_error() {
        let a = json!({"path": A, "valid": true, "narHash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "narSize": 5, "references": [A, B], "registrationTime": 1, "signatures": ["k:AA=="], "ultimate": true});
        let b = json!({"path": B, "valid": true, "narHash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "narSize": 7, "references": []});
        let graph = Graph::parse(&json!([a, b])).unwrap();
        assert_eq!(graph.size(&graph.closure(&A.parse().unwrap())), 12);
        let absent = json!([{"path": A, "valid": false}]);
        let error = Graph::parse(&absent).unwrap_err();
        assert!(error.what.contains("is the path built"), "{}", error.what);
    }

    #[test]
    fn the_three_shapes_of_path_info_mean_the_same() {
        let list = json!([{"path": A, "narSize": 5, "references": [A, B]}, {"path": B, "narSize": 7, "references": []}]);
        let object =
            json!({A: {"narSize": 5, "references": [A, B]}, B: {"narSize": 7, "references": []}});
        let versioned = json!({"version": 2, "info": {base(A): {"narSize": 5, "references": [base(A), base(B)]}, base(B): {"narSize": 7, "references": []}}});
        for shape in [list, object, versioned] {
            let graph = Graph::parse(&shape).unwrap();
            let closure = graph.closure(&A.parse().unwrap());
            assert_eq!(closure.len(), 2, "{shape}");
            assert_eq!(graph.size(&closure), 12);
        }
    }

    #[test]
    fn a_closure_leaves_out_what_the_root_does_not_refer_to() {
        let shape = json!([{"path": A, "narSize": 1, "references": [B]}, {"path": B, "narSize": 1, "references": []}, {"path": C, "narSize": 1, "references": [A]}]);
        let graph = Graph::parse(&shape).unwrap();
        assert_eq!(graph.closure(&A.parse().unwrap()).len(), 2);
        assert_eq!(graph.closure(&C.parse().unwrap()).len(), 3);
    }

    #[test]
    fn an_unbuilt_path_is_an_error() {
        assert!(Graph::parse(&json!({A: null})).is_err());
    }
}
