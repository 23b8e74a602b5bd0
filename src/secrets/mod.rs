//! The secrets that a cluster declares: their values, and how each is made.

pub mod generate;
pub mod keyring;

use std::collections::BTreeMap;

use crate::cluster::schema::SecretSpec;
use crate::cluster::{Cluster, Name};
use crate::error::Result;
use crate::store::EntryName;

/// The folder of secrets among the cluster's entries.
const FOLDER: &str = "secrets";

/// A value in the store: that of a secret, or of a secret for one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    pub secret: Name,
    /// The node, if each has a value of its own.
    pub node: Option<Name>,
}

impl Value {
    /// The value of a secret for a node.
    pub fn of(secret: &Name, spec: &SecretSpec, node: &Name) -> Self {
        Self {
            secret: secret.clone(),
            node: spec.per_node.then(|| node.clone()),
        }
    }

    /// `NAME` or `NAME/NODE`.
    pub fn label(&self) -> String {
        match &self.node {
            Some(node) => format!("{}/{node}", self.secret),
            None => self.secret.to_string(),
        }
    }

    /// Its entry in the cluster's folder.
    pub fn entry(&self) -> Result<EntryName> {
        format!("{FOLDER}/{}", self.label()).parse()
    }
}

/// All values of a cluster. A secret for no node has none.
pub fn values(cluster: &Cluster) -> BTreeMap<Value, &SecretSpec> {
    let of = |(name, spec): (&Name, _)| -> Vec<_> {
        let spec: &SecretSpec = spec;
        spec.nodes
            .iter()
            .map(|node| (Value::of(name, spec, node), spec))
            .collect()
    };
    cluster.secrets.iter().flat_map(of).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    pub(crate) fn spec(name: &str) -> SecretSpec {
        serde_json::from_value(serde_json::json!({
            "generator": "random", "length": 32, "command": [], "path": format!("/var/lib/nixcfg/secrets/{name}"),
            "owner": "root", "group": "root", "mode": "0400", "perNode": false, "nodes": ["alder", "birch"],
            "reloadUnits": [], "restartUnits": [],
        }))
        .unwrap()
    }

    pub(crate) fn cluster() -> Cluster {
        let mut cluster = example();
        cluster.secrets.insert("one".parse().unwrap(), spec("one"));
        let each = SecretSpec {
            per_node: true,
            ..spec("each")
        };
        cluster.secrets.insert("each".parse().unwrap(), each);
        cluster
    }

    pub(crate) fn labels<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
        values.into_iter().map(Value::label).collect()
    }

    #[test]
    fn a_secret_has_one_value_or_one_for_each_node() {
        let cluster = cluster();
        assert_eq!(
            labels(values(&cluster).keys()),
            ["each/alder", "each/birch", "one"]
        );
    }
}
