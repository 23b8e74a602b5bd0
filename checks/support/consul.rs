//! A real Consul on this machine: a single server.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::certificates::Pair;
use super::cluster::{Cluster, Running};
use super::pass::run;
use super::{free_ports, root};

/// Whether `CONSUL` names a program. That one knows all settings of the project; without it tests run
/// 1.8.7, with its older names of settings.
pub fn given() -> bool {
    std::env::var_os("CONSUL").is_some_and(|path| !path.is_empty())
}

/// The program that `CONSUL` names, or 1.8.7.
pub fn program() -> PathBuf {
    let script = root().join("checks/lab/consul");
    run(&mut Command::new(script)).trim().into()
}

/// A running server, which ends when dropped.
pub struct Consul {
    pub port: u16,
    child: Running,
    dir: tempfile::TempDir,
}

impl Consul {
    /// Starts a server with the cluster's certificates, and waits until it leads. `more` are JSON fields
    /// of its configuration.
    pub fn start(cluster: &Cluster, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let Pair { certificate, key } = cluster.server("consul");
        file("ca.crt", &cluster.consul.pem());
        file("own.crt", &certificate);
        file("own.key", &key);
        let ports = free_ports::<4>();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let [ca, certificate, key] = ["ca.crt", "own.crt", "own.key"].map(at);
        let files = format!(
            r#""ca_file": "{ca}", "cert_file": "{certificate}", "key_file": "{key}", "verify_incoming": true, "verify_outgoing": true"#
        );
        // Servers since 1.14 listen on the port 8503 for gRPC.
        let (tls, grpc) = if given() {
            let tls = format!(r#""tls": {{"defaults": {{{files}}}}}"#);
            (tls, r#""grpc_tls": -1, "#)
        } else {
            (files, "")
        };
        let config = format!(
            r#"{{{more} "datacenter": "prod", "node_name": "alder", "server": true, "bootstrap_expect": 1,
            "data_dir": "{}", "bind_addr": "127.0.0.1", "addresses": {{"https": "127.0.0.1"}},
            "ports": {{{grpc}"http": -1, "https": {}, "dns": -1, "grpc": -1, "server": {}, "serf_lan": {}, "serf_wan": -1}}, {tls}}}"#,
            at("data"),
            ports[0],
            ports[1],
            ports[2],
        );
        file("config.json", &config);
        let mut command = Command::new(program());
        command.args(["agent", "-config-file"]);
        command.arg(dir.path().join("config.json"));
        let child = Running::logging(&mut command, &dir.path().join("log"));
        let mut this = Self {
            port: ports[0],
            child,
            dir,
        };
        this.wait();
        this
    }

    fn wait(&mut self) {
        let mut log = String::new();
        for _ in 0..600 {
            log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            if log.contains("cluster leadership acquired") {
                return;
            }
            assert!(!self.child.ended(), "{log}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("Consul has no leader:\n{log}");
    }

    /// The value of a key below `secrets/`, read by curl as the operator.
    pub fn value(&self, cluster: &Cluster, key: &str) -> Option<String> {
        let path = format!("/v1/kv/secrets/{key}?raw");
        let (status, said) = self.ask(cluster, None, "GET", &path, None);
        (status == 200).then_some(said)
    }

    /// Sends a request as the operator, with a token or without. Returns the status, and the body as JSON
    /// or as a string.
    pub fn call(
        &self,
        cluster: &Cluster,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let (status, said) = self.ask(cluster, token, method, path, body);
        (
            status,
            serde_json::from_str(&said).unwrap_or(Value::String(said)),
        )
    }

    fn ask(
        &self,
        cluster: &Cluster,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, String) {
        let operator = cluster
            .consul
            .operator("cli.prod.consul", super::certificates::Flaw::None);
        let file = |name: &str, text: &str| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--request", method])
            .args(["--write-out", "\n%{http_code}", "--cacert"])
            .arg(self.dir.path().join("ca.crt"))
            .arg("--cert")
            .arg(file("operator.crt", &operator.certificate))
            .arg("--key")
            .arg(file("operator.key", &operator.key))
            .arg("--resolve")
            .arg(format!("server.prod.consul:{}:127.0.0.1", self.port));
        if let Some(token) = token {
            command.args(["--header", &format!("X-Consul-Token: {token}")]);
        }
        if let Some(body) = body {
            command.args(["--data", &body.to_string()]);
        }
        command.arg(format!("https://server.prod.consul:{}{path}", self.port));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}
