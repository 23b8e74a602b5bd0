//! Shared by tests: the lab's real nodes, scratch copies of this repository, and runs of the tool
//! against both.

// Without the feature `lab`, the users of some parts are not built.
#![cfg_attr(not(feature = "lab"), allow(dead_code, unused_imports))]

pub mod accounts;
pub mod agent;
pub mod certificates;
pub mod cluster;
pub mod consul;
pub mod endpoint;
pub mod gossip;
pub mod hostile;
mod kept;
pub mod keys;
mod kind;
mod lab;
pub mod memory;
pub mod nomad;
pub mod pass;
pub mod plain;
pub mod stage;
mod systems;
pub mod terminal;
pub mod watch;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub use kept::Kept;
pub use kind::*;
pub use lab::*;
pub use systems::*;

/// The password of the lab's alice on every node.
pub const PASSWORD: &str = "wonderland";
/// The nodes of `cluster/prod`.
pub const NODES: [&str; 3] = ["alder", "birch", "cedar"];

/// The root of the checkout under test.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Starts a program with text on its standard input, which it need not read.
pub fn fed(command: &mut Command, input: &str) -> Child {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child
}

/// A copy of the repository's tracked files, for a test to change.
pub struct Repo {
    dir: tempfile::TempDir,
}

impl Repo {
    /// A copy of the checkout as it is, as a Git repository of its own.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(files.status.success(), "the tests need a Git checkout");
        for name in files
            .stdout
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let name = Path::new(std::str::from_utf8(name).unwrap());
            let (from, to) = (root().join(name), dir.path().join(name));
            if from.is_file() {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(from, to).unwrap();
            }
        }
        let this = Self { dir };
        this.git(&["init", "-q"]);
        this.git(&["add", "-A"]);
        this
    }

    /// A copy whose cluster has these settings instead of WireGuard.
    pub fn with(settings: &str) -> Self {
        let this = Self::new();
        let wireguard = "    wireguard.enable = true;\n";
        this.replace("cluster/prod/cluster.nix", wireguard, settings);
        this
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, args: &[&str]) {
        let status = Command::new("git")
            .args(args)
            .current_dir(self.path())
            .status()
            .unwrap();
        assert!(status.success(), "git {args:?}");
    }

    /// Writes a file and tells Git of it.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
        self.git(&["add", "-A"]);
    }

    /// Adds a module to a node's configuration.
    pub fn configure(&self, node: &str, module: &str) {
        let file = format!("cluster/prod/node/{node}.nix");
        let own = format!("cluster/prod/node/{node}-own.nix.txt");
        if !self.path().join(&own).exists() {
            fs::copy(self.path().join(&file), self.path().join(&own)).unwrap();
        }
        let base = fs::read_to_string(self.path().join(&own)).unwrap();
        self.write(&file, &format!("{{ imports = [ ({base}) ({module}) ]; }}"));
    }

    /// Replaces a text that must be there.
    pub fn replace(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path().join(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        self.write(file, &text.replace(from, to));
    }
}

/// One run of the tool.
pub struct Tool {
    command: Command,
    cache: Option<tempfile::TempDir>,
    password: Option<String>,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Nix's settings for a machine without a cache.
pub const NIX_CONFIG: &str = "experimental-features = nix-command flakes\nsubstituters =\nsandbox = false\nbuild-users-group =\nflake-registry =\n";

/// The reference of nixpkgs: the stand-in or the one that `NIXPKGS` names; for genuine nodes, the
/// lab's.
pub fn nixpkgs() -> String {
    if genuine() {
        return format!("path:{}", lab::UP["LAB_NIXPKGS"]);
    }
    let folder = std::env::var_os("NIXPKGS")
        .map(PathBuf::from)
        .unwrap_or_else(|| root().join("checks/lab/nixpkgs"));
    format!("path:{}", folder.display())
}

impl Tool {
    /// `nixcfg <operation> prod` for a repository, with the lab's password.
    pub fn new(repo: &Repo, operation: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nixcfg"));
        command
            .args([operation, "prod", "--override-input", "nixpkgs", &nixpkgs()])
            .current_dir(repo.path())
            .env("NIX_CONFIG", NIX_CONFIG)
            .env_remove("SSH_USER")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        Self {
            command,
            cache: None,
            password: Some(PASSWORD.into()),
        }
    }

    /// `nixcfg deploy-nixos prod` against the lab.
    pub fn deploy(repo: &Repo, lab: &Lab) -> Self {
        Self::new(repo, "deploy-nixos").on(lab)
    }

    /// Reaches the nodes of the lab.
    pub fn on(self, lab: &Lab) -> Self {
        self.by(lab.ssh_config())
    }

    /// Reaches nodes as this file says.
    pub fn by(self, ssh_config: &Path) -> Self {
        self.arg("--ssh-config").arg(ssh_config)
    }

    /// Uses this store and its keys.
    pub fn store(mut self, store: &pass::PassStore) -> Self {
        store.in_env(&mut self.command);
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets another password, or none.
    pub fn password(mut self, password: Option<&str>) -> Self {
        self.password = password.map(str::to_owned);
        self
    }

    /// Starts with an empty evaluation cache.
    pub fn forgetful(mut self) -> Self {
        let cache = tempfile::tempdir().unwrap();
        self.command.env("XDG_CACHE_HOME", cache.path());
        self.cache = Some(cache);
        self
    }

    /// The command, for a test that starts it itself.
    pub fn into_command(mut self) -> Command {
        match &self.password {
            Some(password) => self.command.env("SUDO_PASS", password),
            None => self.command.env_remove("SUDO_PASS"),
        };
        // The cache has to outlive the command; it stays in the folder for temporary files.
        if let Some(cache) = self.cache.take() {
            let _ = cache.keep();
        }
        self.command
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        Ran::from(self.into_command().output().unwrap())
    }

    /// Runs it to its end, and asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        self.run().exits(code)
    }

    /// Runs it to its end, with text on its standard input.
    pub fn run_with(self, input: &str) -> Ran {
        let child = fed(&mut self.into_command(), input);
        Ran::from(child.wait_with_output().unwrap())
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Asserts the exit code; shows all output if it differs.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.out, self.err
        );
        self
    }

    /// Asserts that standard error contains a text.
    #[track_caller]
    pub fn tells(self, text: &str) -> Self {
        assert!(
            self.err.contains(text),
            "nothing tells {text:?}:\n--- stdout\n{}\n--- stderr\n{}",
            self.out,
            self.err
        );
        self
    }

    /// Asserts that standard output has a line of a node whose text begins with `text`.
    #[track_caller]
    pub fn shows_of(self, node: &str, text: &str) -> Self {
        let mut lines = self.out.lines().filter_map(|line| line.split_once(' '));
        let found = lines.any(|(name, rest)| name == node && rest.trim_start().starts_with(text));
        assert!(
            found,
            "nothing shows {text:?} of {node}:\n--- stdout\n{}\n--- stderr\n{}",
            self.out, self.err
        );
        self
    }

    /// Asserts that standard output contains a text.
    #[track_caller]
    pub fn shows(self, text: &str) -> Self {
        assert!(
            self.out.contains(text),
            "nothing shows {text:?}:\n--- stdout\n{}\n--- stderr\n{}",
            self.out,
            self.err
        );
        self
    }
}

/// Wrappers of programs that log each call and then run the real program.
pub struct Counters {
    dir: tempfile::TempDir,
}

impl Counters {
    /// Wraps `programs`, which must be on PATH.
    pub fn new(programs: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for program in programs {
            let real = which(program);
            let file = dir.path().join(program);
            let log = dir.path().join("calls");
            let text = format!(
                "#!/bin/sh\necho \"{program} $*\" >>{}\nexec {} \"$@\"\n",
                log.display(),
                real.display()
            );
            let mut out = fs::File::create(&file).unwrap();
            out.write_all(text.as_bytes()).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir }
    }

    /// PATH with the wrappers first.
    pub fn path(&self) -> String {
        format!(
            "{}:{}",
            self.dir.path().display(),
            std::env::var("PATH").unwrap()
        )
    }

    /// The calls since the last time, one a line.
    pub fn take(&self) -> Vec<String> {
        let log = self.dir.path().join("calls");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        text.lines().map(str::to_owned).collect()
    }
}

/// Ports of loopback that are free for TCP and UDP.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let mut taken = Vec::new();
    [(); N].map(|()| {
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            // Listening until all are found, so that no port comes twice.
            taken.push(listener);
            if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return port;
            }
        }
    })
}

/// The path of a program.
pub fn which(program: &str) -> PathBuf {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is not on PATH"))
}
