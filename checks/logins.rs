//! Logins and sudo on nodes: the errors when sudo fails, the password that only sudo's prompt gets,
//! output of login shells, forwards of `ssh_config`, and what a run that dies leaves.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::terminal;
use crate::support::{Lab, PASSWORD, Ran, Repo, Tool, root};

/// The node with sudo 1.9.
const OLD: &str = "alder";
/// The node with sudo-rs.
const NEW: &str = "birch";
/// Another user's password.
const OTHER: &str = "looking-glass";

/// A state of a node's sudo or account, and the error in it.
struct Row {
    name: &'static str,
    /// Commands for root's shell on the node that bring the state about, and undo it.
    does: &'static str,
    undoes: &'static str,
    /// The sudo password of the run.
    password: &'static str,
    /// The node's own sudo password of the run.
    own: Option<&'static str>,
    /// The exit code and texts, with sudo 1.9 and with sudo-rs.
    old: Told,
    new: Told,
    /// The number of wrong passwords that PAM has counted.
    failures: usize,
}

type Told = (i32, &'static [&'static str]);

const WORKS: Told = (0, &[]);
const RULE: &str = "rm /etc/sudoers.d/zz";

/// A state in which the operator's password works.
const WELL: Row = Row {
    name: "",
    does: "true",
    undoes: "true",
    password: PASSWORD,
    own: None,
    old: WORKS,
    new: WORKS,
    failures: 0,
};

const fn refused(told: &'static [&'static str]) -> Told {
    (3, told)
}

/// A state that both programs refuse, with these texts.
const fn on_both(told: &'static [&'static str]) -> Row {
    Row {
        old: refused(told),
        new: refused(told),
        ..WELL
    }
}

const ROWS: &[Row] = &[
    Row {
        name: "the password is right",
        ..WELL
    },
    Row {
        name: "the password is wrong",
        password: "wrong",
        old: refused(&["the sudo password of alice is wrong", "Sorry, try again"]),
        new: refused(&["the sudo password of alice is wrong", "try again"]),
        failures: 1,
        ..WELL
    },
    Row {
        name: "the password is wrong, and sudo asks once",
        does: "echo 'Defaults passwd_tries=1' >/etc/sudoers.d/zz",
        undoes: RULE,
        password: "wrong",
        old: refused(&[
            "the sudo password of alice is wrong",
            "1 incorrect password attempt",
        ]),
        new: refused(&["the sudo password of alice is wrong"]),
        failures: 1,
        ..WELL
    },
    Row {
        name: "sudo asks for nothing, and cannot resolve the host's name",
        does: "echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/zz; sed -i.was 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf; hostname nowhere",
        undoes: "rm /etc/sudoers.d/zz; mv /etc/nsswitch.conf.was /etc/nsswitch.conf; hostname $(cat /etc/hostname)",
        old: (0, &["unable to resolve host nowhere"]),
        ..WELL
    },
    Row {
        name: "sudo asks for nothing where it runs `true`",
        does: "echo 'alice ALL=(ALL) NOPASSWD: /usr/bin/true' >/etc/sudoers.d/zz",
        undoes: RULE,
        ..WELL
    },
    Row {
        name: "sudo wants a terminal",
        does: "echo 'Defaults requiretty' >/etc/sudoers.d/zz",
        undoes: RULE,
        old: refused(&[
            "sudo works at a terminal only",
            "you must have a tty",
            "requiretty",
        ]),
        // sudo-rs does not know that setting.
        new: WORKS,
        ..WELL
    },
    Row {
        name: "sudo asks for root's password",
        does: "echo 'Defaults rootpw' >/etc/sudoers.d/zz",
        undoes: RULE,
        failures: 1,
        ..on_both(&[
            "sudo asks for the password of root, not of alice",
            "SUDO_PASS_<node>",
        ])
    },
    Row {
        name: "sudo asks for root's password, which is given",
        does: "echo 'Defaults rootpw' >/etc/sudoers.d/zz",
        undoes: RULE,
        own: Some("heart-of-roots"),
        ..WELL
    },
    Row {
        name: "sudo asks for the target's password",
        does: "echo 'Defaults targetpw' >/etc/sudoers.d/zz",
        undoes: RULE,
        failures: 1,
        ..on_both(&["sudo asks for the password of root, not of alice"])
    },
    Row {
        name: "sudo asks for the password of runas_default",
        does: "echo 'Defaults runaspw' >/etc/sudoers.d/zz",
        undoes: RULE,
        old: refused(&["sudo asks for the password of root, not of alice"]),
        // sudo-rs does not know that setting.
        new: WORKS,
        failures: 1,
        ..WELL
    },
    Row {
        name: "another password on this node",
        does: "echo alice:looking-glass | chpasswd",
        undoes: "echo alice:wonderland | chpasswd",
        own: Some(OTHER),
        ..WELL
    },
    Row {
        name: "no administrator",
        does: "gpasswd -d alice wheel; gpasswd -d alice sudo",
        undoes: "gpasswd -a alice wheel; gpasswd -a alice sudo",
        ..on_both(&["alice may not use sudo"])
    },
    Row {
        name: "sudo is not setuid",
        does: "chmod u-s $(command -v sudo)",
        undoes: "chmod u+s $(command -v sudo)",
        ..on_both(&["sudo does not work", "setuid"])
    },
    Row {
        name: "the password has expired",
        does: "chage -d 0 alice",
        undoes: "chage -d 20000 alice",
        ..on_both(&[
            "the password of its account has expired",
            "no TTY available",
        ])
    },
    Row {
        name: "the account has expired",
        does: "chage -E 1 alice",
        undoes: "chage -E -1 alice",
        ..on_both(&[
            "the account has expired",
            "contact your system administrator",
            "chage",
        ])
    },
    Row {
        name: "the home is missing",
        does: "mv /home/alice /home/elsewhere",
        undoes: "mv /home/elsewhere /home/alice",
        ..on_both(&[
            "refuses the login",
            "Permission denied (publickey)",
            "is the account's home there",
        ])
    },
    Row {
        name: "the login shell prints, and no whole line",
        does: "printf '#!/bin/bash\\necho Welcome!; echo Mind the gap >&2; printf to:; exec /bin/bash \"$@\"\\n' >/usr/local/bin/chatty; \
               chmod 755 /usr/local/bin/chatty; usermod -s /usr/local/bin/chatty alice",
        undoes: "usermod -s /bin/bash alice",
        ..WELL
    },
    Row {
        name: "fish, whose config.fish prints",
        does: "mkdir -p /home/alice/.config/fish; echo 'echo Welcome; echo to fish >&2' >/home/alice/.config/fish/config.fish; \
               chown -R alice: /home/alice/.config; usermod -s /usr/bin/fish alice",
        undoes: "usermod -s /bin/bash alice; rm -r /home/alice/.config",
        ..WELL
    },
    Row {
        name: "zsh, whose zshenv prints",
        does: "echo 'echo Welcome; printf to:' >/home/alice/.zshenv; usermod -s /usr/bin/zsh alice",
        undoes: "usermod -s /bin/bash alice; rm /home/alice/.zshenv",
        ..WELL
    },
    Row {
        name: "the login shell runs nothing",
        does: "usermod -s /usr/sbin/nologin alice",
        undoes: "usermod -s /bin/bash alice",
        ..on_both(&[
            "does not answer as a node should",
            "This account is currently not available",
        ])
    },
];

/// The lab and a repository. The nodes have sudo 1.9, sudo-rs, fish and zsh.
fn start() -> (Lab, Repo) {
    let (lab, repo) = (Lab::bare(), Repo::new());
    let guests = Command::new(root().join("checks/lab/guests"))
        .output()
        .unwrap();
    let tree = String::from_utf8(guests.stdout).unwrap();
    assert!(
        !tree.is_empty(),
        "{}",
        String::from_utf8_lossy(&guests.stderr)
    );
    for node in [OLD, NEW] {
        lab.copy(node, Path::new(tree.trim()), "/");
        lab.root(node, "echo root:heart-of-roots | chpasswd");
    }
    lab.root(
        NEW,
        "chown root: /usr/lib/cargo/bin/sudo; chmod 4755 /usr/lib/cargo/bin/sudo; ln -sf /usr/lib/cargo/bin/sudo /usr/local/bin/sudo",
    );
    assert!(
        lab.root(NEW, "/usr/local/bin/sudo --version 2>&1")
            .contains("sudo-rs")
    );
    // This run fills the evaluation cache.
    exec(&repo, &lab, &[OLD], &["true"]).exits(0);
    (lab, repo)
}

fn exec(repo: &Repo, lab: &Lab, words: &[&str], command: &[&str]) -> Tool {
    Tool::new(repo, "exec")
        .on(lab)
        .args(words)
        .arg("--")
        .args(command)
}

/// Runs a command on a node as root, and returns the number of wrong passwords that PAM then counts for
/// sudo.
fn failures(lab: &Lab, node: &str, before: &str, after: &str) -> usize {
    let count = "journalctl --sync; journalctl -o cat --no-pager | grep 'pam_unix(sudo:auth): .*authentication failure'";
    let path = "PATH=/usr/local/bin:/usr/sbin:$PATH";
    let script = format!("{path}; {{ {before}; }} >&2; {count}; {{ {after}; }} >&2");
    let lines = lab.root(node, &script);
    // PAM logs the first in its own line, and counts further ones in another.
    let more = |line: &str| line.split(' ').nth(1).and_then(|word| word.parse().ok());
    lines.lines().map(|line| more(line).unwrap_or(1)).sum()
}

/// Faults of a row on a node, if any.
fn try_row(lab: &Lab, repo: &Repo, node: &str, row: &Row) -> Option<String> {
    let (code, told) = match node {
        OLD => row.old,
        _ => row.new,
    };
    let before = failures(lab, node, "true", row.does);
    // The command prints its input, so a password that reached it would show.
    let mut tool = exec(repo, lab, &[node, "--sudo"], &["sh", "-c", "cat; id -u"]);
    tool = tool.password(Some(row.password));
    if let Some(own) = row.own {
        tool = tool.env(&format!("SUDO_PASS_{node}"), own);
    }
    let ran = tool.run();
    let counted = failures(lab, node, row.undoes, "true") - before;
    let wanted = match (node, code) {
        (_, 0) => 0,
        _ => row.failures,
    };
    let all = [ran.out.as_str(), ran.err.as_str()].concat();
    let mut wrong = Vec::new();
    if ran.code != code {
        wrong.push(format!("exit {} instead of {code}", ran.code));
    }
    wrong.extend(
        told.iter()
            .filter(|text| !all.contains(**text))
            .map(|text| format!("nothing tells {text:?}")),
    );
    if counted != wanted {
        wrong.push(format!("{counted} failures instead of {wanted}"));
    }
    let lines: Vec<&str> = ran.out.lines().filter(|line| line.contains(node)).collect();
    if code == 0 && (lines.len() != 1 || !lines[0].ends_with(" 0")) {
        wrong.push("the command's output is not its own".to_owned());
    }
    let secrets = [Some(row.password), row.own];
    for secret in secrets.into_iter().flatten().filter(|s| *s != "wrong") {
        if all.contains(secret) {
            wrong.push("shows a password".to_owned());
        }
    }
    // A mark has 16 digits.
    let marks = all.split("nixcfg-").skip(1);
    let hex = |text: &str| text.chars().take_while(char::is_ascii_hexdigit).count() == 16;
    if marks.into_iter().any(hex) || all.contains("Password:") {
        wrong.push("shows a prompt".to_owned());
    }
    (!wrong.is_empty()).then(|| format!("{node}, {}: {}\n{all}", row.name, wrong.join(", ")))
}

#[test]
fn sudo_is_told_by_its_true_reason_and_given_the_password_at_its_prompt_alone() {
    let (lab, repo) = start();
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for row in ROWS {
        std::thread::scope(|scope| {
            let tries: Vec<_> = [OLD, NEW]
                .map(|node| scope.spawn(|| try_row(&lab, &repo, node, row)))
                .into_iter()
                .collect();
            for result in tries {
                tried += 1;
                wrong.extend(result.join().unwrap());
            }
        });
    }
    println!("{tried} tries");
    assert!(
        wrong.is_empty(),
        "{} of {tried}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    another_password_is_asked_for_once(&lab, &repo);
    a_shell_that_prints_is_deployed_to_and_sudo_that_stops_asking_is_confirmed(&lab, &repo);
}

/// A terminal asks for the node's password.
fn another_password_is_asked_for_once(lab: &Lab, repo: &Repo) {
    lab.root(OLD, "echo alice:looking-glass | chpasswd");
    let tool = exec(repo, lab, &["--sudo", OLD, NEW], &["id", "-u"]).password(None);
    let session = terminal::converse(
        &tool.into_command(),
        &[
            ("sudo password of alice on prod: ", "wonderland\n"),
            (
                "sudo password of alice on alder, which is another: ",
                "looking-glass\n",
            ),
        ],
    );
    assert_eq!(session.code, 0, "{}", session.shown);
    assert!(session.echoes);
    assert_eq!(
        session.shown.matches("which is another").count(),
        1,
        "{}",
        session.shown
    );
    // Without a terminal the run names the node, and changes no other.
    exec(repo, lab, &["--sudo", OLD, NEW], &["id", "-u"])
        .exits(3)
        .tells("alder: the sudo password of alice is wrong")
        .tells("SUDO_PASS_<node>");
    exec(repo, lab, &["--sudo", OLD], &["id", "-u"])
        .env("SUDO_PASS_aldr", "x")
        .env("SUDO_PASS_alder", OTHER)
        .exits(0)
        .tells("SUDO_PASS_aldr names no node of prod");
    lab.root(OLD, "echo alice:wonderland | chpasswd");
}

/// A deployment through fish, after which sudo does not ask for a password, and one through zsh, after
/// which it does. Both shells print before `nix copy` speaks to the node.
fn a_shell_that_prints_is_deployed_to_and_sudo_that_stops_asking_is_confirmed(
    lab: &Lab,
    repo: &Repo,
) {
    let through = |shell: &str, module: &str| {
        let row = ROWS.iter().find(|row| row.name.starts_with(shell));
        let row = row.unwrap();
        lab.root(OLD, row.does);
        let used = lab.root(OLD, "getent passwd alice");
        assert!(used.ends_with(shell), "{used}");
        repo.configure(
            OLD,
            &format!(
                r#"{{ lib, ... }}: {{ environment.etc."through".text = "{shell}"; {module} }}"#
            ),
        );
        let ran = Tool::deploy(repo, lab).arg(OLD).exits(0);
        ran.shows_of(OLD, "copy ");
        assert_eq!(lab.root(OLD, "cat /etc/through"), shell);
        lab.root(OLD, row.undoes);
    };
    through(
        "fish",
        "security.sudo.wheelNeedsPassword = lib.mkForce false;",
    );
    exec(repo, lab, &["--sudo", OLD], &["sh", "-c", "cat; id -u"])
        .password(None)
        .exits(0)
        .shows("0");
    through("zsh", "");
    lab.at_rest(OLD);
}

/// A run whose command waits for a file, and the run's folder for sockets.
struct Waiting {
    child: Child,
    folder: tempfile::TempDir,
}

fn waiting(repo: &Repo, lab: &Lab, config: &Path, name: &str) -> Waiting {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("touch /tmp/{name}; while ! [ -e /tmp/go-on ]; do sleep 0.1; done");
    let child = Tool::new(repo, "exec")
        .arg("--ssh-config")
        .arg(config)
        .args(&[OLD, "--", "sh", "-c", &script])
        .env("TMPDIR", folder.path())
        .into_command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lab.until(OLD, &format!("test -e /tmp/{name}"));
    Waiting { child, folder }
}

/// The processes of this machine with a text in their command lines.
fn processes(text: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let words = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    words
        .filter(|words| String::from_utf8_lossy(words).contains(text))
        .count()
}

#[test]
fn forwards_of_ssh_config_are_not_made_and_two_runs_do_not_fight_for_them() {
    let lab = Lab::with_bare(&[OLD]);
    let repo = Repo::new();
    lab.root(OLD, "rm -f /tmp/go-on /tmp/one /tmp/two");
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ssh_config");
    let base = lab.ssh_config().display();
    let text = format!(
        "Host {OLD}\n  LocalForward 127.0.0.1:{port} localhost:22\n  RemoteForward 127.0.0.1:{port} localhost:22\n  DynamicForward 127.0.0.1:{}\n  ExitOnForwardFailure yes\nHost *\n  Include {base}\n",
        port ^ 1
    );
    fs::write(&config, text).unwrap();
    let both = ["one", "two"].map(|name| waiting(&repo, &lab, &config, name));
    for port in [port, port ^ 1] {
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "{port} is forwarded"
        );
    }
    lab.root(OLD, "touch /tmp/go-on");
    for run in both {
        Ran::from(run.child.wait_with_output().unwrap()).exits(0);
    }
}

#[test]
fn of_a_run_that_dies_neither_ssh_nor_a_folder_is_left_here() {
    let lab = Lab::with_bare(&[OLD]);
    let repo = Repo::new();
    lab.root(OLD, "rm -f /tmp/go-on /tmp/dying");
    let mut run = waiting(&repo, &lab, lab.ssh_config(), "dying");
    let folder = run.folder.path().to_str().unwrap().to_owned();
    assert!(processes(&folder) > 0);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    // An orphaned master would stay as long as the command.
    let gone = || processes(&folder) == 0 && fs::read_dir(&folder).unwrap().next().is_none();
    for _ in 0..300 {
        if gone() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(gone(), "{} processes are left", processes(&folder));
    // The probe has ended; only the command still runs.
    lab.until(OLD, "! pgrep -f [n]ixcfg-probe");
    lab.root(OLD, "touch /tmp/go-on");
}
