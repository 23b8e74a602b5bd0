//! `upgrade-nixos` with a Git repository in place of nixpkgs: it shows, asks about and deploys another
//! revision. Without a deployment the lock file stays as it was.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::terminal::converse;
use crate::support::{self, Kept, Lab, NIX_CONFIG, PASSWORD, Ran, Repo, genuine};

/// The question on a terminal.
const ASKS: &str = "deploy this? [y/N] ";

/// A branch of nixpkgs, and a cluster locked to its first revision.
struct Upgrade {
    lab: Lab,
    repo: Repo,
    nixpkgs: tempfile::TempDir,
    first: String,
}

fn git(folder: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(identity)
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Gives the systems of NixOS nodes, which are containers, a kernel that nothing starts.
fn have_kernel(nixpkgs: &Path) {
    let flake = nixpkgs.join("flake.nix");
    let text = fs::read_to_string(&flake).unwrap();
    assert!(text.contains("[ ./profile.nix ]"));
    let text = text.replace("[ ./profile.nix ]", "[ ./profile.nix ./kernel.nix ]");
    fs::write(flake, text).unwrap();
    let module = r#"{ pkgs, ... }: { system.extraSystemBuilderCmds = "ln -s ${pkgs.writeTextFile { name = "linux-6.18.1"; destination = "/bzImage"; text = ""; }}/bzImage $out/kernel"; }"#;
    fs::write(nixpkgs.join("kernel.nix"), module).unwrap();
}

impl Upgrade {
    fn start() -> Self {
        let (lab, repo) = (Lab::with_bare(&["alder"]), Repo::new());
        let nixpkgs = tempfile::tempdir().unwrap();
        let from = support::nixpkgs();
        let copied = Command::new("cp")
            .args(["-r", "--no-preserve=mode"])
            .arg(format!("{}/.", from.strip_prefix("path:").unwrap()))
            .arg(nixpkgs.path())
            .status()
            .unwrap();
        assert!(copied.success());
        if genuine() {
            have_kernel(nixpkgs.path());
        }
        git(nixpkgs.path(), &["init", "-q", "-b", "stable"]);
        git(nixpkgs.path(), &["add", "-A"]);
        git(nixpkgs.path(), &["commit", "-q", "-m", "first"]);
        let first = git(nixpkgs.path(), &["rev-parse", "HEAD"]);
        let url = format!("git+file://{}?ref=stable", nixpkgs.path().display());
        repo.replace("flake.nix", "github:NixOS/nixpkgs/nixos-26.05", &url);
        let this = Self {
            lab,
            repo,
            nixpkgs,
            first,
        };
        fs::remove_file(this.lock_file()).unwrap();
        let locked = Command::new("nix")
            .args(["flake", "lock"])
            .current_dir(this.repo.path())
            .env("NIX_CONFIG", NIX_CONFIG)
            .output()
            .unwrap();
        assert!(locked.status.success(), "{locked:?}");
        git(this.repo.path(), &["add", "-A"]);
        this
    }

    /// A newer revision, with another kernel.
    fn second(&self) -> String {
        let file = if genuine() {
            "kernel.nix"
        } else {
            "pkgs/kernels.nix"
        };
        let file = self.nixpkgs.path().join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("6.18.1"));
        fs::write(&file, text.replace("6.18.1", "6.18.2")).unwrap();
        git(self.nixpkgs.path(), &["commit", "-qam", "second"]);
        git(self.nixpkgs.path(), &["rev-parse", "HEAD"])
    }

    fn lock_file(&self) -> std::path::PathBuf {
        self.repo.path().join("flake.lock")
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.lock_file()).unwrap()
    }

    fn command(&self, operation: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nixcfg"));
        command
            .args([operation, "prod", "alder", "--ssh-config"])
            .arg(self.lab.ssh_config())
            .args(args)
            .current_dir(self.repo.path())
            .env("NIX_CONFIG", NIX_CONFIG)
            .env("SUDO_PASS", PASSWORD)
            .env_remove("SSH_USER")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, operation: &str, args: &[&str]) -> Ran {
        self.command(operation, args).output().unwrap().into()
    }

    /// Asserts that an upgrade left nothing beside the lock file.
    fn at_rest(&self, lock: &str) {
        assert_eq!(self.lock(), lock);
        assert!(!self.repo.path().join(".flake.lock.upgrade").exists());
    }
}

#[test]
fn an_upgrade_is_shown_and_deployed_and_an_unwanted_one_leaves_the_lock_as_it_was() {
    let it = Upgrade::start();
    let quiet = |what: &str| {
        format!(
            r#"{{ systemd.services.quiet = {{ wantedBy = [ "multi-user.target" ]; script = "sleep infinity # {what}"; }}; }}"#
        )
    };
    it.repo.configure("alder", &quiet("one"));
    it.run("deploy-nixos", &[]).exits(0);
    it.lab.fault("alder", &["reboot"]);
    let (before, second) = (it.lock(), it.second());
    // Without a terminal nobody can confirm.
    it.run("upgrade-nixos", &[])
        .exits(2)
        .tells("no terminal to ask on");
    it.at_rest(&before);
    let said = converse(&it.command("upgrade-nixos", &[]), &[(ASKS, "n\n")]);
    assert_eq!((said.code, said.echoes), (130, true), "{}", said.shown);
    assert!(said.shown.contains("not agreed to; nothing was changed"));
    it.at_rest(&before);
    it.run("upgrade-nixos", &["--plan"])
        .exits(0)
        .shows("linux: 6.18.1 → 6.18.2")
        .shows("needs a reboot for its kernel");
    it.at_rest(&before);
    // A failed evaluation, build or login changes nothing either.
    it.run("upgrade-nixos", &["--yes", "--to", &"0".repeat(40)])
        .exits(4)
        .tells("cannot be had");
    it.at_rest(&before);
    it.repo
        .configure("alder", "{ services.opensssh.enable = true; }");
    it.run("upgrade-nixos", &["--yes"]).exits(4);
    it.at_rest(&before);
    it.repo.configure(
        "alder",
        r#"{ systemd.services.broken = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "exit 3"; }; }"#,
    );
    it.run("upgrade-nixos", &["--yes"])
        .exits(5)
        .shows("rolled back");
    it.at_rest(&before);
    // The same revision raises no question.
    it.repo.configure("alder", &quiet("two"));
    it.run("upgrade-nixos", &["--yes", "--reboot"])
        .exits(0)
        .shows("start: quiet.service")
        .shows_of("alder", "restarted with it");
    assert!(it.lock().contains(&second));
    assert!(it.lock().contains(r#""ref": "stable""#));
    let after = it.lock();
    it.at_rest(&after);
    let journal = it.lab.root(
        "alder",
        "journalctl --sync; journalctl -t nixcfg -o cat | tail -n 1",
    );
    assert!(journal.starts_with("upgrade-nixos: who="), "{journal}");
    it.run("deploy-nixos", &[]).exits(0).shows("unchanged");
    it.run("upgrade-nixos", &["--yes", "--no-update"])
        .exits(0)
        .shows("unchanged");
    it.at_rest(&after);
    // Back to a revision by its name; the lock keeps the reference of flake.nix.
    let back = it.command("upgrade-nixos", &["--to", &it.first]);
    let said = converse(&back, &[(ASKS, "y\n")]);
    assert_eq!(said.code, 0, "{}", said.shown);
    assert!(said.shown.contains("linux: 6.18.2 → 6.18.1"));
    assert!(it.lock().contains(&it.first));
    assert!(it.lock().contains(r#""ref": "stable""#));
}

#[test]
fn a_stopped_run_puts_the_lock_back_and_a_killed_one_has_the_next_do_it() {
    let it = Upgrade::start();
    it.run("deploy-nixos", &[]).exits(0);
    let before = it.lock();
    it.second();
    // A build that hangs.
    it.repo.configure(
        "alder",
        r#"{ pkgs, ... }: { environment.etc.slow.source = pkgs.runCommand "slow" { } "sleep 300"; }"#,
    );
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        let mut command = it.command("upgrade-nixos", &["--yes"]);
        let mut child = Kept::start(&mut command);
        let began = Instant::now();
        while it.lock() == before {
            assert!(began.elapsed() < Duration::from_secs(60), "no lock written");
            std::thread::sleep(Duration::from_millis(50));
        }
        it.run("upgrade-nixos", &["--yes"])
            .exits(2)
            .tells("another upgrade-nixos is at work");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        let ran = child.wait().unwrap();
        if signal == rustix::process::Signal::INT {
            assert_eq!(ran.code(), Some(130));
            it.at_rest(&before);
        } else {
            assert_ne!(it.lock(), before);
        }
    }
    it.repo.configure("alder", "{ }");
    it.run("upgrade-nixos", &["--plan", "--no-update"])
        .tells("killed before it deployed: flake.lock is as it was before it");
    it.at_rest(&before);
}
