//! A cluster without real nodes: a flake that describes it, and a password store with certificates of
//! its operators.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::NIX_CONFIG;
use super::certificates::{Authority, Flaw, Pair};
use super::pass::PassStore;

/// The two services, by their names in files.
pub const SERVICES: [&str; 2] = ["nomad", "consul"];

/// A cluster called `prod`.
pub struct Cluster {
    pub store: PassStore,
    pub nomad: Authority,
    pub consul: Authority,
    /// Nomad's region and Consul's datacenter.
    pub region: String,
}

/// The year, in UTC.
pub fn year() -> i32 {
    time::OffsetDateTime::now_utc().year()
}

impl Cluster {
    /// A cluster with valid certificates in its store.
    pub fn new() -> Self {
        Self::of_region("prod")
    }

    /// A cluster with another region and datacenter than its name.
    pub fn of_region(region: &str) -> Self {
        let this = Self {
            store: PassStore::plain(),
            nomad: Authority::new("Nomad CA"),
            consul: Authority::new("Consul CA"),
            region: region.to_owned(),
        };
        this.flake("");
        for service in SERVICES {
            let authority = this.authority(service);
            this.keep_ca(service, &authority.pem());
            let name = format!("cli.{region}.{service}");
            this.keep_operator(service, year(), &authority.operator(&name, Flaw::None));
        }
        this
    }

    /// The CA of a service.
    pub fn authority(&self, service: &str) -> &Authority {
        match service {
            "nomad" => &self.nomad,
            _ => &self.consul,
        }
    }

    /// The certificate of a server of a service.
    pub fn server(&self, service: &str) -> Pair {
        let name = format!("server.{}.{service}", self.region);
        self.authority(service).server(&name, Flaw::None)
    }

    /// Puts a CA into the store.
    pub fn keep_ca(&self, service: &str, pem: &str) {
        self.store
            .insert(&format!("example/cluster/prod/{service}-ca.crt"), pem);
    }

    /// Puts an operator's certificate into the store.
    pub fn keep_operator(&self, service: &str, year: i32, pair: &Pair) {
        let entry = format!("example/cluster/prod/{service}{year}-client");
        self.store
            .insert(&format!("{entry}.crt"), &pair.certificate);
        self.store.insert(&format!("{entry}.key"), &pair.key);
    }

    /// The folder of the flake.
    pub fn folder(&self) -> PathBuf {
        self.store.scratch().join("repo")
    }

    /// Writes the flake, with `more` in the cluster's data.
    pub fn flake(&self, more: &str) {
        let folder = self.folder();
        std::fs::create_dir_all(&folder).unwrap();
        let of = |name: &str, value: &str| format!("{name} = \"{value}\";");
        let text = include_str!("cluster.nix").replace("# more", more);
        let text = ["region", "datacenter"].iter().fold(text, |text, name| {
            text.replace(&of(name, "prod"), &of(name, &self.region))
        });
        std::fs::write(folder.join("flake.nix"), text).unwrap();
    }

    /// Disables a service of the cluster.
    pub fn without(&self, service: &str) {
        let file = self.folder().join("flake.nix");
        let text = std::fs::read_to_string(&file).unwrap();
        let with = format!("{service} = {{\n        enable = true;");
        assert!(text.contains(&with));
        let without = with.replace("true", "false");
        std::fs::write(file, text.replace(&with, &without)).unwrap();
    }

    /// The tool, run in this cluster's repository with its store.
    pub fn nixcfg(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nixcfg"));
        command
            .args(args)
            .current_dir(self.folder())
            .env("NIX_CONFIG", NIX_CONFIG)
            .env("XDG_CACHE_HOME", self.store.scratch().join("cache"))
            .stdin(Stdio::null());
        for name in [
            "SUDO_PASS",
            "ROOT_PASS",
            "SSH_USER",
            "NOMAD_TOKEN",
            "CONSUL_HTTP_TOKEN",
            "NOMAD_ADDR",
            "CONSUL_HTTP_ADDR",
        ] {
            command.env_remove(name);
        }
        self.store.in_env(&mut command);
        command
    }
}

/// A program that runs until a signal ends it.
pub struct Running(pub Child);

impl Running {
    /// Starts a program that reads nothing and appends what it prints to a file.
    pub fn logging(command: &mut Command, log: &Path) -> Self {
        let mut file = std::fs::OpenOptions::new();
        let log = file.create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null());
        command.stderr(log.try_clone().unwrap()).stdout(log);
        Self(command.spawn().unwrap())
    }

    /// Whether it ended by itself.
    pub fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a file below `folder` contains `text`.
pub fn found_in(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let kind = entry.file_type();
        match kind {
            Ok(kind) if kind.is_dir() => found.extend(found_in(&path, text)),
            Ok(kind) if kind.is_file() => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                if bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
                {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
    found
}
