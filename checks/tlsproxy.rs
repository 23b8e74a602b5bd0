//! `tlsproxy` and servers that require client certificates: what it passes and refuses, and how it
//! starts and ends.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::certificates::{Authority, Flaw};
use crate::support::cluster::{self, Cluster, Running, year};
use crate::support::endpoint::{self, Endpoint, Handler, answer};
use crate::support::pass::ended;
use crate::support::plain::{self, Reply, ask, free_offset, get, reply};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::header;
use hyper::{Request, Response};

/// A server that returns what reaches it.
fn mirror() -> Handler {
    Arc::new(|request: Request<hyper::body::Incoming>| {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            match path.as_str() {
                "/v1/status/leader" => answer(200, r#""127.0.0.1:4647""#),
                "/host" => {
                    let host = request.headers()[header::HOST].to_str().unwrap();
                    answer(200, host.to_owned())
                }
                "/token" => match request.headers().get("x-nomad-token") {
                    Some(token) => answer(200, token.to_str().unwrap().to_owned()),
                    None => answer(403, "Permission denied"),
                },
                "/echo" => {
                    let body = request.into_body().collect().await.unwrap();
                    answer(200, body.to_bytes())
                }
                "/wait" => {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    answer(200, "waited")
                }
                "/stream" => stream(),
                "/exec" => endpoint::shout(request),
                _ => answer(200, path),
            }
        })
    })
}

/// Two lines, one second apart.
fn stream() -> endpoint::Answer {
    let (send, receive) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for line in ["one\n", "two\n"] {
            send.send(line).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    Response::new(Lines(receive).boxed())
}

struct Lines(tokio::sync::mpsc::Receiver<&'static str>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = self.0.poll_recv(context);
        line.map(|line| line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }
}

/// A cluster, its Nomad, and the settings of a proxy for them.
struct Stage {
    cluster: Cluster,
    nomad: Endpoint,
    consul: Endpoint,
    offset: u16,
}

impl Stage {
    fn new() -> Self {
        Self::of(Cluster::new())
    }

    fn of(cluster: Cluster) -> Self {
        let start = |service: &str| {
            let ca = cluster.authority(service).pem();
            Endpoint::start(&cluster.server(service), &ca, mirror())
        };
        Self {
            nomad: start("nomad"),
            consul: start("consul"),
            offset: free_offset(),
            cluster,
        }
    }

    /// `nixcfg tlsproxy prod` to these servers.
    fn command(&self) -> Command {
        let ports = format!("--no-ssh={}:{}", self.nomad.port, self.consul.port);
        let offset = self.offset.to_string();
        self.cluster
            .nixcfg(&["tlsproxy", "prod", &ports, "--port-offset", &offset])
    }

    fn port(&self) -> u16 {
        4646 + self.offset
    }

    /// The proxy, serving.
    fn serve(&self) -> Running {
        let mut command = self.command();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let running = Running(child);
        let told: Vec<String> = lines.take(2).collect::<Result<_, _>>().unwrap();
        let nomad = format!("export NOMAD_ADDR=http://localhost:{}", self.port());
        assert!(told.contains(&nomad), "{told:?}");
        running
    }

    /// A proxy that fails to start.
    fn fails(&self) -> Output {
        self.command().output().unwrap()
    }

    fn get(&self, path: &str) -> Reply {
        get(self.port(), path, "")
    }

    /// Asserts that no request has reached a server.
    fn untouched(&self) {
        assert_eq!(self.nomad.requests(), 0);
    }
}

/// Waits for a condition; the test hangs without it.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn plain_requests_reach_both_services_by_both_families() {
    let stage = Stage::new();
    let _proxy = stage.serve();
    assert_eq!(stage.get("/v1/x").body, "/v1/x");
    assert_eq!(get(8500 + stage.offset, "/v1/y", "").body, "/v1/y");
    let port = stage.port();
    let request = format!("GET /host HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n");
    let reply = ask(&format!("[::1]:{port}"), &request);
    assert_eq!(reply.body, format!("[::1]:{port}"));
}

#[test]
fn a_browser_on_another_page_gets_nothing_through() {
    let stage = Stage::new();
    let _proxy = stage.serve();
    let before = stage.nomad.requests();
    let port = stage.port();
    for headers in [
        format!("Host: evil.example:{port}"),
        format!("Host: localhost:{port}\r\nOrigin: http://evil.example"),
        format!("Host: localhost:{port}\r\nOrigin: null"),
        format!("Host: localhost:{port}\r\nSec-Fetch-Site: cross-site"),
        format!("Host: localhost:{port}\r\nHost: evil.example"),
    ] {
        let request = format!("POST /v1/jobs HTTP/1.1\r\n{headers}\r\nContent-Length: 0\r\n\r\n");
        let reply = ask(&format!("127.0.0.1:{port}"), &request);
        assert_eq!(reply.status, 403, "{headers}");
    }
    // The proxy checks a second request on a connection like the first.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let good = format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(good.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(reply(&mut reader).status, 200);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .unwrap();
    assert_eq!(reply(&mut reader).status, 403);
    assert_eq!(stage.nomad.requests(), before + 1);
}

#[test]
fn tokens_and_refusals_pass_through() {
    let stage = Stage::new();
    let _proxy = stage.serve();
    let reply = get(stage.port(), "/token", "X-Nomad-Token: abc\r\n");
    assert_eq!((reply.status, reply.body.as_str()), (200, "abc"));
    assert_eq!(stage.get("/token").status, 403);
}

#[test]
fn a_long_poll_is_kept_open_and_a_stream_flows_as_it_comes() {
    let stage = Stage::new();
    let _proxy = stage.serve();
    let waiting = std::thread::spawn({
        let port = stage.port();
        move || get(port, "/wait", "").body
    });
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port())).unwrap();
    let request = format!(
        "GET /stream HTTP/1.1\r\nHost: localhost:{}\r\n\r\n",
        stage.port()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    let mut buffer = [0; 1024];
    let mut first = None;
    while !text.contains("0\r\n\r\n") {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "{text}");
        text += std::str::from_utf8(&buffer[..n]).unwrap();
        if text.contains("one") {
            first.get_or_insert(text.contains("two"));
        }
    }
    assert_eq!(first, Some(false), "the first line waited for the second");
    assert!(text.contains("two"));
    assert_eq!(waiting.join().unwrap(), "waited");
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let stage = Stage::new();
    let _proxy = stage.serve();
    let port = stage.port();
    let mut shouting = plain::Upgraded::open(port, "/exec");
    assert_eq!(shouting.say("hello"), "HELLO");
    assert_eq!(shouting.say("again"), "AGAIN");
}

#[test]
fn a_large_body_arrives_byte_for_byte() {
    let stage = Stage::new();
    let _proxy = stage.serve();
    let port = stage.port();
    let body: String = (0..2_000_000)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect();
    let request = format!(
        "PUT /echo HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(ask(&format!("127.0.0.1:{port}"), &request).body == body);
}

#[test]
fn five_hundred_connections_are_served_at_once() {
    let stage = Stage::new();
    let _proxy = stage.serve();
    let port = stage.port();
    let request = format!("GET /wait HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    let streams: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in streams {
        assert_eq!(reply(&mut BufReader::new(stream)).body, "waited");
    }
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let mut stage = Stage::new();
    let _proxy = stage.serve();
    assert_eq!(stage.get("/a").status, 200);
    stage.nomad.stop();
    let reply = stage.get("/b");
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("nothing answers on port"), "{reply:?}");
    stage.nomad.resume();
    assert_eq!(stage.get("/c").body, "/c");
}

#[test]
fn a_query_that_waits_for_news_outlives_a_restart_of_its_server() {
    let mut stage = Stage::new();
    let _proxy = stage.serve();
    let ask = |path: &'static str| {
        let (port, before) = (stage.port(), stage.nomad.requests());
        let asked = std::thread::spawn(move || get(port, path, ""));
        until(|| stage.nomad.requests() > before);
        asked
    };
    let (waiting, plain) = (ask("/wait?index=7"), ask("/wait"));
    stage.nomad.stop();
    assert_eq!(plain.join().unwrap().status, 503);
    assert!(!waiting.is_finished());
    stage.nomad.resume();
    assert_eq!(waiting.join().unwrap().body, "waited");
}

#[test]
fn what_may_change_something_is_never_sent_twice() {
    let mut stage = Stage::new();
    let _proxy = stage.serve();
    let port = stage.port();
    for method in ["POST", "PUT", "DELETE"] {
        let before = stage.nomad.requests();
        let asked = std::thread::spawn(move || {
            let request = format!("{method} /wait?index=7 HTTP/1.1\r\nHost: localhost:{port}\r\n");
            let request = format!("{request}Content-Length: 2\r\n\r\n{{}}");
            ask(&format!("127.0.0.1:{port}"), &request)
        });
        until(|| stage.nomad.requests() > before);
        stage.nomad.stop();
        stage.nomad.resume();
        let reply = asked.join().unwrap();
        assert_eq!(reply.status, 502, "{method}: {reply:?}");
        assert!(reply.body.contains("broke off"), "{reply:?}");
        assert_eq!(stage.nomad.requests(), before + 1, "{method}");
    }
}

#[test]
fn a_server_of_another_ca_gets_no_byte_of_a_request() {
    let stage = Stage::new();
    let other = Authority::new("another CA");
    let pair = other.server("server.prod.nomad", Flaw::None);
    stage.nomad.present(&pair, &stage.cluster.nomad.pem());
    ended(
        &stage.fails(),
        3,
        &["Nomad at port", "not by the CA in the password store"],
    );
    stage.untouched();
    assert!(stage.nomad.connections() > 0);
    assert_eq!(stage.nomad.handshakes(), 0);
}

#[test]
fn an_expired_server_and_one_of_another_name_get_no_byte_of_a_request() {
    let stage = Stage::new();
    let ca = &stage.cluster.nomad;
    let cases = [
        (
            ca.server("server.prod.nomad", Flaw::Expired),
            "its certificate has expired",
        ),
        (
            ca.server("client.prod.nomad", Flaw::None),
            "its certificate is not for ‘server.prod.nomad’",
        ),
        (
            ca.server("server.staging.nomad", Flaw::None),
            "its certificate is not for ‘server.prod.nomad’",
        ),
        (
            ca.operator("server.prod.nomad", Flaw::None),
            "its certificate is not one for a server",
        ),
    ];
    for (pair, told) in cases {
        stage.nomad.present(&pair, &ca.pem());
        ended(&stage.fails(), 3, &[told]);
    }
    stage.untouched();
    assert_eq!(stage.nomad.handshakes(), 0);
}

#[test]
fn a_server_that_turns_bad_while_the_proxy_runs_is_refused_from_then_on() {
    let mut stage = Stage::new();
    let _proxy = stage.serve();
    let before = stage.nomad.requests();
    let pair = stage
        .cluster
        .nomad
        .server("server.prod.nomad", Flaw::Expired);
    stage.nomad.present(&pair, &stage.cluster.nomad.pem());
    stage.nomad.stop();
    stage.nomad.resume();
    let reply = stage.get("/v1/jobs");
    assert_eq!(reply.status, 502);
    assert!(reply.body.contains("has expired"), "{reply:?}");
    assert_eq!(stage.nomad.requests(), before);
}

#[test]
fn a_ca_that_is_replaced_while_the_proxy_runs_is_taken_from_the_store() {
    let mut stage = Stage::new();
    let _proxy = stage.serve();
    let new = Authority::new("next CA");
    stage.cluster.keep_ca("nomad", &new.pem());
    let operator = new.operator("cli.prod.nomad", Flaw::None);
    stage.cluster.keep_operator("nomad", year(), &operator);
    let pair = new.server("server.prod.nomad", Flaw::None);
    stage.nomad.present(&pair, &new.pem());
    stage.nomad.stop();
    stage.nomad.resume();
    // The proxy reads the store again only after some seconds.
    let found = (0..60).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        stage.get("/v1/x").status == 200
    });
    assert!(found, "{:?}", stage.get("/v1/x"));
}

#[test]
fn a_store_without_this_years_certificate_says_which_years_it_has() {
    let cluster = Cluster::new();
    for file in ["crt", "key"] {
        let of = |year: i32| format!("example/cluster/prod/nomad{year}-client.{file}");
        cluster.store.pass(&["mv", &of(year()), &of(year() - 1)]);
    }
    let stage = Stage::of(cluster);
    let there = format!("there is one for {}", year() - 1);
    let missing = format!("nomad{}-client.crt", year());
    ended(
        &stage.fails(),
        2,
        &["no operator certificate", &there, &missing, "gen-pki"],
    );
    assert_eq!(stage.nomad.connections(), 0);
}

#[test]
fn an_operator_certificate_that_cannot_serve_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let ca = &stage.cluster.nomad;
    let cases = [
        (ca.operator("cli.prod.nomad", Flaw::Expired), "has expired"),
        (
            ca.operator("cli.prod.nomad", Flaw::NotYetValid),
            "is not valid yet",
        ),
        (
            stage.cluster.consul.operator("cli.prod.nomad", Flaw::None),
            "is not by the CA that the store holds",
        ),
    ];
    for (pair, told) in cases {
        stage.cluster.keep_operator("nomad", year(), &pair);
        ended(&stage.fails(), 2, &["operator certificate of Nomad", told]);
    }
    assert_eq!(stage.nomad.connections(), 0);
}

#[test]
fn a_server_that_does_not_take_the_operators_certificate_is_told_so() {
    let stage = Stage::new();
    let other = Authority::new("another CA");
    stage
        .nomad
        .present(&stage.cluster.server("nomad"), &other.pem());
    ended(
        &stage.fails(),
        3,
        &["Nomad does not take the operator's certificate"],
    );
    stage.untouched();
}

#[test]
fn one_silent_service_is_a_warning_and_two_are_an_error() {
    let mut stage = Stage::new();
    stage.consul.stop();
    let proxy = stage.serve();
    assert_eq!(stage.get("/a").status, 200);
    drop(proxy);
    stage.nomad.stop();
    ended(
        &stage.fails(),
        3,
        &["Nomad cannot be reached", "Consul cannot be reached"],
    );
}

#[test]
fn where_no_node_can_be_reached_each_is_named() {
    let stage = Stage::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let config = format!("Host *\n  HostName 127.0.0.1\n  Port {port}\n");
    std::fs::write(stage.cluster.folder().join("closed"), config).unwrap();
    let offset = stage.offset.to_string();
    let args = [
        "tlsproxy",
        "prod",
        "--ssh-config",
        "closed",
        "--port-offset",
        &offset,
    ];
    ended(
        &stage.cluster.nixcfg(&args).output().unwrap(),
        3,
        &[
            "Nomad cannot be reached",
            "Consul cannot be reached",
            "alder: cannot be reached",
            "birch: cannot be reached",
            "cedar: cannot be reached",
            "Connection refused",
        ],
    );
}

#[test]
fn a_taken_port_names_its_holder_and_the_way_out() {
    let stage = Stage::new();
    let _held = std::net::TcpListener::bind(("127.0.0.1", stage.port())).unwrap();
    let holder = format!("(process {})", std::process::id());
    ended(
        &stage.fails(),
        2,
        &["for Nomad, is taken by", &holder, "--port-offset"],
    );
    assert_eq!(stage.nomad.connections(), 0);
}

#[test]
fn a_command_runs_inside_and_the_proxy_ends_with_it() {
    let stage = Stage::new();
    let inside = |script: &str| {
        let mut command = stage.command();
        command
            .args(["--", "sh", "-c", script])
            .env("CONSUL_HTTP_SSL", "true");
        command.output().unwrap()
    };
    let done = inside(r#"echo "$NOMAD_ADDR $CONSUL_HTTP_ADDR ${CONSUL_HTTP_SSL-unset}""#);
    ended(&done, 0, &[]);
    let (nomad, consul) = (stage.port(), 8500 + stage.offset);
    let expected = format!("http://localhost:{nomad} http://localhost:{consul} unset\n");
    assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
    ended(&inside("exit 9"), 9, &["sh ended with exit code 9"]);
    assert!(TcpStream::connect(("127.0.0.1", nomad)).is_err());
}

#[test]
fn a_command_inside_inherits_no_password_and_may_be_the_tool_itself() {
    let stage = Stage::new();
    let mut command = stage.command();
    let looks = r#"env; timeout 1 cat $(ls -d /proc/self/fd/* | grep -v '/[012]$') 2>/dev/null; "$0" exec prod --sudo -- true"#;
    command
        .args(["--", "sh", "-c", looks, env!("CARGO_BIN_EXE_nixcfg")])
        .env("SUDO_PASS", "looking-glass")
        .stdin(Stdio::null());
    let done = command.output().unwrap();
    let told = [done.stdout, done.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(!told.contains("looking-glass"), "{told}");
    assert!(!told.contains("password is empty"), "{told}");
    // It goes as far as a run that was given none.
    assert!(told.contains("nodes cannot be used"), "{told}");
}

#[test]
fn an_interrupt_ends_the_proxy_cleanly() {
    let stage = Stage::new();
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut proxy = stage.serve();
        let open = TcpStream::connect(("127.0.0.1", stage.port())).unwrap();
        proxy.signal(signal);
        assert_eq!(proxy.0.wait().unwrap().code(), Some(0));
        drop(open);
        assert!(TcpStream::connect(("127.0.0.1", stage.port())).is_err());
    }
}

#[test]
fn an_interrupt_reaches_the_command_inside() {
    let stage = Stage::new();
    let mut command = stage.command();
    let script = "trap 'exit 5' INT; echo ready; while :; do sleep 0.1; done";
    let mut child = command
        .args(["--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let mut running = Running(child);
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.0.wait().unwrap().code(), Some(5));
}

#[test]
fn the_operators_keys_are_in_memory_only() {
    let stage = Stage::new();
    let pair = stage.cluster.nomad.operator("cli.prod.nomad", Flaw::None);
    stage.cluster.keep_operator("nomad", year(), &pair);
    let secret = pair.key.lines().nth(1).unwrap();
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let mut command = stage.command();
    command.env("TMPDIR", folder.path()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let proxy = Running(child);
    let of_process = format!("/proc/{}", proxy.0.id());
    for file in ["environ", "cmdline"] {
        let text = std::fs::read(format!("{of_process}/{file}")).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(secret), "{file}");
    }
    for place in [
        folder.path(),
        &stage.cluster.store.scratch().join("cache"),
        &stage.cluster.folder(),
    ] {
        assert_eq!(
            cluster::found_in(place, secret),
            [] as [std::path::PathBuf; 0]
        );
    }
}

#[test]
fn only_a_node_of_the_cluster_can_be_gone_through() {
    let stage = Stage::new();
    let mut command = stage
        .cluster
        .nixcfg(&["tlsproxy", "prod", "--via", "alden"]);
    ended(
        &command.output().unwrap(),
        2,
        &["has no node ‘alden’", "did you mean ‘alder’?"],
    );
}

#[test]
fn forwards_need_ssh() {
    let stage = Stage::new();
    let mut command = stage.command();
    command.args(["--forward", "ldap=1389:bottin:389"]);
    ended(&command.output().unwrap(), 2, &["--no-ssh"]);
}
