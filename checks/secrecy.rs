//! Nobody can see the sudo password during its use: not in a process of this machine or a node, not in
//! a file, not in the Nix store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::terminal::{Session, converse};
use crate::support::{Lab, NODES, PASSWORD, Ran, Repo, Tool, which};

/// Watches every process of this machine, which include the nodes'.
struct Watch {
    stop: Arc<AtomicBool>,
    looked: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Watch {
    fn begin(needle: &'static str) -> Self {
        let (stop, looked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, count) = (stop.clone(), looked.clone());
        let thread = thread::spawn(move || {
            let mut found = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                look(needle, &count, &mut found);
            }
            found
        });
        Self {
            stop,
            looked,
            thread,
        }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let found = self.thread.join().unwrap();
        assert!(
            self.looked.load(Ordering::Relaxed) > 1000,
            "the watch saw next to nothing"
        );
        found
    }
}

fn look(needle: &str, count: &AtomicUsize, found: &mut Vec<String>) {
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for part in ["cmdline", "environ"] {
            // A process may end during the look.
            let Ok(bytes) = fs::read(entry.path().join(part)) else {
                continue;
            };
            count.fetch_add(1, Ordering::Relaxed);
            let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
            if text.contains(needle) {
                found.push(format!("{part} of {pid}: {text}"));
            }
        }
    }
}

/// A password other than the lab's, which the lab's own tools may show.
const SECRET: &str = "correct-horse-battery-staple";

fn with_secret_password(lab: &Lab, test: impl FnOnce()) {
    for node in NODES {
        lab.root(node, &format!("echo alice:{SECRET} | chpasswd"));
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    for node in NODES {
        lab.root(node, &format!("echo alice:{PASSWORD} | chpasswd"));
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn files_with(folder: &Path, needle: &str) -> Vec<String> {
    let output = Command::new("grep")
        .args([
            "--recursive",
            "--files-with-matches",
            "--binary-files=text",
            "--devices=skip",
            needle,
        ])
        .arg(folder)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_password_that_is_typed_is_seen_in_no_process_no_file_and_not_on_the_terminal() {
    let lab = Lab::bare();
    let repo = Repo::new();
    with_secret_password(&lab, || {
        let tmp = tempfile::tempdir().unwrap();
        let tool = Tool::deploy(&repo, &lab)
            .env("TMPDIR", tmp.path())
            .password(None)
            .into_command();
        let watch = Watch::begin(SECRET);
        let Session { shown, code, .. } = converse(
            &tool,
            &[("sudo password of alice on prod: ", &format!("{SECRET}\n"))],
        );
        let found = watch.end();
        assert_eq!(code, 0, "{shown}");
        assert_eq!(found, Vec::<String>::new());
        assert!(!shown.contains(SECRET), "{shown}");
        assert_eq!(
            shown.matches("sudo password").count(),
            1,
            "asked once: {shown}"
        );
        assert_eq!(files_with(tmp.path(), SECRET), Vec::<String>::new());
        for node in NODES {
            let left = lab.root(
                node,
                &format!("grep -rl --devices=skip {SECRET} /run /tmp /var /root /home /etc /nix/var 2>/dev/null || true"),
            );
            assert_eq!(left, "", "{node}");
        }
    });
}

#[test]
fn a_password_from_the_environment_is_in_no_child_and_leaves_the_tool_itself() {
    let lab = Lab::bare();
    let repo = Repo::new();
    with_secret_password(&lab, || {
        let mut command = Tool::deploy(&repo, &lab)
            .password(Some(SECRET))
            .into_command();
        let watch = Watch::begin(SECRET);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let own = format!("environ of {}:", child.id());
        let output = child.wait_with_output().unwrap();
        let found = watch.end();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // The caller's variable shows until the tool has re-executed itself, for milliseconds.
        let (brief, elsewhere): (Vec<&String>, Vec<&String>) =
            found.iter().partition(|line| line.starts_with(&own));
        assert_eq!(elsewhere, Vec::<&String>::new());
        assert!(
            brief.len() <= 2,
            "the tool keeps the password in its environment: seen {} times",
            brief.len()
        );
    });
}

/// Connects to a socket as another member of the operator's group.
const STRANGER: &str = "setpriv --reuid=65534 --regid=$(id -g) --clear-groups /usr/bin/python3 -c '
import socket, sys
socket.socket(socket.AF_UNIX).connect(sys.argv[1])' ";

#[test]
fn nobody_of_the_operators_group_reaches_a_nodes_nix_daemon_while_a_copy_runs() {
    let (lab, repo) = (Lab::bare(), Repo::new());
    for umask in ["000", "002"] {
        let text = format!(r#"{{ environment.etc."umask".text = "{umask}"; }}"#);
        repo.configure(NODES[0], &text);
        let folder = tempfile::tempdir().unwrap();
        let (bin, tmp) = (folder.path().join("bin"), folder.path().join("tmp"));
        let seen = folder.path().join("seen");
        for open in [folder.path(), &bin, &tmp] {
            fs::create_dir_all(open).unwrap();
            fs::set_permissions(open, fs::Permissions::from_mode(0o777)).unwrap();
        }
        // A socket of the test's own, which the stranger reaches.
        let open = tmp.join("open");
        let _listener = UnixListener::bind(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let script = format!(
            r#"#!/bin/sh
for word; do
    case $word in
    unix://*)
        socket=${{word#unix://}}
        {{
            stat -c '%F %A' "$socket" "${{socket%/*}}"
            {STRANGER} '{}' && echo 'reaches the open one'
            {STRANGER} "$socket" 2>&1 | tail -n 1
        }} >>'{}'
        ;;
    esac
done
exec {} "$@"
"#,
            open.display(),
            seen.display(),
            which("nix").display()
        );
        fs::write(bin.join("nix"), script).unwrap();
        fs::set_permissions(bin.join("nix"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let tool = Tool::deploy(&repo, &lab)
            .arg(NODES[0])
            .env("TMPDIR", &tmp)
            .env("PATH", format!("{}:{path}", bin.display()))
            .into_command();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"])
            .arg(tool.get_program())
            .args(tool.get_args())
            .current_dir(repo.path())
            .stdin(Stdio::null());
        for (name, value) in tool.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Ran::from(command.output().unwrap())
            .exits(0)
            .shows_of(NODES[0], "copy ");
        let seen = fs::read_to_string(&seen).unwrap();
        let [socket, of, control, stranger] = seen.lines().collect::<Vec<_>>()[..] else {
            panic!("{umask}: {seen}")
        };
        assert!(socket.starts_with("socket "), "{umask}: {seen}");
        assert_eq!(of, "directory drwx------", "{umask}");
        assert_eq!(control, "reaches the open one", "{umask}");
        assert!(stranger.contains("Permission denied"), "{umask}: {seen}");
    }
}

#[test]
fn an_interrupted_prompt_leaves_the_terminal_with_its_echo() {
    let lab = Lab::get();
    let repo = Repo::new();
    let tool = Tool::deploy(&repo, &lab).password(None).into_command();
    let session = converse(&tool, &[("sudo password of", "\x03")]);
    assert_eq!(session.code, 130, "{}", session.shown);
    assert!(session.echoes, "{}", session.shown);
}
