//! Looks for secrets where they must not be: in arguments, environments, written files and on disks.
//! The secrets are known only afterwards, so everything seen is kept until then.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What was seen of the processes of this machine and its nodes, and of the traced programs.
pub struct Watch {
    stop: Arc<AtomicBool>,
    looked: Arc<AtomicUsize>,
    thread: thread::JoinHandle<BTreeSet<String>>,
    traces: tempfile::TempDir,
}

/// The system calls that start a program, or by which a secret could leave one.
const CALLS: &str =
    "trace=execve,execveat,write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range";

impl Watch {
    /// Begins to watch every process.
    pub fn begin() -> Self {
        let (stop, looked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, count) = (stop.clone(), looked.clone());
        let thread = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                look(&count, &mut seen);
            }
            seen
        });
        Self {
            stop,
            looked,
            thread,
            traces: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs a command under strace, with all processes that it starts here.
    pub fn traced(&self, command: &Command) -> Command {
        let number = fs::read_dir(self.traces.path()).unwrap().count();
        let file = self.traces.path().join(number.to_string());
        fs::write(&file, "").unwrap();
        let mut traced = Command::new("strace");
        traced
            .args([
                "-f",
                "-qq",
                "-v",
                "-y",
                "-s",
                "1000000",
                "-e",
                CALLS,
                "-e",
                "signal=none",
                "-o",
            ])
            .arg(file)
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            traced.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => traced.env(name, value),
                None => traced.env_remove(name),
            };
        }
        traced
    }

    /// Stops watching, and returns every place where a secret was seen. `given` is the caller's own
    /// addition to the tool's environment, which the first process image shows.
    pub fn end(self, secrets: &[String], given: Option<&str>) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap();
        assert!(
            self.looked.load(Ordering::Relaxed) > 1000,
            "the watch saw next to nothing"
        );
        let (mut found, mut execs, mut writes) = (Vec::new(), 0, 0);
        let secret = |text: &str| secrets.iter().find(|secret| text.contains(secret.as_str()));
        let by_caller = |text: &str, secret: &str| {
            given.is_some_and(|given| {
                given == secret && text.contains(&format!("SUDO_PASS={given}"))
            })
        };
        for text in &seen {
            if let Some(secret) = secret(text)
                && !by_caller(text, secret)
            {
                found.push(format!("a process shows {text}"));
            }
        }
        for entry in fs::read_dir(self.traces.path()).unwrap() {
            // Strings that are not text.
            let trace = fs::read(entry.unwrap().path()).unwrap();
            let trace = String::from_utf8_lossy(&trace);
            let mut first = true;
            for line in trace.lines() {
                let call = line
                    .split_once(' ')
                    .map_or(line, |(_, call)| call.trim_start());
                let starts = call.starts_with("execve");
                execs += usize::from(starts);
                let kept = call.split_once('<').is_some_and(|(_, rest)| is_file(rest)) && !starts;
                writes += usize::from(kept);
                let Some(secret) = secret(call) else {
                    continue;
                };
                if starts && std::mem::take(&mut first) && by_caller(call, secret) {
                    continue;
                }
                if starts || kept {
                    found.push(format!("traced: {}", &call[..call.len().min(300)]));
                }
            }
        }
        assert!(
            execs > 20 && writes > 0,
            "{execs} programs and {writes} writes were traced"
        );
        found
    }
}

/// Whether a descriptor, by the path after its `<`, is a file and no terminal, pipe or socket.
fn is_file(descriptor: &str) -> bool {
    let device = descriptor.starts_with("/dev/") && !descriptor.starts_with("/dev/shm/");
    descriptor.starts_with('/') && !device
}

fn look(count: &AtomicUsize, seen: &mut BTreeSet<String>) {
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
            seen.insert(format!(
                "{part}: {}",
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            ));
        }
    }
}

/// Beginnings of lines that many values share: first and last lines of keys, the start of OpenSSH keys,
/// and the date of a password.
const COMMON: [&str; 3] = ["-----", "b3BlbnNzaC1rZXktdjE", "set: "];

/// The lines of a value that identify it: long ones, except those that all keys share.
pub fn marks(value: &str) -> Vec<String> {
    let lines = value.lines().map(str::trim);
    lines
        .filter(|line| line.len() >= 12 && !COMMON.iter().any(|common| line.starts_with(common)))
        .map(str::to_owned)
        .collect()
}

/// Files below these folders of this machine that contain a secret.
pub fn files_with(secrets: &[String], folders: &[&Path]) -> Vec<PathBuf> {
    let mut grep = Command::new("grep")
        .args([
            "--recursive",
            "--files-with-matches",
            "--binary-files=text",
            "--devices=skip",
        ])
        .args(["--fixed-strings", "--file=-", "--"])
        .args(folders)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = secrets.join("\n");
    grep.stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = grep.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(PathBuf::from).collect()
}
