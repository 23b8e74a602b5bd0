//! What Consul and Nomad really serve: connects through a node's ssh, by TLS with the operator's
//! certificate. Chain and name are always verified. A port's certificate is known even if that
//! fails.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::x509::{Certificate, Key};
use crate::cluster::Daemon;
use crate::cluster::{Cluster, Name, Node, Role};
use crate::error::{Error, Result};
use crate::node::ssh::Connection;

/// How long a port may take for connection, handshake and answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// The longest answer, in bytes.
const MOST: usize = 1024 * 1024;
/// Numbers the sockets of a run.
static SOCKETS: AtomicUsize = AtomicUsize::new(0);

/// A port of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    #[serde(rename = "app")]
    pub daemon: Daemon,
    /// Its protocol: `https` or `rpc`.
    pub kind: &'static str,
    /// The host, as seen from the node.
    #[serde(skip)]
    host: String,
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
            host: "127.0.0.1".into(),
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
                host: address.to_string(),
                number,
                opening: Some(opening),
            });
        }
        ports
    }
}

/// The way to the ports of one node, over the run's login there.
#[derive(Clone)]
pub struct Tunnels {
    connection: Connection,
    folder: PathBuf,
    known: Arc<tokio::sync::Mutex<BTreeMap<(String, u16), PathBuf>>>,
}

impl Tunnels {
    /// Goes through `connection`, with sockets in the run's private folder.
    pub fn new(connection: Connection, folder: PathBuf) -> Self {
        Self {
            connection,
            folder,
            known: Arc::default(),
        }
    }

    async fn open(&self, port: &Port) -> Result<UnixStream, String> {
        let mut known = self.known.lock().await;
        let key = (port.host.clone(), port.number);
        let socket = match known.get(&key) {
            Some(socket) => socket.clone(),
            None => {
                let socket = self
                    .folder
                    .join(format!("port-{}", SOCKETS.fetch_add(1, Ordering::Relaxed)));
                let forwarded = self
                    .connection
                    .forward(&socket, &port.host, port.number)
                    .await;
                forwarded.map_err(|e| e.what)?;
                known.insert(key, socket.clone());
                socket
            }
        };
        drop(known);
        UnixStream::connect(socket).await.map_err(|e| e.to_string())
    }
}

/// The caller's identity, and the authorities that it trusts.
pub struct Caller<'a> {
    /// The trusted authorities.
    pub trusted: &'a [Certificate],
    /// The certificate to present.
    pub certificate: &'a Certificate,
    pub key: &'a Key,
}

/// The result of looking at a port.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The port's certificate, if the handshake got that far.
    pub served: Option<Certificate>,
    /// What is wrong with the port; none if nothing is.
    pub trouble: Option<Trouble>,
}

/// What is wrong with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing answers, or not in time.
    Silent(String),
    /// The other end does not prove that it is the agent.
    Untrusted(String),
    /// It refuses the caller's certificate.
    Refuses(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Silent(why) => write!(f, "does not answer: {why}"),
            Trouble::Untrusted(why) => write!(f, "is not trusted: {why}"),
            Trouble::Refuses(why) => write!(f, "refuses the operator’s certificate: {why}"),
        }
    }
}

/// A request to an API.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Bytes,
}

/// An answer of an API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Tunnels {
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
                };
                self.ask(cluster, node, port, caller, call, &seen)
                    .await?
                    .err()
            }
            Some(_) => self
                .handshake(cluster, node, port, caller, &seen)
                .await?
                .err(),
        };
        let served = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
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
    ) -> Result<Result<Answer, Trouble>> {
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
    ) -> Result<Result<Answer, Trouble>> {
        let stream = match self.handshake(cluster, node, port, caller, seen).await? {
            Ok(stream) => stream,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header("host", "localhost")
            .body(Full::new(call.body));
        let request = request
            .map_err(|e| Error::unexpected(format!("{} cannot be asked for: {e}", call.path)))?;
        let answered = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let exchange = async {
                let response = sender.send_request(request).await?;
                let status = response.status().as_u16();
                Ok::<_, hyper::Error>((status, response.into_body()))
            };
            let driver = tokio::spawn(connection);
            let (status, body) = exchange.await?;
            let body = Limited::new(body, MOST).collect().await;
            driver.abort();
            Ok::<_, hyper::Error>((status, body))
        };
        Ok(match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok((status, Ok(body)))) => Ok(Answer {
                status,
                body: body.to_bytes(),
            }),
            Ok(Ok((_, Err(e)))) => Err(Trouble::Silent(e.to_string())),
            Ok(Err(e)) => Err(refused(&e)),
            Err(_) => Err(Trouble::Silent("no answer in time".into())),
        })
    }

    async fn handshake(
        &self,
        cluster: &Cluster,
        node: &Name,
        port: &Port,
        caller: &Caller<'_>,
        seen: &Seen,
    ) -> Result<Result<TlsStream<UnixStream>, Trouble>> {
        let role = cluster
            .nodes
            .get(node)
            .map_or(Role::Client, |node| node.role);
        // Certificates of the earlier scripts lack `localhost`.
        let names = [port.daemon.agent_name(cluster, role), "localhost".into()];
        let (config, first) = config(caller, &names, seen)?;
        let connecting = async {
            let mut stream = self.open(port).await.map_err(Trouble::Silent)?;
            if let Some(byte) = port.opening {
                stream
                    .write_all(&[byte])
                    .await
                    .map_err(|e| Trouble::Silent(e.to_string()))?;
            }
            let connector = TlsConnector::from(Arc::new(config));
            connector.connect(first, stream).await.map_err(|e| {
                match e
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                {
                    Some(rustls::Error::InvalidCertificate(reason)) => {
                        Trouble::Untrusted(reason.to_string())
                    }
                    Some(rustls::Error::AlertReceived(alert)) => {
                        Trouble::Refuses(format!("{alert:?}"))
                    }
                    _ => Trouble::Silent(e.to_string()),
                }
            })
        };
        Ok(match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Trouble::Silent("no handshake in time".into())),
        })
    }
}

/// The error of an exchange after the handshake, usually the alert of an agent that refuses.
fn refused(error: &hyper::Error) -> Trouble {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        let tls = e.downcast_ref::<rustls::Error>().or_else(|| {
            e.downcast_ref::<std::io::Error>()?
                .get_ref()?
                .downcast_ref()
        });
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            return Trouble::Refuses(format!("{alert:?}"));
        }
        cause = e.source();
    }
    Trouble::Silent(error.to_string())
}

type Seen = Arc<Mutex<Option<Vec<u8>>>>;

fn config(
    caller: &Caller<'_>,
    names: &[String],
    seen: &Seen,
) -> Result<(ClientConfig, ServerName<'static>)> {
    let unusable = |e: &dyn fmt::Display| {
        Error::usage(format!(
            "the store’s certificates cannot be used for TLS: {e}"
        ))
    };
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in caller.trusted {
        roots
            .add(certificate.der.clone().into())
            .map_err(|e| unusable(&e))?;
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| unusable(&e))?;
    let names: Vec<ServerName<'static>> = names
        .iter()
        .map(|name| ServerName::try_from(name.clone()).map_err(|e| unusable(&e)))
        .collect::<Result<_>>()?;
    let first = names
        .first()
        .cloned()
        .ok_or_else(|| unusable(&"no name is wanted"))?;
    let recorder = Recorder {
        inner,
        names,
        seen: seen.clone(),
    };
    let key = PrivatePkcs8KeyDer::from(caller.key.pkcs8().to_vec());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(recorder))
        .with_client_auth_cert(vec![caller.certificate.der.clone().into()], key.into())
        .map_err(|e| unusable(&e))?;
    // Each look must be a full handshake.
    config.resumption = rustls::client::Resumption::disabled();
    Ok((config, first))
}

/// Records a server's certificate. rustls verifies the chain and one of the names.
#[derive(Debug)]
struct Recorder {
    inner: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
    seen: Seen,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        let mut verdict = Err(rustls::Error::General("no name is wanted".into()));
        for name in &self.names {
            verdict = self
                .inner
                .verify_server_cert(end_entity, intermediates, name, ocsp, now);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
