//! The secrets in Consul's key-value store.

use std::collections::BTreeSet;

use hyper::Method;

use crate::error::Error;
use crate::nomad::job::escaped;
use crate::secret::Secret;
use crate::uplink::api::{Api, Trouble};

/// The prefix of the keys that jobs' templates read.
const PREFIX: &str = "secrets/";

/// The keys below `secrets/` of a Consul.
pub struct Kv<'a>(pub &'a Api);

/// A key's value and its version.
pub struct Entry {
    pub value: Secret,
    /// The version (`ModifyIndex`), for a write that replaces it.
    pub index: u64,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    modify_index: u64,
    value: Option<String>,
}

impl Kv<'_> {
    /// All keys, without `secrets/`. Values are not read.
    pub async fn keys(&self) -> Result<BTreeSet<String>, Trouble> {
        let keys: Option<Vec<String>> = self.0.find(&format!("/v1/kv/{PREFIX}?keys")).await?;
        let keys = keys.unwrap_or_default().into_iter();
        Ok(keys
            .filter_map(|key| key.strip_prefix(PREFIX).map(str::to_owned))
            .collect())
    }

    /// A key's entry; none if the key does not exist.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Trouble> {
        use base64ct::{Base64, Encoding};
        let found: Option<Vec<Answered>> = self.0.find(&path(key)).await?;
        let Some(entry) = found.into_iter().flatten().next() else {
            return Ok(None);
        };
        let not_text = || {
            Trouble::Said(Error::unexpected(format!(
                "{PREFIX}{key} does not hold text"
            )))
        };
        let bytes = Base64::decode_vec(&entry.value.unwrap_or_default()).map_err(|_| not_text())?;
        let value = String::from_utf8(bytes).map_err(|_| not_text())?;
        Ok(Some(Entry {
            value: Secret::new(value),
            index: entry.modify_index,
        }))
    }

    /// Writes a key if its version is still `index`; 0 means that it does not exist. False if the
    /// key has another version and another value.
    pub async fn put(&self, key: &str, value: &Secret, index: u64) -> Result<bool, Trouble> {
        let path = format!("{}?cas={index}", path(key));
        let body = value.expose().as_bytes().to_vec();
        let answer = self.0.send(Method::PUT, &path, body).await?;
        let again = answer.again;
        let written: bool = self.0.read(&path, &self.0.ok(&path, answer)?)?;
        // The request was repeated, so the first one may have succeeded.
        if !written && again {
            let now = self.get(key).await?;
            return Ok(now.is_some_and(|entry| entry.value.expose() == value.expose()));
        }
        Ok(written)
    }
}

fn path(key: &str) -> String {
    let parts: Vec<String> = key.split('/').map(escaped).collect();
    format!("/v1/kv/{PREFIX}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_folders_in_the_path() {
        assert_eq!(path("email/a b"), "/v1/kv/secrets/email/a%20b");
    }
}
