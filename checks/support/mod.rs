//! What the behaviour tests share: the lab's real nodes, scratch copies of
//! this repository, and runs of the tool against both.
//!
//! A test binary uses a part of it only.
#![allow(dead_code)]

mod kind;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

pub use kind::*;

/// Password of the lab's alice on every node.
pub const PASSWORD: &str = "wonderland";
/// The nodes of `cluster/prod`.
pub const NODES: [&str; 3] = ["alder", "birch", "cedar"];

/// The root of the checkout under test.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Starts a program with something to read on its standard input; it may end before it reads that.
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

/// The lab of the tests: three nodes, used by one test at a time.
pub struct Lab {
    env: BTreeMap<String, String>,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());
static UP: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    lab(&["up"]);
    let env = lab(&["env"]);
    env.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
});

fn lab_command(args: &[&str]) -> Command {
    let mut command = Command::new(root().join("checks/lab/lab"));
    let name = std::env::var("LAB").unwrap_or_else(|_| "tests".into());
    command.args(args).env("LAB", name);
    command
}

/// Runs `checks/lab/lab` and gives what it prints; a failure of the lab fails the test.
fn lab(args: &[&str]) -> String {
    let output = lab_command(args).stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "the lab failed ({args:?}); it needs root and a Debian machine:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Lab {
    /// The lab, up, for this test alone.
    pub fn get() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            env: UP.clone(),
            _alone: alone,
        }
    }

    /// The lab with every node back on its bare disk.
    pub fn bare() -> Self {
        Self::with_bare(&NODES)
    }

    /// The lab with some nodes back on their bare disks, the others as the last test left them: a test that uses one node
    /// need not wait for three.
    pub fn with_bare(nodes: &[&str]) -> Self {
        let this = Self::get();
        lab(&[&["reset"], nodes].concat());
        this
    }

    /// The lab's `ssh_config`.
    pub fn ssh_config(&self) -> &Path {
        Path::new(&self.env["LAB_SSH_CONFIG"])
    }

    /// The lab's `known_hosts`.
    pub fn known_hosts(&self) -> &Path {
        Path::new(&self.env["LAB_KNOWN_HOSTS"])
    }

    /// The lab's number: this machine is 10.77.<number>.1 to its nodes.
    pub fn number(&self) -> &str {
        &self.env["LAB_NUMBER"]
    }

    /// Runs a shell command as root inside a node, not through sshd.
    pub fn root(&self, node: &str, script: &str) -> String {
        lab(&["root", node, "sh", "-c", script])
            .trim_end()
            .to_owned()
    }

    /// Copies what is in a folder of this machine to a folder of a node.
    pub fn copy(&self, node: &str, from: &Path, to: &str) {
        let mut packed = Command::new("tar")
            .arg("-C")
            .arg(from)
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let unpack = "mkdir -p \"$0\" && tar -x -C \"$0\"";
        let status = lab_command(&["root", node, "sh", "-c", unpack, to])
            .stdin(packed.stdout.take().unwrap())
            .status()
            .unwrap();
        assert!(packed.wait().unwrap().success() && status.success());
    }

    /// Puts a file into a node.
    pub fn put(&self, node: &str, path: &str, mode: &str, content: &[u8]) {
        let script = format!("mkdir -p \"${{1%/*}}\" && cat >\"$1\" && chmod {mode} \"$1\"");
        let mut child = lab_command(&["root", node, "sh", "-c", &script, "put", path])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        assert!(child.wait().unwrap().success(), "{path} on {node}");
    }

    /// Puts the lab's Consul on a node; gives its path there.
    pub fn put_consul(&self, node: &str) -> String {
        let path = "/usr/local/bin/consul";
        if genuine() {
            let of = format!("{}#consul", nixpkgs());
            let built = lab(&["nix", "build", "--no-link", "--json", &of]);
            let built: serde_json::Value = serde_json::from_str(&built).unwrap();
            let package = built[0]["outputs"]["out"].as_str().unwrap();
            self.import(node, package);
            return format!("{package}/bin/consul");
        }
        let program = Command::new(root().join("checks/lab/consul"))
            .output()
            .unwrap();
        let program = String::from_utf8(program.stdout).unwrap();
        let program = fs::read(program.trim()).unwrap();
        self.put(node, path, "755", &program);
        path.to_owned()
    }

    /// Copies a store path and what it needs to a node.
    fn import(&self, node: &str, path: &str) {
        let wanted = Command::new("nix-store")
            .args(["--query", "--requisites", path])
            .output()
            .unwrap();
        let wanted = String::from_utf8(wanted.stdout).unwrap();
        let mut packed = Command::new("nix-store")
            .arg("--export")
            .args(wanted.lines())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let status = lab_command(&["root", node, "nix-store", "--import"])
            .stdin(packed.stdout.take().unwrap())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(packed.wait().unwrap().success() && status.success());
    }

    /// The address of a node, by its place among [`NODES`].
    pub fn address(&self, place: usize) -> String {
        format!("10.77.{}.{}", self.number(), 11 + place)
    }

    /// Whether a shell condition holds inside a node.
    pub fn holds(&self, node: &str, condition: &str) -> bool {
        let mut command = lab_command(&["root", node, "sh", "-c", condition]);
        command
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .status
            .success()
    }

    /// Waits, for two minutes, until a shell condition holds inside a node.
    #[track_caller]
    pub fn until(&self, node: &str, condition: &str) {
        let answer = self.root(
            node,
            &format!("i=0; while [ $i -lt 600 ]; do if {condition} >/dev/null 2>&1; then echo yes; exit; fi; sleep 0.2; i=$((i + 1)); done; echo no"),
        );
        assert_eq!(answer, "yes", "{node} never came to: {condition}");
    }

    /// Nothing of a change is left on a node: no record, root of the store, lease, timer or lock.
    #[track_caller]
    pub fn at_rest(&self, node: &str) {
        let left = self.root(
            node,
            "ls -d /var/lib/nixcfg/drained /var/lib/nixcfg/rollback/pending /etc/systemd/system.control \
                /nix/var/nix/gcroots/nixcfg-* /run/nixcfg/*.lease 2>/dev/null; \
             systemctl list-units --all --plain --no-legend 'nixcfg-overdue-*' 'nixcfg-confirm-*'; \
             flock --nonblock /run/nixos/switch-to-configuration.lock true || echo locked",
        );
        assert_eq!(left, "", "{node} has something left of a change");
    }

    /// Another one after each start of a node.
    pub fn boot_id(&self, node: &str) -> String {
        self.root(node, "cat /proc/sys/kernel/random/boot_id")
    }

    /// Does something bad to a node.
    pub fn fault(&self, node: &str, fault: &[&str]) {
        let mut args = vec!["fault", node];
        args.extend(fault);
        lab(&args);
    }

    /// What a node runs, boots, and how many generations it has.
    pub fn state(&self, node: &str) -> String {
        self.root(
            node,
            "readlink -f /run/current-system /nix/var/nix/profiles/system; ls /nix/var/nix/profiles | grep -c '^system-'",
        )
    }

    /// [`Lab::state`] of all nodes.
    pub fn states(&self) -> Vec<String> {
        NODES.iter().map(|node| self.state(node)).collect()
    }

    /// How many logins a node's sshd has accepted.
    pub fn logins(&self, node: &str) -> usize {
        let count = self.root(
            node,
            "journalctl --sync; journalctl -o cat --no-pager | grep -c 'Accepted publickey' || true",
        );
        count.parse().unwrap()
    }
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

/// The nixpkgs that stands in, or the one that `NIXPKGS` names; for genuine nodes, the lab's.
pub fn nixpkgs() -> String {
    if genuine() {
        return format!("path:{}", UP["LAB_NIXPKGS"]);
    }
    let folder = std::env::var_os("NIXPKGS")
        .map(PathBuf::from)
        .unwrap_or_else(|| root().join("checks/lab/nixpkgs"));
    format!("path:{}", folder.display())
}

impl Tool {
    /// `nixcfg <operation> prod` for a repository, with the lab's password given.
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
        Self::new(repo, "deploy-nixos")
            .arg("--ssh-config")
            .arg(lab.ssh_config())
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

    /// Gives another password, or none.
    pub fn password(mut self, password: Option<&str>) -> Self {
        self.password = password.map(str::to_owned);
        self
    }

    /// Forgets what earlier runs evaluated.
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
        // The cache has to outlive the command: it is in the system's folder for such things.
        if let Some(cache) = self.cache.take() {
            let _ = cache.keep();
        }
        self.command
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        Ran::from(self.into_command().output().unwrap())
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
    /// Asserts the exit code, showing everything where it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.out, self.err
        );
        self
    }

    /// Asserts that standard error tells something.
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

    /// Asserts that standard output shows something.
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

/// Programs that note each call of them and then are the real ones.
pub struct Counters {
    dir: tempfile::TempDir,
}

impl Counters {
    /// For `programs`, which must be on PATH.
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

    /// PATH with the counting programs first.
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

/// Where a program is.
pub fn which(program: &str) -> PathBuf {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is not on PATH"))
}
