//! The lab's nodes, as tests see and change them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::{NODES, genuine, nixpkgs, root};

/// The lab of the tests: three nodes, used by one test at a time.
pub struct Lab {
    env: BTreeMap<String, String>,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());
/// The output of `lab env`; the first use starts the lab.
pub(super) static UP: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
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

/// Runs `checks/lab/lab` and returns its output. A failure of the lab fails the test.
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
    /// The running lab, for this test alone.
    pub fn get() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            env: UP.clone(),
            _alone: alone,
        }
    }

    /// The lab with every node reset to its bare disk.
    pub fn bare() -> Self {
        Self::with_bare(&NODES)
    }

    /// Starts more nodes, with bare disks.
    pub fn add(&self, nodes: &[&str]) {
        lab(&["up", "--nodes", &nodes.join(",")]);
        self.reset(nodes);
    }

    /// Gives nodes their bare disks.
    pub fn reset(&self, nodes: &[&str]) {
        lab(&[&["reset"], nodes].concat());
    }

    /// The lab with some nodes reset to their bare disks, and the others as the last test left them: a
    /// test of one node need not wait for three.
    pub fn with_bare(nodes: &[&str]) -> Self {
        let this = Self::get();
        this.reset(nodes);
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

    /// Runs a shell command as root inside a node, without sshd.
    pub fn root(&self, node: &str, script: &str) -> String {
        lab(&["root", node, "sh", "-c", script])
            .trim_end()
            .to_owned()
    }

    /// Copies the content of a folder of this machine to a folder of a node.
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

    /// Puts the lab's Consul on a node, and returns its path there.
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
        assert!(
            program.status.success(),
            "{}",
            String::from_utf8_lossy(&program.stderr)
        );
        let program = String::from_utf8(program.stdout).unwrap();
        let program = fs::read(program.trim()).unwrap();
        self.put(node, path, "755", &program);
        path.to_owned()
    }

    /// Copies the closure of a store path to a node.
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

    /// The address of a node, by its index in [`NODES`].
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

    /// Waits up to two minutes until a shell condition holds inside a node.
    #[track_caller]
    pub fn until(&self, node: &str, condition: &str) {
        let answer = self.root(
            node,
            &format!("i=0; while [ $i -lt 600 ]; do if {condition} >/dev/null 2>&1; then echo yes; exit; fi; sleep 0.2; i=$((i + 1)); done; ({condition}) 2>&1 | tail -n 20"),
        );
        // The condition's own last output.
        assert_eq!(answer, "yes", "{node} never came to: {condition}");
    }

    /// Asserts that a change left nothing on a node: no record, GC root, lease, timer or lock.
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

    /// The node's boot ID, which is new after each start.
    pub fn boot_id(&self, node: &str) -> String {
        self.root(node, "cat /proc/sys/kernel/random/boot_id")
    }

    /// Causes a fault on a node.
    pub fn fault(&self, node: &str, fault: &[&str]) {
        let mut args = vec!["fault", node];
        args.extend(fault);
        lab(&args);
    }

    /// The system that a node runs, the one it boots, and the number of its generations.
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

    /// The number of logins that a node's sshd has accepted.
    pub fn logins(&self, node: &str) -> usize {
        let count = self.root(
            node,
            "journalctl --sync; journalctl -o cat --no-pager | grep -c 'Accepted publickey' || true",
        );
        count.parse().unwrap()
    }
}
