//! The entries about a node, whose commands a shell runs as the page has them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::PLAIN;
use crate::support::keys::Agent;
use crate::support::pass::PassStore;
use crate::support::{self, Lab, Ran, Repo, fed, which};

/// The machine of an administrator: a checkout whose own `ssh_config` reaches the lab's nodes, a store,
/// and a `nix` that runs the program under test for `nix run .#OPERATION`.
struct Desk {
    lab: Lab,
    repo: Repo,
    store: PassStore,
    agent: Agent,
    programs: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let (lab, repo) = (Lab::bare(), Repo::with(PLAIN));
        lab.add(&["dogwood"]);
        let programs = tempfile::tempdir().unwrap();
        let nix = programs.path().join("nix");
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = run ] || exec {} \"$@\"\noperation=${{2#.#}}\nshift 3\n[ $operation = add-node ] || set -- --override-input nixpkgs '{}' \"$@\"\nexec {} \"$operation\" \"$@\"\n",
            which("nix").display(),
            support::nixpkgs(),
            env!("CARGO_BIN_EXE_nixcfg"),
        );
        fs::write(&nix, text).unwrap();
        fs::set_permissions(&nix, fs::Permissions::from_mode(0o755)).unwrap();
        let this = Self {
            store: PassStore::plain(),
            agent: Agent::start(&lab),
            lab,
            repo,
            programs,
        };
        let config = fs::read_to_string(this.lab.ssh_config()).unwrap();
        let known = this.lab.known_hosts().to_str().unwrap();
        let config = config.replace(known, "./cluster/prod/known_hosts");
        let without = |text: &str, node: &str| {
            let lines = text.lines().filter(|line| !line.contains(node));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        // The new node is none of the cluster's yet.
        let own = without(&config, "dogwood");
        let own = without(&own, &this.address("dogwood"));
        this.repo.write("cluster/prod/ssh_config", &own);
        let known = fs::read_to_string(known).unwrap();
        let known = without(&known, &this.address("dogwood"));
        this.repo.write("cluster/prod/known_hosts", &known);
        this
    }

    /// The address at which a node of the lab is reached.
    fn address(&self, node: &str) -> String {
        let config = fs::read_to_string(self.lab.ssh_config()).unwrap();
        let (_, of) = config.split_once(&format!("Host {node}\n")).unwrap();
        let (_, of) = of.split_once("HostName ").unwrap();
        of.lines().next().unwrap().to_owned()
    }

    /// Runs a line of the page, in which `changes` are made, with `input`.
    fn run(&self, line: &str, changes: &[(&str, &str)], input: &str) -> Ran {
        let line = changes
            .iter()
            .fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
        let mut shell = Command::new("bash");
        self.store.in_env(&mut shell);
        shell
            .args(["-euo", "pipefail", "-c", &line])
            .current_dir(self.repo.path())
            .env("NIX_CONFIG", support::NIX_CONFIG)
            .env("SSH_USER", "alice")
            .env("SUDO_PASS", support::PASSWORD)
            .env("SSH_AUTH_SOCK", self.agent.socket())
            .env(
                "PATH",
                format!(
                    "{}:{}",
                    self.programs.path().display(),
                    std::env::var("PATH").unwrap()
                ),
            );
        fed(&mut shell, input).wait_with_output().unwrap().into()
    }

    /// Runs the lines of an entry that `wanted` takes, each of which succeeds.
    fn follow(
        &self,
        entry: &str,
        changes: &[(&str, &str)],
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<Ran> {
        let lines = lines(entry);
        let lines: Vec<&String> = lines.iter().filter(|line| wanted(line)).collect();
        assert!(!lines.is_empty(), "{entry}");
        let run = |line: &&String| {
            println!("{line}");
            let ran = self.run(line, changes, "yes\n");
            if line.contains(".#doctor") {
                // The test's store has no Git and no passwords.
                let bad = ran.out.lines().filter(|line| {
                    let bad = line.starts_with("wrong ") || line.starts_with("unseen ");
                    bad && !line.contains(" history: ") && !line.contains(" entries: ")
                });
                let bad: Vec<&str> = bad.collect();
                assert!(ran.out.contains(" checks ") && bad.is_empty(), "{ran:?}");
                ran
            } else {
                ran.exits(0)
            }
        };
        lines.iter().map(run).collect()
    }

    /// Gives a node another name in the files of the nodes and in `ssh_config`.
    fn rename(&self, from: &str, to: &str) {
        let folder = self.repo.path().join("cluster/prod");
        let nodes = fs::read_dir(folder.join("node")).unwrap();
        let nodes = nodes.map(|entry| entry.unwrap().path());
        for file in nodes.chain([folder.join("ssh_config")]) {
            let text = fs::read_to_string(&file).unwrap();
            if text.contains(from) {
                fs::write(&file, text.replace(from, to)).unwrap();
            }
        }
        self.run("git add -A", &[], "").exits(0);
    }
}

impl Drop for Desk {
    /// The lab knows the node by its first host key.
    fn drop(&mut self) {
        self.lab.fault("dogwood", &["join"]);
        self.lab.reset(&["dogwood"]);
    }
}

/// The commands of an entry, each a line of its code.
fn lines(entry: &str) -> Vec<String> {
    let page = fs::read_to_string(support::root().join("doc/runbook.md")).unwrap();
    let (_, after) = page.split_once(&format!("\n## {entry}\n")).unwrap();
    let text = after.split("\n## ").next().unwrap();
    let mut code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        code && !fence
    });
    lines.map(|line| line.trim().to_owned()).collect()
}

/// Without Consul and Nomad in the test's cluster.
fn plain(line: &str) -> bool {
    !line.contains(".#tlsproxy")
}

#[test]
fn a_node_comes_is_lost_and_replaced_gets_another_name_and_goes() {
    let desk = Desk::new();
    // The lab's first systems have another kernel.
    desk.run("nix run .#deploy-nixos -- prod --reboot", &[], "")
        .exits(0);
    let address = desk.address("dogwood");
    let changes = [("192.0.2.14", address.as_str()), ("ADDRESS", &address)];

    desk.follow("A new node", &changes, plain);
    assert_eq!(desk.lab.root("dogwood", "cat /etc/hostname"), "dogwood");
    assert!(
        desk.lab
            .holds("dogwood", "test -s /var/lib/nixcfg/secrets/letters")
    );

    // It is gone; the others are changed without it.
    desk.lab.fault("dogwood", &["cut"]);
    desk.run("nix run .#status -- prod", &[], "")
        .exits(3)
        .tells("dogwood: cannot be reached");
    desk.follow("A node is lost", &changes, plain);
    desk.lab.fault("dogwood", &["join"]);

    // Another machine in its place has another host key, and nothing of the old one's.
    desk.lab.reset(&["dogwood"]);
    let key = "/etc/ssh/ssh_host_ed25519_key";
    desk.lab.root(
        "dogwood",
        &format!(
            "rm -f {key} {key}.pub; ssh-keygen -q -t ed25519 -N '' -f {key}; systemctl restart ssh"
        ),
    );
    desk.run("nix run .#status -- prod dogwood", &[], "")
        .exits(3)
        .tells("host key");
    let console = desk
        .lab
        .root("dogwood", &lines("A node has another host key")[0]);
    let shown = desk.follow("A node has another host key", &changes, |line| {
        !line.starts_with("ssh-keygen -lf")
    });
    let fingerprint = console.split_whitespace().nth(1).unwrap();
    let known = shown.iter().any(|ran| ran.out.contains(fingerprint));
    assert!(known, "{shown:?} {console}");
    desk.follow("A node is replaced by another machine", &changes, plain);
    assert!(
        desk.lab
            .holds("dogwood", "test -s /var/lib/nixcfg/secrets/letters")
    );

    let entry = "A node gets another name";
    desk.follow(entry, &changes, |line| line.starts_with("git mv"));
    desk.rename("dogwood", "elm");
    desk.follow(entry, &changes, |line| {
        plain(line) && !line.starts_with("git mv")
    });
    assert_eq!(desk.lab.root("dogwood", "cat /etc/hostname"), "elm");

    for file in ["node/elm.nix", "hardware/elm.nix"] {
        fs::remove_file(desk.repo.path().join("cluster/prod").join(file)).unwrap();
    }
    let config = fs::read_to_string(desk.repo.path().join("cluster/prod/ssh_config")).unwrap();
    let without = config.replace(&format!("Host elm\n  HostName {address}\n"), "");
    desk.repo.write("cluster/prod/ssh_config", &without);
    let done = desk.follow("A node is removed", &changes, plain);
    assert!(done.iter().all(|ran| !ran.out.contains("elm")), "{done:?}");
}
