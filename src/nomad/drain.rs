//! Drains a node: its jobs move to other nodes before it restarts.
//!
//! Uses Nomad's HTTP API, section "Nodes": `/v1/nodes`, `/v1/node/<id>`, its `/drain` and
//! `/eligibility`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::uplink::Failure;
use crate::uplink::api::{Api, Trouble};

/// The pause between two requests.
const PAUSE: Duration = Duration::from_secs(1);
/// How long Nomad may take after the deadline to stop what still runs.
const SLACK: Duration = Duration::from_secs(60);
/// How long a node's Nomad may take to come up after a restart.
const RETURNING: Duration = Duration::from_secs(120);

/// A node in Nomad's data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Client {
    /// Nomad's ID of it, which survives restarts.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name in the cluster.
    pub name: String,
    /// `ready`, `down`, `initializing` or `disconnected`.
    pub status: String,
    /// `eligible` or `ineligible`: whether jobs may be placed on it.
    pub scheduling_eligibility: String,
    /// The drain under way.
    #[serde(default)]
    drain_strategy: Option<Value>,
}

impl Client {
    /// Whether jobs may be placed on it.
    pub fn is_eligible(&self) -> bool {
        self.scheduling_eligibility == "eligible"
    }
}

/// The node of that name. Of several, which earlier installations can leave, the one that is up.
fn of_name(clients: Vec<Client>, node: &Name) -> Option<Client> {
    let mut named: Vec<Client> = clients
        .into_iter()
        .filter(|client| client.name == node.as_str())
        .collect();
    named.sort_by_key(|client| client.status != "ready");
    named.into_iter().next()
}

/// Looks a node up; none if Nomad has no such client.
pub async fn find(api: &Api, node: &Name) -> Result<Option<Client>> {
    Ok(of_name(api.get("/v1/nodes").await?, node))
}

/// An allocation on a client, running or not (`/v1/node/<id>/allocations`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Allocation {
    /// Job, group and number, as in `web.main[0]`.
    name: String,
    /// `pending`, `running`, `complete`, `failed`, `lost` or `unknown` (nomad/structs/structs.go).
    client_status: String,
}

/// The names of allocations that have not ended.
fn running(allocations: &[Allocation]) -> Vec<&str> {
    let ended =
        |one: &&Allocation| matches!(one.client_status.as_str(), "complete" | "failed" | "lost");
    let running = allocations.iter().filter(|one| !ended(one));
    running.map(|one| one.name.as_str()).collect()
}

/// Drains a client and waits until nothing runs there. Nomad stops at the `deadline` what has not
/// moved. It places no jobs on the client until [`make_eligible`]. A drain that somebody else began
/// stays as it is.
///
/// Nomad ends a drain when it has marked the last allocation, while tasks run on for their
/// `kill_timeout`. So this waits for the allocations as well, and reports them to `tell`.
pub async fn drain(
    api: &Api,
    client: &Client,
    deadline: Duration,
    why: &str,
    tell: impl Fn(String),
) -> Result<()> {
    let path = format!("/v1/node/{}", client.id);
    let until = Instant::now() + deadline + SLACK;
    let now: Client = api.get(&path).await?;
    if now.drain_strategy.is_none() {
        begin(api, client, deadline, why).await?;
    }
    let allocations = format!("{path}/allocations");
    let mut told = String::new();
    loop {
        let left = match api.get::<Client>(&path).await {
            Ok(now) if now.drain_strategy.is_some() => Some("its drain goes on".to_owned()),
            Ok(_) => match api.get::<Vec<Allocation>>(&allocations).await {
                Ok(all) => match running(&all).as_slice() {
                    [] => return Ok(()),
                    names => Some(format!("{} still stopping", names.join(", "))),
                },
                Err(Trouble::Uplink(failure)) => passing(&failure),
                Err(other) => return Err(other.into()),
            },
            Err(Trouble::Uplink(failure)) => passing(&failure),
            Err(other) => return Err(other.into()),
        };
        if let Some(left) = left.filter(|left| *left != told) {
            if left.ends_with("stopping") {
                tell(left.clone());
            }
            told = left;
        }
        if Instant::now() > until {
            let what = format!("Nomad did not empty it within {} s", deadline.as_secs());
            return Err(Error::new(Exit::Partial, what).saying(told));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection that is gone for a moment is nothing to report.
fn passing(failure: &Failure) -> Option<String> {
    tracing::debug!("asked for a drain: {failure}");
    None
}

async fn begin(api: &Api, client: &Client, deadline: Duration, why: &str) -> Result<()> {
    let nanoseconds = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    let body = json!({
        "DrainSpec": {"Deadline": nanoseconds, "IgnoreSystemJobs": false},
        "MarkEligible": false,
        "Meta": {"message": why},
    });
    let _: Value = api
        .put(&format!("/v1/node/{}/drain", client.id), &body)
        .await?;
    Ok(())
}

/// Waits until a client is up, ends its drain and lets Nomad place jobs on it again.
pub async fn make_eligible(api: &Api, id: &str) -> Result<()> {
    let until = Instant::now() + RETURNING;
    let path = format!("/v1/node/{id}");
    loop {
        let said = match api.get::<Client>(&path).await {
            Ok(client) if client.status == "ready" => break,
            Ok(client) => format!("Nomad says that it is {}", client.status),
            Err(trouble) => Error::from(trouble).to_string(),
        };
        if Instant::now() > until {
            return Err(Error::new(Exit::Partial, "Nomad on it did not come back").saying(said));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let body = json!({"DrainSpec": null, "MarkEligible": true});
    let _: Value = api.put(&format!("/v1/node/{id}/drain"), &body).await?;
    let body = json!({"Eligibility": "eligible"});
    let _: Value = api
        .put(&format!("/v1/node/{id}/eligibility"), &body)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, name: &str, status: &str) -> Client {
        let value = json!({"ID": id, "Name": name, "Status": status, "SchedulingEligibility": "eligible", "Drain": false});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_has_ended_in_whatever_way_runs_no_more() {
        let all = json!([
            {"ID": "1", "Name": "web.main[0]", "ClientStatus": "complete"},
            {"ID": "2", "Name": "web.main[1]", "ClientStatus": "running"},
            {"ID": "3", "Name": "web.main[2]", "ClientStatus": "lost"},
            {"ID": "4", "Name": "db.main[0]", "ClientStatus": "pending"},
            {"ID": "5", "Name": "db.main[1]", "ClientStatus": "unknown"},
        ]);
        let all: Vec<Allocation> = serde_json::from_value(all).unwrap();
        assert_eq!(running(&all), ["web.main[1]", "db.main[0]", "db.main[1]"]);
    }

    #[test]
    fn a_node_is_known_by_its_name_and_an_old_installation_of_it_is_not_taken() {
        let all = vec![
            client("1", "alder", "down"),
            client("2", "birch", "ready"),
            client("3", "alder", "ready"),
        ];
        let find = |name: &str| of_name(all.clone(), &name.parse().unwrap());
        assert_eq!(find("alder").unwrap().id, "3");
        assert_eq!(find("cedar"), None);
    }
}
