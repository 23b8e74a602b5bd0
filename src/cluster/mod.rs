//! A cluster as its Nix files describe it: plain data, read once at the edge.

pub mod name;
pub mod schema;
pub mod select;
pub mod services;

pub use name::Name;
pub use schema::{Address, Check, Cluster, Node, Role, Ssh};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::nix::Settings;
use crate::nix::cache::Cache;
use crate::nix::eval::{self, Named};
use crate::nix::source::Source;

/// Reads the cluster `name` of `source`, from what is remembered of it or by evaluation.
pub async fn load(
    source: &Source,
    settings: &Settings,
    cache: &mut Cache,
    name: &Name,
) -> Result<Cluster> {
    if let Some(data) = cache.known.clusters.get(name.as_str()) {
        return read(name, data);
    }
    match eval::cluster(source, settings, name.as_str()).await? {
        Named::Found { data } => {
            let cluster = read(name, &data)?;
            cache.known.clusters.insert(name.to_string(), data);
            Ok(cluster)
        }
        Named::Missing { names } => {
            let error = Error::usage(format!("there is no cluster ‘{name}’ in this flake"));
            Err(error.help(name::suggestion(name.as_str(), &names, "clusters")))
        }
    }
}

fn read(name: &Name, data: &Value) -> Result<Cluster> {
    Cluster::parse(data).map_err(|e| e.running(format!("nix eval --json .#clusters.{name}")))
}
