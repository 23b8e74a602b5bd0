//! The sudo password is nowhere to be seen while it is used: not in a process
//! of this machine or of a node, not in a file, not in the Nix store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use support::{Lab, NODES, PASSWORD, Repo, Tool};

/// Looks at every process of the machine, which the nodes' are too, for as long as it lives.
struct Watch {
    stop: Arc<AtomicBool>,
    looked: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Watch {
    /// `exempt`: the first image of the tool itself holds what its caller put into its environment.
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
            // Processes end while they are looked at.
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

/// Another password than the lab's own, which the lab's tools may well show.
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
        let tool = Tool::deploy(&repo, &lab).password(None).into_command();
        let words: Vec<String> = std::iter::once(tool.get_program())
            .chain(tool.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let tmp = tempfile::tempdir().unwrap();
        let watch = Watch::begin(SECRET);
        // script(1) gives the tool a terminal of its own.
        let mut child = Command::new("script")
            .args([
                "--quiet",
                "--return",
                "--command",
                &words.join(" "),
                "/dev/null",
            ])
            .current_dir(repo.path())
            .env("NIX_CONFIG", support::NIX_CONFIG)
            .env("TMPDIR", tmp.path())
            .env_remove("SUDO_PASS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut shown = Vec::new();
        let mut block = [0; 4096];
        let mut answered = false;
        while let Ok(n @ 1..) = output.read(&mut block) {
            shown.extend_from_slice(&block[..n]);
            if !answered
                && String::from_utf8_lossy(&shown).contains("sudo password of alice on prod: ")
            {
                writeln!(input, "{SECRET}").unwrap();
                answered = true;
            }
        }
        drop(input);
        let status = child.wait().unwrap();
        let found = watch.end();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(answered && status.success(), "{shown}");
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
        // What the caller set is there until the tool has started anew, which takes milliseconds.
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

#[test]
fn an_interrupted_prompt_leaves_the_terminal_with_its_echo() {
    let lab = Lab::get();
    let repo = Repo::new();
    let tool = Tool::deploy(&repo, &lab).password(None).into_command();
    let words: Vec<String> = std::iter::once(tool.get_program())
        .chain(tool.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let line = format!("{}; echo \"exit=$?\"; stty -a", words.join(" "));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(repo.path())
        .env("NIX_CONFIG", support::NIX_CONFIG)
        .env("SHELL", "/bin/sh")
        .env_remove("SUDO_PASS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut block = [0; 4096];
    let mut interrupted = false;
    while let Ok(n @ 1..) = output.read(&mut block) {
        shown.extend_from_slice(&block[..n]);
        if !interrupted && String::from_utf8_lossy(&shown).contains("sudo password of") {
            input.write_all(b"\x03").unwrap();
            interrupted = true;
        }
    }
    child.wait().unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("exit=130"), "{shown}");
    assert!(
        shown.contains(" echo ") && !shown.contains("-echo "),
        "{shown}"
    );
}
