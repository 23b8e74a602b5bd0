//! A real Nomad on this machine: the program that the variable `NOMAD` names.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::certificates::{Flaw, Pair};
use super::cluster::{Cluster, Running};
use super::free_ports;

/// The Nomad to test with; none if `NOMAD` is not set.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("NOMAD").filter(|path| !path.is_empty())?;
    let path = std::fs::canonicalize(path).unwrap();
    Some(path)
}

/// An agent: a server, a client, or both.
pub struct Agent {
    pub name: String,
    /// The port of its HTTP API.
    pub port: u16,
    rpc: u16,
    serf: u16,
    folder: PathBuf,
    child: Option<Running>,
}

/// How agents are set up.
pub struct Setup {
    pub servers: usize,
    /// Whether their ACLs are on. The operator then has the first token.
    pub acl: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            servers: 1,
            acl: false,
        }
    }
}

/// Agents of one region, on loopback. They end when dropped.
pub struct Agents {
    pub agents: Vec<Agent>,
    pub program: PathBuf,
    region: String,
    acl: bool,
    /// The token that requests carry.
    pub token: Option<String>,
    folder: tempfile::TempDir,
}

impl Agents {
    /// Starts servers, and waits for a leader and a ready client. The first server is also the client.
    pub fn start(cluster: &Cluster, setup: &Setup) -> Self {
        let program = program().unwrap();
        let folder = tempfile::Builder::new()
            .prefix("nixcfg-nomad-")
            .tempdir_in("/tmp")
            .unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let Pair { certificate, key } = cluster.server("nomad");
        write("ca.crt", &cluster.nomad.pem());
        write("own.crt", &certificate);
        write("own.key", &key);
        let region = cluster.region.clone();
        let operator = cluster
            .nomad
            .operator(&format!("cli.{region}.nomad"), Flaw::None);
        write("operator.crt", &operator.certificate);
        write("operator.key", &operator.key);
        let names = ["alder", "birch", "cedar"];
        let agents: Vec<Agent> = names[..setup.servers]
            .iter()
            .map(|name| {
                let [port, rpc, serf] = free_ports();
                Agent {
                    name: (*name).to_owned(),
                    port,
                    rpc,
                    serf,
                    folder: folder.path().join(name),
                    child: None,
                }
            })
            .collect();
        let mut this = Self {
            agents,
            program,
            region,
            acl: setup.acl,
            token: None,
            folder,
        };
        for number in 0..setup.servers {
            this.configure(number);
            this.resume(number);
        }
        this.wait("a leader", |this| {
            this.agents
                .iter()
                .all(|agent| this.get(agent, "/v1/status/leader").0 == 200)
        });
        if setup.acl {
            let first = this.agents[0].port;
            this.wait("a first token", |this| {
                let (status, _) = this.call_port(first, "GET", "/v1/nodes", None);
                status == 403
            });
            let (_, made) = this.call_port(first, "PUT", "/v1/acl/bootstrap", Some(&json!({})));
            this.token = made["SecretID"].as_str().map(str::to_owned);
            assert!(this.token.is_some(), "{made}");
        }
        this.wait("a client that is ready", |this| {
            let (_, nodes) = this.get(&this.agents[0], "/v1/nodes");
            nodes[0]["Status"] == "ready"
        });
        this
    }

    fn configure(&self, number: usize) {
        let agent = &self.agents[number];
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let peers: Vec<String> = self
            .agents
            .iter()
            .filter(|peer| peer.name != agent.name)
            .map(|peer| format!("127.0.0.1:{}", peer.serf))
            .collect();
        let servers: Vec<String> = self
            .agents
            .iter()
            .map(|peer| format!("127.0.0.1:{}", peer.rpc))
            .collect();
        std::fs::create_dir_all(&agent.folder).unwrap();
        let config = json!({
            "region": self.region, "acl": {"enabled": self.acl}, "datacenter": "lyon", "name": agent.name,
            "bind_addr": "127.0.0.1", "data_dir": agent.folder.join("data"),
            "advertise": {"http": "127.0.0.1", "rpc": "127.0.0.1", "serf": "127.0.0.1"},
            "ports": {"http": agent.port, "rpc": agent.rpc, "serf": agent.serf},
            "disable_update_check": true,
            "server": {"enabled": true, "bootstrap_expect": self.agents.len(), "raft_protocol": 3,
                "raft_multiplier": 1, "server_join": {"retry_join": peers, "retry_interval": "1s"}},
            "client": {"enabled": number == 0, "network_interface": "lo", "servers": servers,
                "options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean,cni,bridge,vault"}},
            "plugin": [{"raw_exec": [{"config": [{"enabled": true}]}]}],
            "consul": {"auto_advertise": false, "server_auto_join": false, "client_auto_join": false},
            "tls": {"http": true, "rpc": true, "ca_file": at("ca.crt"), "cert_file": at("own.crt"), "key_file": at("own.key"),
                "verify_server_hostname": true, "verify_https_client": true},
        });
        std::fs::write(agent.folder.join("nomad.json"), config.to_string()).unwrap();
    }

    /// Starts or restarts an agent.
    pub fn resume(&mut self, number: usize) {
        let agent = &mut self.agents[number];
        let mut command = Command::new(&self.program);
        command
            .arg("agent")
            .arg("-config")
            .arg(agent.folder.join("nomad.json"))
            .env("NIXCFG_TEST_FOLDER", &agent.folder);
        let log = agent.folder.join("log");
        agent.child = Some(Running::logging(&mut command, &log));
    }

    /// Kills an agent.
    pub fn kill(&mut self, number: usize) {
        drop(self.agents[number].child.take().unwrap());
    }

    /// The agent that leads, by the answer of agent `number`.
    pub fn leader(&self, number: usize) -> Option<usize> {
        let (_, leader) = self.get(&self.agents[number], "/v1/status/leader");
        let leader = leader.as_str()?;
        self.agents
            .iter()
            .position(|agent| leader.ends_with(&format!(":{}", agent.rpc)))
    }

    /// Asks the first agent, as the operator.
    pub fn ask(&self, path: &str) -> Value {
        self.get(&self.agents[0], path).1
    }

    /// Sends a request to an agent. Returns the status, and the body as JSON or as a string.
    pub fn get(&self, agent: &Agent, path: &str) -> (u16, Value) {
        self.call(agent, "GET", path, None)
    }

    /// Sends a request with a method and a body.
    pub fn call(
        &self,
        agent: &Agent,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        self.call_port(agent.port, method, path, body)
    }

    /// Sends a request to a server of the cluster on any port.
    pub fn call_port(
        &self,
        port: u16,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let at = |name: &str| self.folder.path().join(name);
        let server = format!("server.{}.nomad", self.region);
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--max-time", "60", "--request", method])
            .args(["--write-out", "\n%{http_code}", "--cacert"])
            .arg(at("ca.crt"))
            .arg("--cert")
            .arg(at("operator.crt"))
            .arg("--key")
            .arg(at("operator.key"))
            .args(["--resolve", &format!("{server}:{port}:127.0.0.1")]);
        if let Some(token) = &self.token {
            command.args(["--header", &format!("X-Nomad-Token: {token}")]);
        }
        if let Some(body) = body {
            command.args(["--data", &body.to_string()]);
        }
        command.arg(format!("https://{server}:{port}{path}"));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        let value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        (status.parse().unwrap(), value)
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            if holds(self) {
                return;
            }
            let ended = |agent: &mut Agent| agent.child.as_mut().is_some_and(Running::ended);
            if self.agents.iter_mut().any(ended) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        for agent in &self.agents {
            let log = std::fs::read_to_string(agent.folder.join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!(
                "{}:\n{}",
                agent.name,
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        panic!("there is never {what}");
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            drop(agent.child.take());
            end_tasks(&agent.folder);
            unmount(&agent.folder);
        }
    }
}

/// Kills an agent's tasks and their helpers. Their environment names the agent's folder.
fn end_tasks(folder: &Path) {
    let name = folder.display().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(&name)
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Unmounts what allocations mounted.
fn unmount(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let name = folder.display().to_string();
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if place.starts_with(&name) {
            let _ = Command::new("umount").arg("--lazy").arg(place).status();
        }
    }
}
