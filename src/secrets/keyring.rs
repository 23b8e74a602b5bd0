//! The gossip keys of Consul's or Nomad's agents, each with a keyring of its own.
//!
//! A request goes to one agent, which passes it to all agents that it knows to be alive (Serf's key
//! manager). It fails unless all of them succeed.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use crate::cluster::Daemon;
use crate::error::{Error, Exit};
use crate::secret::Secret;
use crate::uplink::api::{Api, Trouble};

/// Steps of a key's rotation, in order. Each can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Every agent can decrypt with it.
    Install,
    /// Every agent encrypts with it. It must be installed.
    Use,
    /// No agent can decrypt with it any more. It must not be in use.
    Remove,
}

impl Act {
    /// The request: Consul's differ in the method, Nomad's in the path.
    fn request(self, daemon: Daemon) -> (Method, &'static str) {
        match (daemon, self) {
            (Daemon::Consul, Act::Install) => (Method::POST, "/v1/operator/keyring"),
            (Daemon::Consul, Act::Use) => (Method::PUT, "/v1/operator/keyring"),
            (Daemon::Consul, Act::Remove) => (Method::DELETE, "/v1/operator/keyring"),
            (Daemon::Nomad, Act::Install) => (Method::PUT, "/v1/agent/keyring/install"),
            (Daemon::Nomad, Act::Use) => (Method::PUT, "/v1/agent/keyring/use"),
            (Daemon::Nomad, Act::Remove) => (Method::PUT, "/v1/agent/keyring/remove"),
        }
    }
}

/// One pool of agents: of a datacenter, or of Consul's servers across datacenters.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    #[serde(default, rename = "WAN")]
    wan: bool,
    num_nodes: usize,
    /// The number of agents that hold each key.
    #[serde(default)]
    keys: BTreeMap<String, usize>,
    /// The number of agents that encrypt with it; neither Nomad nor Consul before 1.10 reports it.
    #[serde(default)]
    primary_keys: Option<BTreeMap<String, usize>>,
}

/// The keys that all agents hold.
pub struct Held(Vec<Pool>);

impl Held {
    /// Parses a daemon's answer.
    pub fn read(daemon: Daemon, body: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(Self(match daemon {
            Daemon::Consul => serde_json::from_slice(body)?,
            Daemon::Nomad => vec![serde_json::from_slice(body)?],
        }))
    }

    /// The number of agents.
    pub fn agents(&self) -> usize {
        let own = self.0.iter().filter(|pool| !pool.wan);
        own.map(|pool| pool.num_nodes).sum()
    }

    /// Whether every agent holds a key.
    pub fn everywhere(&self, key: &Secret) -> bool {
        let holds = |pool: &Pool| pool.keys.get(key.expose()) == Some(&pool.num_nodes);
        self.0.iter().all(holds)
    }

    /// Whether every agent encrypts with a key, as far as they report it.
    pub fn in_use(&self, key: &Secret) -> bool {
        let uses = |pool: &Pool| match &pool.primary_keys {
            Some(primary) => primary.get(key.expose()) == Some(&pool.num_nodes),
            None => true,
        };
        self.0.iter().all(uses)
    }

    /// Whether an agent holds a key that is none of these.
    pub fn others(&self, known: &[&Secret]) -> bool {
        let keys = self.0.iter().flat_map(|pool| pool.keys.keys());
        let mut strange = keys.filter(|key| known.iter().all(|own| own.expose() != key.as_str()));
        strange.next().is_some()
    }
}

/// The keyrings of a daemon's agents.
pub struct Keyring<'a>(pub &'a Api);

impl Keyring<'_> {
    /// Asks for the keys that all agents hold.
    pub async fn held(&self) -> Result<Held, Error> {
        let daemon = self.0.daemon();
        let path = match daemon {
            Daemon::Consul => "/v1/operator/keyring",
            Daemon::Nomad => "/v1/agent/keyring/list",
        };
        let body = self.ask(Method::GET, path, Vec::new(), &[]).await?;
        Held::read(daemon, &body).map_err(|_| {
            // The error's text would contain the keys.
            Error::unexpected(format!(
                "{} answers {path} with what is not understood",
                daemon.title()
            ))
        })
    }

    /// Carries out one step for a key at every agent.
    pub async fn act(&self, act: Act, key: &Secret) -> Result<(), Error> {
        let (method, path) = act.request(self.0.daemon());
        let body = json!({"Key": key.expose()}).to_string().into_bytes();
        self.ask(method, path, body, &[key]).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        keys: &[&Secret],
    ) -> Result<Vec<u8>, Error> {
        let answer = self.0.send(method, path, body).await?;
        let refused = answer.status.is_server_error();
        self.0
            .ok(path, answer)
            .map(|body| body.to_vec())
            .map_err(|trouble| {
                let error = match trouble {
                    Trouble::Said(error) if refused => Error {
                        exit: Exit::Partial,
                        what: format!(
                            "not every agent of {} did what was asked",
                            self.0.daemon().title()
                        ),
                        ..error
                    },
                    trouble => trouble.into(),
                };
                let hidden = |said: String| {
                    keys.iter()
                        .fold(said, |said, key| said.replace(key.expose(), "…"))
                };
                Error {
                    output: error.output.map(hidden),
                    ..error
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn consuls_answer_tells_who_holds_and_uses_a_key() {
        // Consul 1.16: servers across datacenters, then the datacenter.
        let told = br#"[
            {"WAN": true, "Datacenter": "prod", "Segment": "", "Keys": {"a": 2, "b": 2}, "PrimaryKeys": {"a": 2}, "NumNodes": 2},
            {"WAN": false, "Datacenter": "prod", "Segment": "", "Keys": {"a": 3, "b": 2}, "PrimaryKeys": {"a": 3}, "NumNodes": 3}
        ]"#;
        let held = Held::read(Daemon::Consul, told).unwrap();
        assert_eq!(held.agents(), 3);
        assert!(held.everywhere(&key("a")) && held.in_use(&key("a")));
        assert!(!held.everywhere(&key("b")) && !held.in_use(&key("b")));
        assert!(held.others(&[&key("a")]) && !held.others(&[&key("a"), &key("b")]));
    }

    #[test]
    fn nomads_answer_does_not_tell_which_key_is_in_use() {
        let told = br#"{"Messages": {}, "Keys": {"a": 3}, "NumNodes": 3}"#;
        let held = Held::read(Daemon::Nomad, told).unwrap();
        assert_eq!(held.agents(), 3);
        assert!(held.everywhere(&key("a")) && held.in_use(&key("a")));
        assert!(Held::read(Daemon::Nomad, b"[]").is_err());
        assert!(Held::read(Daemon::Consul, b"{}").is_err());
    }
}
