//! What the HTTP APIs of Nomad and Consul have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use super::client::Client;
use crate::cluster::Daemon;
use crate::error::{Error, Exit};
use crate::node::ssh::at_most;

/// The longest answer, in bytes; that of a large job has some hundred KiB.
const MOST: usize = 64 * 1024 * 1024;
/// How long to repeat a request during a change of leader.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two requests.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a call failed.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// There is no connection.
    Uplink(Failure),
    /// The daemon answered with an error.
    Said(Error),
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Uplink(failure) => failure.into(),
            Trouble::Said(error) => error,
        }
    }
}

/// A daemon's answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// The index of the answer, for blocking queries (`X-Nomad-Index`, `X-Consul-Index`).
    pub index: Option<u64>,
    /// The body.
    pub body: Bytes,
    /// Whether the request was sent more than once: an earlier one may have succeeded.
    pub again: bool,
}

impl Answer {
    /// Whether it is the answer of servers without a leader, as for some seconds after one went
    /// down.
    pub fn is_passing(&self) -> bool {
        self.status.is_server_error() && between_leaders(&String::from_utf8_lossy(&self.body))
    }

    /// Whether ACLs refuse the request.
    pub fn is_refused(&self) -> bool {
        refuses(self.status, &String::from_utf8_lossy(&self.body))
    }
}

/// An API, with the operator's token for it.
#[derive(Clone)]
pub struct Api {
    client: Client,
    token: Option<HeaderValue>,
    /// Whether the daemon has ever answered. Silence after that may last a moment only.
    answered: Arc<AtomicBool>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Api({})", self.daemon())
    }
}

impl Api {
    /// The API of the client's daemon, with the token of the environment
    /// (`NOMAD_TOKEN`, `CONSUL_HTTP_TOKEN`).
    pub fn new(client: Client) -> Self {
        let token = token(client.daemon());
        Self {
            client,
            token,
            answered: Arc::default(),
        }
    }

    pub fn daemon(&self) -> Daemon {
        self.client.daemon()
    }

    /// The address of the raft's leader; none without a leader.
    pub async fn leader(&self) -> Result<Option<String>, Trouble> {
        let leader: String = self.get("/v1/status/leader").await?;
        Ok(Some(leader).filter(|leader| !leader.is_empty()))
    }

    /// Reads `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        let answer = self.send(Method::GET, path, Vec::new()).await?;
        self.read(path, &self.ok(path, answer)?)
    }

    /// Reads `path`; none if it does not exist (404).
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Trouble> {
        let answer = self.send(Method::GET, path, Vec::new()).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.read(path, &self.ok(path, answer)?).map(Some),
        }
    }

    /// Sends a value and reads the answer. It may be sent twice, so it must be idempotent or carry
    /// a check-and-set index.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        value: &impl Serialize,
    ) -> Result<T, Trouble> {
        let body = serde_json::to_vec(value)
            .map_err(|e| Trouble::Said(Error::unexpected(format!("not to be sent: {e}"))))?;
        let answer = self.send(Method::PUT, path, body).await?;
        self.read(path, &self.ok(path, answer)?)
    }

    /// Makes a call. Repeats it for a minute while the servers have no leader or the asked one is
    /// gone.
    pub async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, Trouble> {
        let began = Instant::now();
        let mut again = false;
        loop {
            let outcome = self.call(method.clone(), path, body.clone()).await;
            let passing = match &outcome {
                Ok(answer) => answer.is_passing(),
                Err(Trouble::Uplink(Failure::Broken(_))) => true,
                Err(Trouble::Uplink(Failure::Unreachable(_))) => self.answered.load(Relaxed),
                Err(_) => false,
            };
            if !passing || began.elapsed() > at_most("a leader", PATIENCE) {
                return outcome.map(|answer| Answer { again, ..answer });
            }
            again = true;
            tracing::debug!(path, "asked again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes a call once.
    pub async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, Trouble> {
        let daemon = self.daemon();
        let mut request = Request::new(Either::Left(Full::new(Bytes::from(body))));
        *request.method_mut() = method;
        *request.uri_mut() = path
            .parse()
            .map_err(|e| Trouble::Said(Error::usage(format!("‘{path}’ is no path: {e}"))))?;
        if let Some(token) = &self.token {
            request
                .headers_mut()
                .insert(token_header(daemon), token.clone());
        }
        let response = self.client.send(request).await.map_err(Trouble::Uplink)?;
        let (parts, body) = response.into_parts();
        let index = parts.headers.get(index_header(daemon));
        let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(body, MOST).collect().await.map_err(|e| {
            Trouble::Uplink(Failure::Broken(Error::new(
                Exit::Probe,
                format!("the connection to {} broke off: {e}", daemon.title()),
            )))
        })?;
        self.answered.store(true, Relaxed);
        Ok(Answer {
            status: parts.status,
            index,
            body: body.to_bytes(),
            again: false,
        })
    }

    /// The body of an answer, or the error that its status means.
    pub fn ok(&self, path: &str, answer: Answer) -> Result<Bytes, Trouble> {
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let said = String::from_utf8_lossy(&answer.body);
        Err(Trouble::Said(refusal(
            self.daemon(),
            self.token.is_some(),
            path,
            answer.status,
            &said,
        )))
    }

    /// Parses a body as JSON.
    pub fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, Trouble> {
        serde_json::from_slice(body).map_err(|e| {
            Trouble::Said(Error::unexpected(format!(
                "{} answers {path} with what is not understood: {e}",
                self.daemon().title()
            )))
        })
    }
}

/// The operator's token for a daemon, from the environment.
pub fn token(daemon: Daemon) -> Option<HeaderValue> {
    let token = std::env::var(token_variable(daemon)).ok()?;
    let mut value = HeaderValue::from_str(&token).ok()?;
    value.set_sensitive(true);
    Some(value).filter(|value| !value.is_empty())
}

/// The environment variable of the operator's token.
pub const fn token_variable(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Nomad => "NOMAD_TOKEN",
        Daemon::Consul => "CONSUL_HTTP_TOKEN",
    }
}

/// The header of a request that carries the token.
pub const fn token_header(daemon: Daemon) -> HeaderName {
    match daemon {
        Daemon::Nomad => HeaderName::from_static("x-nomad-token"),
        Daemon::Consul => HeaderName::from_static("x-consul-token"),
    }
}

const fn index_header(daemon: Daemon) -> HeaderName {
    match daemon {
        Daemon::Nomad => HeaderName::from_static("x-nomad-index"),
        Daemon::Consul => HeaderName::from_static("x-consul-index"),
    }
}

/// Texts in answers of servers without a leader, or with a connection that has just ended. Seen
/// from Nomad 1.0 and 1.6 and Consul 1.8 and 1.16. Most come at once, "No cluster leader" after
/// five seconds.
const BETWEEN_LEADERS: [&str; 8] = [
    "No cluster leader",
    "Not ready to serve consistent reads",
    "connection refused",
    "failed to get conn",
    "lead thread didn't get connection",
    "leadership lost while committing log",
    "node is not the leader",
    "rpc error: EOF",
];

fn between_leaders(said: &str) -> bool {
    BETWEEN_LEADERS.iter().any(|text| said.contains(text))
        || said.starts_with("rpc error") && said.trim_end().ends_with("EOF")
}

/// Whether ACLs refuse a request. Nomad answers one for logs with 500 (`logs` in
/// nomad/client_fs_endpoint.go).
fn refuses(status: StatusCode, said: &str) -> bool {
    status == StatusCode::FORBIDDEN
        || status == StatusCode::UNAUTHORIZED
        || status.is_server_error() && said.trim_end().ends_with("Permission denied")
}

/// The error of a daemon's refusal.
pub fn refusal(
    daemon: Daemon,
    with_token: bool,
    path: &str,
    status: StatusCode,
    said: &str,
) -> Error {
    let path = path.split('?').next().unwrap_or(path);
    let title = daemon.title();
    let new = |what: String| Error::new(Exit::Probe, what).saying(said);
    if refuses(status, said) {
        let needs = match (daemon, path) {
            (Daemon::Nomad, path) if path.starts_with("/v1/operator/") => "operator:write",
            (Daemon::Nomad, path) if path.starts_with("/v1/agent/") => "agent:write",
            (Daemon::Nomad, path) if path.starts_with("/v1/node") => {
                "node:write, and read-job in every namespace"
            }
            (Daemon::Nomad, _) => "submit-job, read-job and read-logs in the job's namespace",
            (Daemon::Consul, "/v1/operator/keyring") => "keyring = \"write\"",
            (Daemon::Consul, path) if path.starts_with("/v1/operator/") => "operator = \"read\"",
            (Daemon::Consul, _) => "key:write for the prefix secrets/",
        };
        let variable = token_variable(daemon);
        let what = if with_token {
            format!("{title} refuses {path}: the token in {variable} may not do this")
        } else {
            format!("{title} refuses {path}: its ACLs are on, and {variable} is not set")
        };
        return new(what).help(format!(
            "set {variable} to a token that allows {needs} (doc/acls.md)"
        ));
    }
    if status.is_server_error() && between_leaders(said) {
        return new(format!("{title} has no leader")).help(
            "are enough of its servers up? look at their logs: journalctl -u nomad, -u consul",
        );
    }
    Error::unexpected(format!("{title} answers {path} with {status}")).saying(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_acls_names_the_variable_and_the_rights() {
        let path = "/v1/operator/scheduler/configuration";
        let said = "Permission denied";
        let error = refusal(Daemon::Nomad, false, path, StatusCode::FORBIDDEN, said);
        assert_eq!(error.exit, Exit::Probe);
        assert!(error.what.contains("NOMAD_TOKEN is not set"), "{error}");
        assert!(error.help.unwrap().contains("operator:write"));
        let error = refusal(
            Daemon::Nomad,
            true,
            "/v1/jobs",
            StatusCode::INTERNAL_SERVER_ERROR,
            said,
        );
        assert!(error.help.unwrap().contains("submit-job"));
        let path = "/v1/kv/secrets/app/x?cas=0";
        let error = refusal(Daemon::Consul, true, path, StatusCode::FORBIDDEN, said);
        assert!(error.what.contains("the token in CONSUL_HTTP_TOKEN"));
        assert!(!error.what.contains("cas"));
    }

    #[test]
    fn answers_between_two_leaders_are_told_from_others() {
        let answer = |status, said: &'static str| Answer {
            status,
            index: None,
            body: Bytes::from_static(said.as_bytes()),
            again: false,
        };
        let error = StatusCode::INTERNAL_SERVER_ERROR;
        for said in [
            "No cluster leader",
            "rpc error: EOF",
            "rpc error: failed to get conn: dial tcp 127.0.0.1:4647: connect: connection refused",
            "rpc error: failed to get conn: rpc error: lead thread didn't get connection",
            "rpc error making call: EOF",
            "node is not the leader",
            "leadership lost while committing log",
        ] {
            assert!(answer(error, said).is_passing(), "{said}");
        }
        assert!(!answer(error, "unexpected EOF in the specification").is_passing());
        assert!(!answer(StatusCode::OK, "No cluster leader").is_passing());
    }

    #[test]
    fn a_raft_without_leader_is_told_from_other_errors() {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let error = refusal(
            Daemon::Nomad,
            false,
            "/v1/jobs",
            status,
            "No cluster leader",
        );
        assert_eq!(error.what, "Nomad has no leader");
        let error = refusal(Daemon::Nomad, false, "/v1/jobs", status, "disk full");
        assert_eq!(error.exit, Exit::Unexpected);
        assert_eq!(error.output.as_deref(), Some("disk full"));
    }
}
