//! Publishes authorities and operators' pairs in Consul's KV, under the keys that jobs of the
//! earlier scripts read.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::files::bundle;
use super::layout::PairId;
use super::member::{Member, Work};
use crate::cluster::Daemon;
use crate::error::{Error, Result};
use crate::event::{Event, Reporter};

/// Writes them in one transaction, through the first node that accepts it.
pub async fn publish(
    work: &Work,
    daemons: &[Daemon],
    members: &[Member],
    reporter: &Reporter,
) -> Result<()> {
    let body = serde_json::to_vec(&transaction(work, daemons)?)
        .map_err(|e| Error::unexpected(format!("not to be sent: {e}")))?;
    let mut last = Error::usage("no node is left to publish through");
    for member in members {
        match member
            .put(work, Daemon::Consul, "/v1/txn", body.clone())
            .await
        {
            Ok(()) => {
                reporter.emit(Event::Log {
                    node: Some(member.name.clone()),
                    line: "published to Consul’s KV".into(),
                });
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// All keys of all daemons, or none (`PUT /v1/txn`).
fn transaction(work: &Work, daemons: &[Daemon]) -> Result<Value> {
    let mut operations = Vec::new();
    for daemon in daemons {
        let pair = PairId::operator(*daemon, work.year);
        let (certificate, key) = work
            .stored
            .held(&pair)
            .pair()
            .ok_or_else(|| Error::usage(format!("{pair}.crt is not in the store")))?;
        let mut set = |name: String, value: &str| {
            let value = Base64::encode_string(value.as_bytes());
            operations.push(json!({"KV": {"Verb": "set", "Key": format!("secrets/{daemon}/{name}"), "Value": value}}));
        };
        set(format!("{daemon}-ca.crt"), &bundle(&work.stored, *daemon));
        set(format!("{daemon}-client.crt"), &certificate.pem());
        set(format!("{daemon}-client.key"), key.pem().expose());
    }
    Ok(Value::Array(operations))
}
