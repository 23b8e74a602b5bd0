//! Agents of Consul or Nomad on loopback, with encrypted gossip.

use std::path::PathBuf;
use std::process::Command;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::certificates::{Flaw, Pair};
use super::cluster::{Cluster, Running};
use super::pass::PassStore;
use super::{agent, consul, free_ports};

struct Agent {
    name: &'static str,
    server: bool,
    api: u16,
    rpc: u16,
    serf: u16,
    child: Option<Running>,
}

/// The agents of a cluster of three nodes, two of which are servers, and its store.
pub struct Gossip {
    cluster: Cluster,
    service: String,
    program: PathBuf,
    agents: Vec<Agent>,
    folder: tempfile::TempDir,
}

impl Gossip {
    /// Starts the agents with a first key, and waits until they know each other.
    pub fn start(service: &str) -> Self {
        let cluster = Cluster::new();
        let spec = |name: &str, nodes: &str| {
            format!(
                r#""{name}-gossip" = {{ generator = "base64"; length = 32; command = [ ]; path = "/var/lib/nixcfg/secrets/{name}-gossip";
                owner = "root"; group = "root"; mode = "0400"; perNode = false; nodes = [ {nodes} ];
                reloadUnits = [ ]; restartUnits = [ ]; }};"#
            )
        };
        cluster.flake(&format!(
            "secrets = {{ {} {} }};",
            spec("consul", r#""alder" "birch" "cedar""#),
            spec("nomad", r#""alder" "cedar""#)
        ));
        cluster.store.begin_history(&cluster.store.root());
        let key = Base64::encode_string(&[7; 32]);
        let entry = format!("example/cluster/prod/secrets/{service}-gossip");
        cluster.store.insert(&entry, &key);
        let folder = tempfile::Builder::new()
            .prefix("nixcfg-gossip-")
            .tempdir_in("/tmp")
            .unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        let Pair { certificate, key } = cluster.server(service);
        let authority = cluster.authority(service);
        let operator = authority.operator(&format!("cli.prod.{service}"), Flaw::None);
        for (name, text) in [
            ("ca.crt", &authority.pem()),
            ("own.crt", &certificate),
            ("own.key", &key),
            ("operator.crt", &operator.certificate),
            ("operator.key", &operator.key),
        ] {
            write(name, text).unwrap();
        }
        let agents = [("alder", true), ("birch", false), ("cedar", true)];
        let agents = agents
            .into_iter()
            .filter(|(_, server)| *server || service == "consul")
            .map(|(name, server)| {
                let [api, rpc, serf] = free_ports();
                Agent {
                    name,
                    server,
                    api,
                    rpc,
                    serf,
                    child: None,
                }
            })
            .collect();
        let mut this = Self {
            program: match service {
                "nomad" => agent::program().unwrap(),
                _ => consul::program(),
            },
            cluster,
            service: service.to_owned(),
            agents,
            folder,
        };
        for name in ["alder", "birch", "cedar"] {
            this.run(name);
        }
        this.all_alive();
        this
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts an agent with the store's key, as a node's unit does.
    fn run(&mut self, name: &str) {
        let Some(place) = self.agents.iter().position(|agent| agent.name == name) else {
            return;
        };
        let at = |file: &str| self.folder.path().join(file).display().to_string();
        let agent = &self.agents[place];
        let join: Vec<String> = self
            .agents
            .iter()
            .filter(|other| other.name != name)
            .map(|other| format!("127.0.0.1:{}", other.serf))
            .collect();
        let (ca, certificate, own) = (at("ca.crt"), at("own.crt"), at("own.key"));
        let key = self.key();
        let config = match self.service.as_str() {
            "nomad" => json!({
                "region": "prod", "datacenter": "lyon", "name": name, "bind_addr": "127.0.0.1", "data_dir": self.data(name),
                "advertise": {"http": "127.0.0.1", "rpc": "127.0.0.1", "serf": "127.0.0.1"},
                "ports": {"http": agent.api, "rpc": agent.rpc, "serf": agent.serf}, "disable_update_check": true,
                "server": {"enabled": true, "bootstrap_expect": 2, "encrypt": key,
                    "server_join": {"retry_join": join, "retry_interval": "1s"}},
                "consul": {"auto_advertise": false, "server_auto_join": false, "client_auto_join": false},
                "tls": {"http": true, "rpc": true, "ca_file": ca, "cert_file": certificate, "key_file": own,
                    "verify_server_hostname": true, "verify_https_client": true},
            }),
            _ => {
                let mut config = json!({
                    "datacenter": "prod", "node_name": name, "server": agent.server, "data_dir": self.data(name),
                    "bind_addr": "127.0.0.1", "addresses": {"https": "127.0.0.1"}, "encrypt": key,
                    "retry_join": join, "retry_interval": "1s",
                    "ports": {"http": -1, "https": agent.api, "dns": -1, "grpc": -1, "server": agent.rpc,
                        "serf_lan": agent.serf, "serf_wan": -1},
                });
                if agent.server {
                    config["bootstrap_expect"] = json!(2);
                }
                let files = json!({"ca_file": ca, "cert_file": certificate, "key_file": own,
                    "verify_incoming": true, "verify_outgoing": true});
                // 1.8.7 has other names for these.
                if std::env::var_os("CONSUL").is_some_and(|path| !path.is_empty()) {
                    config["tls"] = json!({"defaults": files});
                    config["ports"]["grpc_tls"] = json!(-1);
                } else {
                    config
                        .as_object_mut()
                        .unwrap()
                        .extend(files.as_object().unwrap().clone())
                }
                config
            }
        };
        let file = self.folder.path().join(format!("{name}.json"));
        std::fs::write(&file, config.to_string()).unwrap();
        let log = self.folder.path().join(format!("{name}.log"));
        let argument = match self.service.as_str() {
            "nomad" => "-config",
            _ => "-config-file",
        };
        let mut command = Command::new(&self.program);
        command.args(["agent", argument]).arg(file);
        self.agents[place].child = Some(Running::logging(&mut command, &log));
    }

    /// Kills an agent, and waits until the others have noticed.
    pub fn kill(&mut self, name: &str) {
        let agent = self.agents.iter_mut().find(|agent| agent.name == name);
        drop(agent.unwrap().child.take().unwrap());
        self.until(|this| {
            this.alive("alder")
                .is_some_and(|alive| !alive.contains(&name.to_owned()))
        });
    }

    /// Kills an agent and starts it again, with or without its data.
    pub fn restart(&mut self, name: &str, forgets: bool) {
        if self
            .agents
            .iter()
            .any(|agent| agent.name == name && agent.child.is_some())
        {
            self.kill(name);
        }
        let ring = self.data(name).join(self.ring());
        if forgets {
            std::fs::remove_file(ring).unwrap();
        }
        self.run(name);
    }

    /// Waits until every agent sees every other alive.
    pub fn all_alive(&mut self) {
        let names: Vec<String> = self
            .agents
            .iter()
            .map(|agent| agent.name.to_owned())
            .collect();
        self.until(|this| {
            let each = this.agents.iter().map(|agent| this.alive(agent.name));
            each.into_iter().all(|alive| alive.as_ref() == Some(&names))
        });
    }

    fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            if holds(self) {
                return;
            }
            for agent in &mut self.agents {
                let ended = agent.child.as_mut().is_some_and(Running::ended);
                assert!(!ended, "{}", self.log());
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        panic!("{}", self.log());
    }

    fn log(&self) -> String {
        let file = |agent: &Agent| self.folder.path().join(format!("{}.log", agent.name));
        let logs = self
            .agents
            .iter()
            .map(|agent| std::fs::read_to_string(file(agent)).unwrap_or_default());
        logs.map(|log| log[log.len().saturating_sub(3000)..].to_owned())
            .collect()
    }

    /// The agents that an agent sees alive, including itself; none if it does not answer.
    fn alive(&self, name: &str) -> Option<Vec<String>> {
        let told = self.call(name, "GET", "/v1/agent/members", "")?;
        let told: Value = serde_json::from_str(&told).ok()?;
        let members = match self.service.as_str() {
            "nomad" => told["Members"].as_array()?.clone(),
            _ => told.as_array()?.clone(),
        };
        let alive = members
            .iter()
            .filter(|member| member["Status"] == 1 || member["Status"] == "alive");
        let mut names: Vec<String> = alive
            .map(|member| {
                member["Name"]
                    .as_str()
                    .unwrap()
                    .split('.')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        Some(names)
    }

    /// Sends a request to Consul's keyring, as an operator would by hand.
    pub fn ask(&self, method: &str, body: &str) {
        self.call("alder", method, "/v1/operator/keyring", body)
            .unwrap();
    }

    fn call(&self, name: &str, method: &str, path: &str, body: &str) -> Option<String> {
        let agent = self.agents.iter().find(|agent| agent.name == name)?;
        let server = format!("server.prod.{}:{}", self.service, agent.api);
        let at = |file: &str| self.folder.path().join(file);
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--request", method, "--data", body])
            .arg("--cacert")
            .arg(at("ca.crt"))
            .arg("--cert")
            .arg(at("operator.crt"))
            .arg("--key")
            .arg(at("operator.key"))
            .args(["--resolve", &format!("{server}:127.0.0.1")])
            .arg(format!("https://{server}{path}"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(text)
    }

    /// Builds `nixcfg rotate-gossip` for the first server's port.
    pub fn command(&self) -> Command {
        let port = self.agents[0].api;
        let ports = match self.service.as_str() {
            "nomad" => format!("--no-ssh={port}:1"),
            _ => format!("--no-ssh=1:{port}"),
        };
        self.cluster
            .nixcfg(&["rotate-gossip", "prod", "--app", &self.service, &ports])
    }

    fn ring(&self) -> &'static str {
        match self.service.as_str() {
            "nomad" => "server/serf.keyring",
            _ => "serf/local.keyring",
        }
    }

    /// The keys on each agent's disk, the one in use first.
    pub fn keyrings(&self) -> Vec<(&'static str, Vec<String>)> {
        let read = |agent: &Agent| {
            let file = self.data(agent.name).join(self.ring());
            let keys = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            (agent.name, keys)
        };
        self.agents.iter().map(read).collect()
    }

    /// The store's key.
    pub fn key(&self) -> String {
        let entry = format!("example/cluster/prod/secrets/{}-gossip", self.service);
        self.store().pass(&["show", &entry]).trim().to_owned()
    }

    /// The store's entries of secrets.
    pub fn entries(&self) -> Vec<String> {
        let folder = self.store().root().join("example/cluster/prod/secrets");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_end_matches(".gpg").to_owned())
            .collect();
        names.sort();
        names
    }

    /// The password store.
    pub fn store(&self) -> &PassStore {
        &self.cluster.store
    }
}
