//! Stands in for Nomad, which no package registry has: an agent's two ports and
//! what `deploy-pki` asks of them, with Nomad's habits about its files. It is no
//! orchestrator, and its servers are always healthy, each from its start. With NOMAD
//! set the tests run the real one instead.
//!
//! usage: nomad FOLDER NODE SERVER[,SERVER…]
//!
//! - `nomad-ca.crt`, `nomad.crt`, `nomad.key` of FOLDER are read again on SIGHUP; if they do not fit, the old ones stay.
//! - `consul-client.crt` and its key are read at the start only.
//! - Port 4646 speaks HTTP by TLS with a client certificate, 4647 TLS after the byte 0x04.
//! - `/v1/status/leader`, `/v1/status/peers`, `/v1/operator/autopilot/health` as Nomad answers them; `/standin/consul` tells the serial number
//!   of the certificate for Consul, in hexadecimal.

#![allow(clippy::unwrap_used)] // A stand-in fails by ending.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

type Problem = Box<dyn std::error::Error>;

/// The byte by which a client of the RPC port asks for TLS.
const RPC_TLS: u8 = 4;

fn config(folder: &Path) -> Result<ServerConfig, Problem> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(folder.join("nomad-ca.crt"))? {
        roots.add(certificate?)?;
    }
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain =
        CertificateDer::pem_file_iter(folder.join("nomad.crt"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("nomad.key"))?;
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?)
}

fn serial(folder: &Path) -> Result<String, Problem> {
    let certificate = CertificateDer::from_pem_file(folder.join("consul-client.crt"))?;
    PrivateKeyDer::from_pem_file(folder.join("consul-client.key"))?;
    let (_, read) = x509_parser::parse_x509_certificate(&certificate)?;
    Ok(format!("{:X}", read.tbs_certificate.serial))
}

#[tokio::main]
async fn main() -> Result<(), Problem> {
    let args: Vec<String> = std::env::args().collect();
    let folder = PathBuf::from(&args[1]);
    let node = args[2].clone();
    let servers: Vec<String> = args[3].split(',').map(str::to_owned).collect();
    let consul = serial(&folder)?;
    let current = Arc::new(Mutex::new(Arc::new(config(&folder)?)));
    let mut again = signal(SignalKind::hangup())?;
    let api = TcpListener::bind("0.0.0.0:4646").await?;
    let rpc = TcpListener::bind("0.0.0.0:4647").await?;
    let is_server = servers.contains(&node);
    loop {
        tokio::select! {
            _ = again.recv() => match config(&folder) {
                Ok(config) => *current.lock().unwrap() = Arc::new(config),
                Err(e) => eprintln!("reload failed, the old certificate stays: {e}"),
            },
            Ok((stream, _)) = api.accept() => {
                let acceptor = TlsAcceptor::from(current.lock().unwrap().clone());
                let (consul, servers) = (consul.clone(), servers.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let answer = answer(&request, &consul, &servers);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Ok((mut stream, _)) = rpc.accept(), if is_server => {
                let acceptor = TlsAcceptor::from(current.lock().unwrap().clone());
                tokio::spawn(async move {
                    if stream.read_u8().await.ok() == Some(RPC_TLS)
                        && let Ok(mut stream) = acceptor.accept(stream).await
                    {
                        let _ = stream.read_u8().await;
                    }
                });
            }
        }
    }
}

fn answer(
    request: &Request<hyper::body::Incoming>,
    consul: &str,
    servers: &[String],
) -> Response<Full<Bytes>> {
    let text = match request.uri().path() {
        "/v1/status/leader" => json!("127.0.0.1:4647").to_string(),
        "/v1/status/peers" => {
            let peers = servers.iter().map(|name| format!("{name}:4647"));
            json!(peers.collect::<Vec<_>>()).to_string()
        }
        "/v1/operator/autopilot/health" => {
            let server = |(number, name): (usize, &String)| json!({"Name": format!("{name}.prod"), "Leader": number == 0, "Healthy": true, "Voter": true});
            let spare = (servers.len() - 1) / 2;
            let each: Vec<_> = servers.iter().enumerate().map(server).collect();
            json!({"Healthy": true, "FailureTolerance": spare, "Servers": each}).to_string()
        }
        "/standin/consul" => consul.to_owned(),
        _ => {
            let mut missing = Response::new(Full::default());
            *missing.status_mut() = hyper::StatusCode::NOT_FOUND;
            return missing;
        }
    };
    Response::new(Full::new(text.into()))
}
