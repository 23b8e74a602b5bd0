//! What Consul and Nomad really serve: connects through a node's ssh, by TLS with the operator's
//! certificate. Chain and name are always verified. A port's certificate is known even if that
//! fails.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::x509::{Certificate, Key};
use crate::cluster::Daemon;
use crate::cluster::{Cluster, Name, Node, Role};
use crate::error::{Error, Exit, Result};
use crate::node::ssh::Connection;
use crate::uplink::api;
use crate::uplink::identity::Identity;
use crate::uplink::link::{Forwards, Remote};
use crate::uplink::route::Way;
use crate::uplink::verifier::Seen;
use crate::uplink::{Failure, Secured, handshake};

/// How long a port may take for connection and handshake.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long an answer may take. Consul holds a request for up to 12 seconds while it has no leader.
const ANSWER: Duration = Duration::from_secs(15);
/// The longest answer, in bytes.
const MOST: usize = 1024 * 1024;

/// A port of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    #[serde(rename = "app")]
    pub daemon: Daemon,
    /// Its protocol: `https` or `rpc`.
    pub kind: &'static str,
    /// Its address, as seen from the node.
    #[serde(skip)]
    remote: Remote,
    /// Its number.
    pub number: u16,
    /// The byte by which a client asks for TLS on a port with several protocols.
    #[serde(skip)]
    opening: Option<u8>,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} (port {})",
            self.daemon.title(),
            self.kind,
            self.number
        )
    }
}

impl Port {
    /// The port of an agent's API.
    pub fn api(cluster: &Cluster, daemon: Daemon) -> Self {
        Self {
            daemon,
            kind: "https",
            remote: Remote {
                host: "127.0.0.1".into(),
                port: daemon.port(cluster),
            },
            number: daemon.port(cluster),
            opening: None,
        }
    }

    /// All ports of a node's agent that serve its certificate. Servers also have one for RPC, where
    /// a first byte announces TLS (`RPCTLS` of Consul and Nomad).
    pub fn of(cluster: &Cluster, daemon: Daemon, node: &Node) -> Vec<Self> {
        let mut ports = vec![Self::api(cluster, daemon)];
        if node.role == Role::Server
            && let Some(address) = node.inner_address()
        {
            let (number, opening) = match daemon {
                Daemon::Consul => (8300, 3),
                Daemon::Nomad => (4647, 4),
            };
            ports.push(Self {
                daemon,
                kind: "rpc",
                remote: Remote {
                    host: address.to_string(),
                    port: number,
                },
                number,
                opening: Some(opening),
            });
        }
        ports
    }

    fn way(&self, node: &Name) -> Way {
        Way::Node {
            node: node.clone(),
            remote: self.remote.clone(),
        }
    }

    fn silent(&self, node: &Name, after: Duration) -> Failure {
        Failure::silent(self.daemon, &self.way(node), after)
    }
}

/// The way to the ports of one node, over the run's login there.
#[derive(Clone)]
pub struct Tunnels(Arc<Forwards>);

/// The caller's identity, and the authorities that it trusts.
pub struct Caller<'a> {
    /// The trusted authorities.
    pub trusted: &'a [Certificate],
    /// The certificate to present.
    pub certificate: &'a Certificate,
    pub key: &'a Key,
}

/// The result of looking at a port.
#[derive(Debug, Clone)]
pub struct Look {
    /// The port's certificate, if the handshake got that far.
    pub served: Option<Certificate>,
    /// What is wrong with the port; none if nothing is.
    pub trouble: Option<Failure>,
}

/// A request to an API.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Bytes,
    /// Whether it carries the operator's token, which a probe of certificates does not need.
    pub with_token: bool,
}

/// An answer of an API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Tunnels {
    /// Goes through `connection`, with sockets in the run's private folder.
    pub fn new(connection: Connection, folder: PathBuf) -> Self {
        Self(Arc::new(Forwards::new(connection, folder)))
    }

    /// Looks at a port, where the agent of `node` has to prove itself.
    pub async fn look(
        &self,
        cluster: &Cluster,
        node: &Name,
        port: &Port,
        caller: &Caller<'_>,
    ) -> Result<Look> {
        let seen = Seen::default();
        let trouble = match port.opening {
            // In TLS 1.3 only an answer shows that the server accepted the certificate, not the
            // handshake.
            None => {
                let call = Call {
                    method: Method::GET,
                    path: "/v1/status/leader",
                    body: Bytes::new(),
                    with_token: false,
                };
                self.ask(cluster, node, port, caller, call, &seen)
                    .await?
                    .err()
            }
            Some(_) => self
                .connect(cluster, node, port, caller, &seen)
                .await?
                .err(),
        };
        let served = seen.take();
        let served = served
            .map(|der| Certificate::read(&der, "what is served"))
            .transpose()?;
        Ok(Look { served, trouble })
    }

    /// Calls an agent's API.
    pub async fn call(
        &self,
        cluster: &Cluster,
        node: &Name,
        daemon: Daemon,
        caller: &Caller<'_>,
        call: Call<'_>,
    ) -> Result<Result<Answer, Failure>> {
        self.ask(
            cluster,
            node,
            &Port::api(cluster, daemon),
            caller,
            call,
            &Seen::default(),
        )
        .await
    }

    async fn ask(
        &self,
        cluster: &Cluster,
        node: &Name,
        port: &Port,
        caller: &Caller<'_>,
        call: Call<'_>,
        seen: &Seen,
    ) -> Result<Result<Answer, Failure>> {
        let stream = match self.connect(cluster, node, port, caller, seen).await? {
            Ok(stream) => stream,
            Err(failure) => return Ok(Err(failure)),
        };
        let request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header("host", "localhost")
            .body(Full::new(call.body));
        let mut request = request
            .map_err(|e| Error::unexpected(format!("{} cannot be asked for: {e}", call.path)))?;
        if let Some(token) = api::token(port.daemon).filter(|_| call.with_token) {
            let header = api::token_header(port.daemon);
            request.headers_mut().insert(header, token);
        }
        let broken = |e: hyper::Error| Failure::of_request(port.daemon, &e);
        let answered = async {
            let io = TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .map_err(broken)?;
            let driver = tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MOST).collect().await;
            driver.abort();
            let body = body.map_err(|e| {
                let what = format!("the answer of {port} broke off: {e}");
                Failure::Broken(Error::new(Exit::Probe, what))
            })?;
            Ok(Answer {
                status,
                body: body.to_bytes(),
            })
        };
        let answered = tokio::time::timeout(ANSWER, answered).await;
        Ok(answered.unwrap_or_else(|_| Err(port.silent(node, ANSWER))))
    }

    async fn connect(
        &self,
        cluster: &Cluster,
        node: &Name,
        port: &Port,
        caller: &Caller<'_>,
        seen: &Seen,
    ) -> Result<Result<Secured, Failure>> {
        let role = cluster
            .nodes
            .get(node)
            .map_or(Role::Client, |node| node.role);
        // Certificates of the earlier scripts lack `localhost`.
        let names = [port.daemon.agent_name(cluster, role), "localhost".into()];
        let mut roots = RootCertStore::empty();
        for certificate in caller.trusted {
            roots.add(certificate.der.clone().into()).map_err(|e| {
                Error::usage(format!("{} cannot be trusted: {e}", certificate.subject))
            })?;
        }
        let chain = vec![caller.certificate.der.clone().into()];
        let key = PrivatePkcs8KeyDer::from(caller.key.pkcs8().to_vec());
        let identity = Identity::of(roots, chain, key.into(), &names, seen.clone())?;
        let way = port.way(node);
        let connecting = async {
            let raw = self.0.open(&port.remote).await;
            let raw = raw.map_err(Failure::Unreachable)?;
            let began = Instant::now();
            handshake(port.daemon, raw, port.opening, &identity, &way, began).await
        };
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        Ok(connected.unwrap_or_else(|_| Err(port.silent(node, PATIENCE))))
    }
}
