//! Help for the tests of passwords on the lab's nodes: accounts as on a bare disk, logins with
//! passwords, and a chpasswd that waits.

use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

use nixcfg::password::hash::{Hash, Password};
use nixcfg::secret::Secret;

use super::pass::PassStore;
use super::{Lab, NODES, Ran, Repo, Tool, fed};

/// Whether the nodes' disks are bare except for accounts and password files.
static BARE: AtomicBool = AtomicBool::new(false);

/// A lab with the accounts of bare nodes, a repository and a store.
pub struct Accounts {
    pub lab: Lab,
    pub repo: Repo,
    pub store: PassStore,
}

impl Accounts {
    /// Resets every node's accounts and password files to those of a bare disk.
    pub fn bare() -> Self {
        if !BARE.swap(true, Ordering::SeqCst) {
            let lab = Lab::bare();
            for node in NODES {
                lab.root(
                    node,
                    "mkdir /root/bare && cp -a /etc/passwd /etc/shadow /etc/group /root/bare/
                     [ ! -e /etc/gshadow ] || cp -a /etc/gshadow /root/bare/",
                );
            }
        }
        let lab = Lab::get();
        for node in NODES {
            lab.root(
                node,
                "for file in /etc/shadow \"$(readlink -f \"$(command -v chpasswd)\")\"; do
                   while umount \"$file\" 2>/dev/null; do :; done
                 done
                 cp -a /root/bare/* /etc/ && rm -rf /var/lib/nixcfg /run/go /run/held /home/carol",
            );
        }
        Self {
            lab,
            repo: Repo::new(),
            store: PassStore::plain(),
        }
    }

    /// Makes the next test begin with bare disks, as this one changes more than accounts.
    pub fn change_more_than_accounts(&self) {
        BARE.store(false, Ordering::SeqCst);
    }

    /// Puts the hash of a password into the store, with fewer rounds than `passwd` uses.
    pub fn set(&self, user: &str, password: &str) -> String {
        let password = Password::new(Secret::new(password.to_owned())).unwrap();
        let hash = Hash::sha512crypt(&password, 5000)
            .unwrap()
            .expose()
            .to_owned();
        self.put(user, &hash);
        hash
    }

    /// Puts a hash into the store.
    pub fn put(&self, user: &str, hash: &str) {
        self.store.insert(
            &format!("example/cluster/prod/passwd/{user}"),
            &format!("{hash}\n"),
        );
    }

    /// Builds `deploy-passwords prod` with a sudo password and arguments.
    pub fn command(&self, current: &str, args: &[&str]) -> Command {
        Tool::new(&self.repo, "deploy-passwords")
            .on(&self.lab)
            .args(args)
            .password(Some(current))
            .store(&self.store)
            .into_command()
    }

    /// Starts `deploy-passwords` with text on its standard input.
    pub fn start(&self, current: &str, args: &[&str], input: &str) -> Child {
        let mut command = self.command(current, args);
        fed(&mut command, input)
    }

    /// Runs `deploy-passwords` to its end.
    pub fn run(&self, current: &str, args: &[&str], input: &str) -> Ran {
        self.start(current, args, input)
            .wait_with_output()
            .unwrap()
            .into()
    }

    /// Runs a command as a user who has logged in, with a password on its standard input.
    pub fn with_password(&self, node: &str, user: &str, password: &str, command: &str) -> bool {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(self.lab.ssh_config())
            .args(["-l", user, node, command]);
        let output = fed(&mut ssh, &format!("{password}\n")).wait_with_output();
        output.unwrap().status.success()
    }

    /// Whether sudo accepts the user's password.
    pub fn sudo(&self, node: &str, user: &str, password: &str) -> bool {
        self.with_password(node, user, password, "sudo -k -S -p '' true")
    }

    /// Whether su accepts it.
    pub fn su(&self, node: &str, user: &str, password: &str) -> bool {
        self.with_password(node, user, password, &format!("su {user} -c true"))
    }

    /// The user's hash in /etc/shadow.
    pub fn shadow(&self, node: &str, user: &str) -> String {
        self.lab
            .root(node, &format!("getent shadow {user} | cut -d: -f2"))
    }

    /// The password file with its owner; "none" if it is missing.
    pub fn file(&self, node: &str, user: &str) -> String {
        let path = format!("/var/lib/nixcfg/passwords/{user}");
        self.lab.root(
            node,
            &format!(
                "if [ -e {path} ]; then stat -c '%U %G %a' {path}; cat {path}; else echo none; fi"
            ),
        )
    }

    /// Asserts that a change left no temporary file.
    pub fn assert_tidy(&self, node: &str) {
        assert_eq!(
            self.lab.root(
                node,
                "find /var/lib/nixcfg /etc -name '.nixcfg-*' 2>/dev/null || :"
            ),
            "",
            "{node}"
        );
    }

    /// Makes chpasswd on a node wait for `/run/go`. Its folder is read-only, so a script is mounted over
    /// it.
    pub fn hold_chpasswd(&self, node: &str) {
        self.lab.root(
            node,
            "rm -f /run/go /run/held; real=$(readlink -f \"$(command -v chpasswd)\"); cp \"$real\" /run/chpasswd.real
             printf '%s\\n' '#!/bin/sh' ': >/run/held' 'while ! [ -e /run/go ]; do sleep 0.2; done' 'exec /run/chpasswd.real \"$@\"' >/run/chpasswd.held
             chmod 755 /run/chpasswd.held; mount --bind /run/chpasswd.held \"$real\"",
        );
    }

    /// Ends that wait.
    pub fn release_chpasswd(&self, node: &str) {
        self.lab.root(node, "touch /run/go");
    }
}

/// A hash of a scheme that the tool cannot verify.
pub fn bcrypt(password: &str) -> String {
    let mut mkpasswd = Command::new("mkpasswd");
    mkpasswd.args(["--stdin", "-m", "bcrypt", "-R", "5"]);
    let output = fed(&mut mkpasswd, password).wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(hash.starts_with("$2b$05$"), "{hash}");
    hash.trim().to_owned()
}
