//! Nomad's jobs and drains, by its HTTP API.

pub mod diff;
pub mod drain;
pub mod follow;
pub mod job;

use crate::cluster::Daemon;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::uplink::api::Api;
use crate::uplink::client::Client;
use crate::uplink::reach::{self, Reach};

/// Nomad's API, if the cluster runs it.
pub fn api(operation: &Operation, reach: &Reach) -> Result<Api> {
    if !reach::daemons(operation)?.contains(&Daemon::Nomad) {
        return Err(Error::usage(format!(
            "the cluster ‘{}’ runs no Nomad",
            operation.cluster.name
        )));
    }
    let uplink = reach.uplink(operation)?;
    Ok(Api::new(Client::new(uplink, Daemon::Nomad)))
}
