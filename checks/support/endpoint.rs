//! An HTTPS server that requires client certificates, as Nomad and Consul do.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use super::certificates::Pair;

/// An endpoint's answer.
pub type Answer = Response<BoxBody<Bytes, Infallible>>;
/// Answers requests.
pub type Handler =
    Arc<dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// A running server, which ends when dropped.
pub struct Endpoint {
    pub port: u16,
    address: IpAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    handler: Handler,
    counts: Arc<Counts>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    requests: AtomicUsize,
}

impl Endpoint {
    /// Starts a server that presents `pair` and trusts clients of the CA `ca`.
    pub fn start(pair: &Pair, ca: &str, handler: Handler) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), pair, ca, handler)
    }

    /// Starts a server on an address of this machine.
    pub fn start_at(address: IpAddr, pair: &Pair, ca: &str, handler: Handler) -> Self {
        let mut this = Self {
            port: 0,
            address,
            config: Arc::new(Mutex::new(config(pair, ca))),
            handler,
            counts: Arc::default(),
            runtime: None,
        };
        this.resume();
        this
    }

    /// Changes the certificate for later connections.
    pub fn present(&self, pair: &Pair, ca: &str) {
        *self.config.lock().unwrap() = config(pair, ca);
    }

    /// Closes all connections and stops listening.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            // The port is free once nothing answers on it.
            while std::net::TcpStream::connect((self.address, self.port)).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }

    /// Listens again, on the same port.
    pub fn resume(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind((self.address, self.port)))
            .unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (config, handler, counts) = (
            self.config.clone(),
            self.handler.clone(),
            self.counts.clone(),
        );
        runtime.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let config = config.lock().unwrap().clone();
                connections.spawn(serve(stream, config, handler.clone(), counts.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        self.runtime = Some(runtime);
    }

    /// The number of requests so far.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// The number of TCP connections so far.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// The number of completed TLS handshakes.
    pub fn handshakes(&self) -> usize {
        self.counts.handshakes.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    handler: Handler,
    counts: Arc<Counts>,
) {
    counts.connections.fetch_add(1, Ordering::SeqCst);
    stream.set_nodelay(true).unwrap();
    let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else {
        return;
    };
    counts.handshakes.fetch_add(1, Ordering::SeqCst);
    let service = service_fn(|request| {
        counts.requests.fetch_add(1, Ordering::SeqCst);
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

fn config(pair: &Pair, ca: &str) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

/// An answer with this body.
pub fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = status.try_into().unwrap();
    answer
}

/// Upgrades to another protocol, which returns its input in capitals.
pub fn shout(mut request: Request<Incoming>) -> Answer {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = io.read(&mut buffer).await {
            let loud = buffer[..n].to_ascii_uppercase();
            io.write_all(&loud).await.unwrap();
        }
    });
    let mut answer = answer(101, "");
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, "websocket".parse().unwrap());
    headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
    answer
}
