//! tlsproxy beside socat's OpenSSL proxy, as the original used it, and stunnel:
//! the same server, the same loopback, in turn. Prints throughput, processor
//! time, latency, and memory under many connections and in a long stream.
//! Medians of ROUNDS rounds. `checks/setup build bench`, then
//! `cargo bench --bench tlsproxy`

#![allow(clippy::unwrap_used, clippy::panic)] // A benchmark fails by panicking.

#[allow(dead_code, unused_imports)] // A part of it is used.
#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, Response};
use support::certificates::{Flaw, Pair};
use support::cluster::{Cluster, Running};
use support::endpoint::{Endpoint, Handler, answer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

const ROUNDS: usize = 5;
/// Bytes of a transfer.
const TRANSFER: u64 = 512 << 20;
/// Bytes of the long stream.
const LONG: u64 = 8 << 30;
const REQUESTS: usize = 2000;
const CONNECTIONS: usize = 500;
const CHUNK: usize = 64 << 10;
/// Ticks of processor time in a second, on Linux.
const TICKS: f64 = 100.0;

/// So many zeros.
struct Zeros(u64);

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK_OF_ZEROS: [u8; CHUNK] = [0; CHUNK];
        let now = self.0.min(CHUNK as u64);
        self.0 -= now;
        let part = Bytes::from_static(&CHUNK_OF_ZEROS).slice(..now as usize);
        Poll::Ready((now > 0).then(|| Ok(Frame::data(part))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// `/bytes/N` gives N zeros, `/sink` takes all, `/hold` answers after two seconds.
fn server() -> Handler {
    Arc::new(|request: Request<Incoming>| {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            match path.as_str() {
                "/v1/status/leader" => answer(200, r#""127.0.0.1:4647""#),
                "/sink" => {
                    let mut body = request.into_body();
                    while body.frame().await.is_some() {}
                    answer(200, "ok")
                }
                "/hold" => {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    answer(200, "ok")
                }
                _ => match path.strip_prefix("/bytes/") {
                    Some(size) => Response::new(Zeros(size.parse().unwrap()).boxed()),
                    None => answer(200, "ok"),
                },
            }
        })
    })
}

/// A proxy that runs.
struct Peer {
    name: &'static str,
    port: u16,
    running: Running,
}

impl Peer {
    /// Processor time that it and its children have used, in seconds.
    fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.running.0.id())).unwrap();
        // Fields 14 to 17 of proc(5), after the name in parentheses, in ticks.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: f64 = fields
            .skip(11)
            .take(4)
            .map(|ticks| ticks.parse::<f64>().unwrap())
            .sum();
        ticks / TICKS
    }

    /// Its memory, in KiB.
    fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.running.0.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn started(name: &'static str, port: u16, command: &mut Command) -> Peer {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let running = Running(child);
    while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Peer {
        name,
        port,
        running,
    }
}

fn tlsproxy(cluster: &Cluster, nomad: u16) -> Peer {
    let offset = support::plain::free_offset();
    cluster.without("consul");
    let mut command = cluster.nixcfg(&["tlsproxy", "prod"]);
    command
        .arg(format!("--no-ssh={nomad}:1"))
        .args(["--port-offset", &offset.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let out = child.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    Peer {
        name: "tlsproxy",
        port: 4646 + offset,
        running: Running(child),
    }
}

fn socat(name: &'static str, buffer: &str, keys: &Path, nomad: u16) -> Peer {
    let port = free_port();
    let at = |file: &str| keys.join(file).display().to_string();
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay");
    let (cert, key, ca) = (at("own.crt"), at("own.key"), at("ca.crt"));
    let to = format!(
        "OPENSSL:127.0.0.1:{nomad},cert={cert},key={key},cafile={ca},verify=1,commonname=server.prod.nomad,nodelay"
    );
    started(
        name,
        port,
        Command::new("socat").args(["-b", buffer, &listen, &to]),
    )
}

fn stunnel(keys: &Path, nomad: u16) -> Peer {
    let port = free_port();
    let at = |file: &str| keys.join(file).display().to_string();
    let config = format!(
        "foreground = quiet\npid =\n[nomad]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{nomad}\ncert = {}\nkey = {}\nCAfile = {}\nverifyChain = yes\ncheckHost = server.prod.nomad\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n",
        at("own.crt"),
        at("own.key"),
        at("ca.crt")
    );
    let file = keys.join("stunnel.conf");
    std::fs::write(&file, config).unwrap();
    started("stunnel", port, Command::new("stunnel4").arg(file))
}

/// Reads an answer's head; gives what came after it, and how much the body has.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> (u64, u64) {
    let mut text = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "the connection was closed");
        text.extend_from_slice(&buffer[..n]);
        if let Some(end) = text.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            return (
                (text.len() - end - 4) as u64,
                length.unwrap().parse().unwrap(),
            );
        }
    }
}

/// Asks for `path` and reads all of the answer.
async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), port: u16, path: &str) -> u64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut read, all) = head(stream).await;
    let mut buffer = vec![0; 4 * CHUNK];
    while read < all {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "the connection was closed");
        read += n as u64;
    }
    all
}

async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn download(port: u16) {
    get(
        &mut connect(port).await,
        port,
        &format!("/bytes/{TRANSFER}"),
    )
    .await;
}

async fn upload(port: u16) {
    let mut stream = connect(port).await;
    let head = format!(
        "PUT /sink HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {TRANSFER}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let zeros = vec![0; CHUNK];
    for _ in 0..TRANSFER / CHUNK as u64 {
        stream.write_all(&zeros).await.unwrap();
    }
    self::head(&mut stream).await;
}

/// The median time of a small request on a connection that stays open, in milliseconds.
async fn latency(mut stream: impl AsyncRead + AsyncWrite + Unpin, port: u16) -> f64 {
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let began = Instant::now();
        get(&mut stream, port, "/").await;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    median(times)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Transfers by every peer in turn; prints MiB/s, and seconds of processor time for a GiB.
async fn throughput(what: &str, peers: &[Peer], up: bool) {
    let mut speeds = vec![Vec::new(); peers.len()];
    let mut costs = vec![Vec::new(); peers.len()];
    for _ in 0..ROUNDS {
        for (number, peer) in peers.iter().enumerate() {
            let (began, used) = (Instant::now(), peer.processor());
            if up {
                upload(peer.port).await
            } else {
                download(peer.port).await
            }
            let mib = (TRANSFER >> 20) as f64;
            speeds[number].push(mib / began.elapsed().as_secs_f64());
            // A child's time counts once it has ended.
            tokio::time::sleep(Duration::from_millis(100)).await;
            costs[number].push((peer.processor() - used) * 1024.0 / mib);
        }
    }
    println!("{what} of {} MiB:", TRANSFER >> 20);
    let speeds: Vec<f64> = speeds.into_iter().map(median).collect();
    for (number, peer) in peers.iter().enumerate() {
        println!(
            "  {:<12} {:6.0} MiB/s  {:5.2} s of processor time a GiB  tlsproxy is at {:3.0} %",
            peer.name,
            speeds[number],
            median(costs[number].clone()),
            100.0 * speeds[0] / speeds[number]
        );
    }
}

/// Holds connections open at once, each with a request, again and again; prints times and memory.
async fn many(peer: &Peer) {
    let port = peer.port;
    let mut times = Vec::new();
    let mut memory = vec![peer.memory()];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let all = (0..CONNECTIONS).map(|_| async move {
            let mut stream = connect(port).await;
            get(&mut stream, port, "/hold").await;
            stream
        });
        let held = futures_util::future::join_all(all).await;
        times.push(began.elapsed().as_secs_f64());
        drop(held);
        memory.push(peer.memory());
    }
    println!(
        "{CONNECTIONS} connections at once, each answered after 2 s: all after {:.2} s; memory {memory:?} KiB before and after each of {ROUNDS} rounds",
        median(times)
    );
}

/// A long stream, and one whose reader pauses: prints memory on the way.
async fn long(peer: &Peer) {
    let port = peer.port;
    let mut stream = connect(port).await;
    let request = format!("GET /bytes/{LONG} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut read, all) = head(&mut stream).await;
    let mut buffer = vec![0; 4 * CHUNK];
    let mut memory = Vec::new();
    while read < all {
        if read >= memory.len() as u64 * (LONG / 8) {
            memory.push(peer.memory());
            if memory.len() == 5 {
                tokio::time::sleep(Duration::from_secs(3)).await;
                memory.push(peer.memory());
            }
        }
        read += stream.read(&mut buffer).await.unwrap() as u64;
    }
    memory.push(peer.memory());
    println!(
        "a stream of {} GiB, read with a pause in the middle: memory {memory:?} KiB on the way",
        LONG >> 30
    );
}

/// A connection to an endpoint of Nomad's, by TLS.
async fn connect_by_tls(pair: &Pair, ca: &str, port: u16) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("server.prod.nomad").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

fn main() {
    let cluster = Cluster::new();
    let nomad = Endpoint::start(&cluster.server("nomad"), &cluster.nomad.pem(), server());
    let keys = tempfile::tempdir().unwrap();
    let operator = cluster.nomad.operator("cli.prod.nomad", Flaw::None);
    let file = |name: &str, text: &str| std::fs::write(keys.path().join(name), text).unwrap();
    file("own.crt", &operator.certificate);
    file("own.key", &operator.key);
    file("ca.crt", &cluster.nomad.pem());
    let peers = [
        tlsproxy(&cluster, nomad.port),
        socat("socat", "8192", keys.path(), nomad.port),
        socat("socat -b 64k", "65536", keys.path(), nomad.port),
        stunnel(keys.path(), nomad.port),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        throughput("download", &peers, false).await;
        throughput("upload", &peers, true).await;
        let direct = connect_by_tls(&operator, &cluster.nomad.pem(), nomad.port).await;
        let direct = latency(direct, nomad.port).await;
        println!("a small request, median of {REQUESTS}: {direct:.3} ms by TLS without a proxy");
        for peer in &peers {
            let with = latency(connect(peer.port).await, peer.port).await;
            println!("  {:<12} adds {:.3} ms", peer.name, with - direct);
        }
        many(&peers[0]).await;
        long(&peers[0]).await;
    });
}
