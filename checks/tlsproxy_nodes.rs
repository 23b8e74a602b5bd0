//! `tlsproxy` through real nodes: alder and cedar are raft servers with a Consul each, which tells who
//! answers; birch is none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::cluster::{Cluster, Running};
use crate::support::endpoint::{Endpoint, answer, shout};
use crate::support::hostile::{self, Attack, From, Run, WAYS};
use crate::support::plain::{Reply, Upgraded, ask, connect, free_offset, get};
use crate::support::{self, Lab, systemd_programs};
use rustix::process::{Pid, Signal, kill_process};

/// The raft servers of the cluster.
const SERVERS: [&str; 2] = ["alder", "cedar"];

/// The settings of Debian's last Consul. Each server is its own raft.
const CONFIG: &str = r#"{"datacenter": "prod", "server": true, "bootstrap_expect": 1, "performance": {"raft_multiplier": 1},
    "data_dir": "/srv/consul/data", "bind_addr": "127.0.0.1", "addresses": {"https": "0.0.0.0"},
    "ports": {"http": -1, "https": 8501, "dns": -1, "grpc": -1},
    "ca_file": "/srv/consul/ca.crt", "cert_file": "/srv/consul/own.crt", "key_file": "/srv/consul/own.key",
    "verify_incoming": true, "verify_outgoing": true}"#;

/// Starts a node's Consul, and waits until it leads and listens on port 8501.
const START: &str = r#"
    systemd-run --quiet --collect --unit=consul-test /srv/consul/consul agent -config-file /srv/consul/config.json
    for i in $(seq 300); do
        journalctl -o cat "_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID consul-test)" |
            grep -c 'cluster leadership acquired' >/dev/null && grep -q ':2135 0*:0000 0A' /proc/net/tcp6 && exit 0
        sleep 0.1
    done
    journalctl -u consul-test
    exit 1"#;

/// Nodes with Consul, and the files to reach them.
struct Stage {
    lab: Lab,
    cluster: Cluster,
    folder: tempfile::TempDir,
    offset: u16,
}

static BARE: AtomicBool = AtomicBool::new(false);

impl Stage {
    /// A cluster with Consul only.
    fn new() -> Self {
        let stage = Self::with_nomad();
        stage.cluster.without("nomad");
        stage
    }

    /// A cluster with Consul and Nomad, whose Nomad is not started.
    fn with_nomad() -> Self {
        let lab = if BARE.swap(true, Ordering::Relaxed) {
            Lab::get()
        } else {
            Lab::bare()
        };
        let cluster = Cluster::new();
        for node in SERVERS {
            install(&lab, node, &cluster);
        }
        Self {
            lab,
            cluster,
            folder: tempfile::tempdir_in("/tmp").unwrap(),
            offset: free_offset(),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let offset = self.offset.to_string();
        let mut command = self.cluster.nixcfg(&["tlsproxy", "prod"]);
        command
            .args(["--ssh-config", self.lab.ssh_config().to_str().unwrap()])
            .args(["--ssh-user", "alice", "--port-offset", &offset])
            .args(args)
            .env("TMPDIR", self.folder.path());
        command
    }

    /// The proxy, serving.
    fn serve(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let running = Running(child);
        let served = out.lines().any(|line| {
            let line = line.unwrap();
            line.starts_with("export CONSUL_HTTP_ADDR=")
        });
        assert!(served, "it ended");
        running
    }

    fn port(&self) -> u16 {
        8500 + self.offset
    }

    /// The node that answers.
    fn who(&self) -> String {
        let reply = get(self.port(), "/v1/agent/self", "");
        assert_eq!(reply.status, 200, "{reply:?}");
        let agent: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        agent["Config"]["NodeName"].as_str().unwrap().to_owned()
    }

    /// Writes a value to the node that answers.
    fn put(&self, key: &str) {
        let port = self.port();
        let head = format!("PUT /v1/kv/{key} HTTP/1.1\r\nHost: localhost:{port}");
        let request = format!("{head}\r\nContent-Length: 3\r\n\r\nnew");
        let reply = ask(&format!("127.0.0.1:{port}"), &request);
        assert_eq!((reply.status, reply.body.trim()), (200, "true"));
    }

    /// The ssh processes of this stage's runs.
    fn logins(&self) -> Vec<Pid> {
        let folder = self.folder.path().to_str().unwrap();
        procfs::process::all_processes()
            .unwrap()
            .flatten()
            .filter(|process| {
                let words = process.cmdline().unwrap_or_default();
                words.first().is_some_and(|word| word.starts_with("ssh"))
                    && words.iter().any(|word| word.contains(folder))
            })
            .filter_map(|process| Pid::from_raw(process.pid))
            .collect()
    }

    /// Cuts a node's power, and starts the node and its Consul again.
    fn restart(&self, node: &str) {
        self.lab.fault(node, &["kill"]);
        self.lab.fault(node, &["start"]);
        if SERVERS.contains(&node) {
            self.lab.root(node, START);
        }
    }
}

impl Drop for Stage {
    /// Resets the nodes for the next test.
    fn drop(&mut self) {
        if thread::panicking() {
            for node in support::NODES {
                self.lab.fault(node, &["join"]);
                self.lab.fault(node, &["start"]);
            }
        }
    }
}

/// Starts a Consul on a node with the cluster's certificates and without data.
fn install(lab: &Lab, node: &str, cluster: &Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let pair = cluster.server("consul");
    file("ca.crt", &cluster.consul.pem());
    file("own.crt", &pair.certificate);
    file("own.key", &pair.key);
    file("config.json", CONFIG);
    lab.root(
        node,
        "systemctl stop consul-test 2>/dev/null; rm -rf /srv/consul/data",
    );
    lab.copy(node, dir.path(), "/srv/consul");
    if !lab.holds(node, "test -e /srv/consul/consul") {
        let program = lab.put_consul(node);
        lab.root(node, &format!("ln -s {program} /srv/consul/consul"));
    }
    lab.root(node, START);
}

#[test]
fn the_next_raft_server_answers_when_one_goes_down_in_whatever_way() {
    let stage = Stage::new();
    let _proxy = stage.serve(&[]);
    assert_eq!(stage.who(), "alder");
    // Consul stops; ssh keeps running.
    stage.lab.root("alder", "systemctl stop consul-test");
    assert_eq!(stage.who(), "cedar");
    stage.lab.root("alder", START);
    // A power cut during a long poll, which continues on another node.
    let port = stage.port();
    let waiting = thread::spawn(move || get(port, "/v1/kv/news?index=1&wait=60s", ""));
    thread::sleep(Duration::from_secs(1));
    stage.lab.fault("cedar", &["kill"]);
    assert_eq!(stage.who(), "alder");
    assert!(!waiting.is_finished());
    stage.put("news");
    let Reply { status, body, .. } = waiting.join().unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("bmV3"), "{body}");
    // The node is back, and the other one becomes silent.
    stage.lab.fault("cedar", &["start"]);
    stage.lab.root("cedar", START);
    stage.lab.fault("alder", &["cut"]);
    assert_eq!(stage.who(), "cedar");
    stage.lab.fault("alder", &["join"]);
}

#[test]
fn streams_web_sockets_and_forwards_stay_open_while_other_nodes_restart() {
    let stage = Stage::with_nomad();
    // A server in Nomad's place, behind alder's port.
    let address = format!("10.77.{}.1", stage.lab.number());
    let nomad = Endpoint::start_at(
        address.parse().unwrap(),
        &stage.cluster.server("nomad"),
        &stage.cluster.nomad.pem(),
        std::sync::Arc::new(|request| {
            Box::pin(async move {
                match request.uri().path() {
                    "/exec" => shout(request),
                    _ => answer(200, r#""192.0.2.11:4647""#),
                }
            })
        }),
    );
    let carry = format!(
        "systemctl stop nomad-test.socket 2>/dev/null
        systemd-run --quiet --collect --unit=nomad-test --socket-property=ListenStream=127.0.0.1:4646 \
            {}/systemd-socket-proxyd {address}:{}",
        systemd_programs(),
        nomad.port
    );
    stage.lab.root("alder", &carry);
    // A forward of the cluster and one of the command line, to a server that speaks first.
    stage
        .cluster
        .flake("forwards.shell = { localPort = 1389; host = \"127.0.0.1\"; port = 22; };");
    let _proxy = stage.serve(&["--forward", "again=1390:localhost:22"]);
    let mut socket = Upgraded::open(4646 + stage.offset, "/exec");
    assert_eq!(socket.say("before"), "BEFORE");
    let mut forwards = [1389, 1390].map(|port| connect(port + stage.offset));
    for forward in &mut forwards {
        assert_eq!(banner(forward), "SSH-2.0-");
    }
    let port = stage.port();
    let mut stream = connect(port);
    let head = format!("GET /v1/agent/monitor?loglevel=debug HTTP/1.1\r\nHost: localhost:{port}");
    write!(stream, "{head}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    // Consul streams its log after the answer's head.
    assert!(lines.any(|line| line.unwrap().is_empty()), "no answer");
    stage.put("before");
    let mut logged = |key: &str| {
        let wanted = format!("/v1/kv/{key}");
        lines.any(|line| line.unwrap().contains(&wanted))
    };
    assert!(logged("before"), "the stream ended");
    for node in ["birch", "cedar"] {
        stage.restart(node);
    }
    assert_eq!(socket.say("after"), "AFTER");
    for forward in &mut forwards {
        forward.write_all(b"SSH-2.0-test\r\n").unwrap();
        assert_eq!(forward.read(&mut [0]).unwrap(), 1);
    }
    stage.put("after");
    assert!(logged("after"), "the stream ended");
}

/// The greeting of a server that speaks first.
fn banner(stream: &mut TcpStream) -> String {
    let mut start = [0; 8];
    stream.read_exact(&mut start).unwrap();
    String::from_utf8(start.to_vec()).unwrap()
}

#[test]
fn after_a_laptops_sleep_the_next_request_is_answered() {
    let stage = Stage::new();
    let proxy = stage.serve(&["--via", "alder"]);
    assert_eq!(stage.who(), "alder");
    let asleep: Vec<Pid> = stage
        .logins()
        .into_iter()
        .chain([Pid::from_child(&proxy.0)])
        .collect();
    assert!(asleep.len() > 1, "there is no ssh");
    for pid in &asleep {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    // Meanwhile all connections are cut silently.
    stage.lab.fault("alder", &["cut"]);
    stage.lab.fault("alder", &["kill"]);
    stage.lab.fault("alder", &["join"]);
    stage.lab.fault("alder", &["start"]);
    stage.lab.root("alder", START);
    for pid in &asleep {
        kill_process(*pid, Signal::CONT).unwrap();
    }
    assert_eq!(stage.who(), "alder");
}

#[test]
fn a_node_that_is_no_server_is_passed_through_to_one() {
    let stage = Stage::new();
    let _proxy = stage.serve(&["--via", "birch"]);
    assert_eq!(stage.who(), "alder");
    stage.lab.root("alder", "systemctl stop consul-test");
    assert_eq!(stage.who(), "cedar");
    assert_eq!(stage.logins().len(), 1);
}

/// All ways of a bad answer.
const EVERY: [&str; WAYS.len()] = {
    let mut names = [""; WAYS.len()];
    let mut number = 0;
    while number < WAYS.len() {
        names[number] = WAYS[number].0;
        number += 1;
    }
    names
};

#[test]
fn a_node_whose_login_talks_ends_or_complains_keeps_no_answer_back() {
    let stage = Stage::new();
    hostile::prepare(&stage.lab, "alder");
    let attack = Attack {
        operation: &["tlsproxy"],
        script: "nixcfg-hold",
        from: From::Start,
        // A login says nothing that is believed.
        takes: &EVERY,
    };
    let mut done = Vec::new();
    for (way, _) in WAYS {
        let run = Run::new(attack, way, "alder", stage.lab.ssh_config());
        let mut command = stage.cluster.nixcfg(&["tlsproxy", "prod"]);
        let ask = "curl --fail --silent --show-error --noproxy '*' --output /dev/null --write-out 'answers\\n' $CONSUL_HTTP_ADDR/v1/agent/self";
        command
            .arg("--ssh-config")
            .arg(run.config())
            .args(["--ssh-user", "alice", "--port-offset"])
            .args([&stage.offset.to_string(), "--", "sh", "-c"])
            .arg(format!("{ask} && sleep 2 && {ask}"));
        let told = run.watch(&mut command);
        let mut trouble = told.trouble();
        if told.out.matches("answers").count() != 2 {
            trouble.push("keeps answers back".to_owned());
        }
        let words = told.words(&trouble);
        done.push((told, words));
    }
    hostile::end(&stage.lab, &["alder"], done, WAYS.len());
}

#[test]
fn no_login_is_left_anywhere_once_it_has_ended() {
    let stage = Stage::new();
    let mut proxy = stage.serve(&[]);
    let port = stage.port();
    let open = thread::spawn(move || {
        let mut stream = connect(port);
        let head = format!("GET /v1/kv/news?index=1 HTTP/1.1\r\nHost: localhost:{port}");
        write!(stream, "{head}\r\n\r\n").unwrap();
        stream.read(&mut [0])
    });
    assert_eq!(stage.who(), "alder");
    assert!(!stage.logins().is_empty());
    proxy.signal(Signal::INT);
    assert_eq!(proxy.0.wait().unwrap().code(), Some(0));
    assert!(matches!(open.join().unwrap(), Ok(0) | Err(_)));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    // The master gets the order to end, and ends by itself.
    for _ in 0..50 {
        if stage.logins().is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(stage.logins(), []);
    assert_eq!(std::fs::read_dir(stage.folder.path()).unwrap().count(), 0);
    let left = "for i in $(seq 50); do pgrep -u alice -f 'exec cat' >/dev/null || exit 0; sleep 0.1; done; pgrep -u alice -a";
    for node in SERVERS {
        assert_eq!(stage.lab.root(node, left), "");
    }
}
