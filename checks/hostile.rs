//! A node that answers badly, beside two that do not: what it can do to the operator and to the others.
//!
//! Its sshd is the lab's own. On another port it forces a command that answers for one script in one way, and runs all else;
//! which, is said by a variable that the login sends.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::pass::PassStore;
use crate::support::{Lab, NODES, Repo, Tool};

/// The node that answers badly.
const BAD: &str = "alder";
/// The ways in which it answers, and whether a script may take such an answer for a whole one.
const WAYS: [(&str, &str, bool); 11] = [
    ("silent", "exec sleep 2000", false),
    ("slow", "while printf x; do sleep 1; done", false),
    ("garbage", "head -c 300000 /dev/urandom", false),
    ("endless", "tr '\\0' x </dev/zero", false),
    ("lines", "yes", false),
    ("empty-lines", "yes ''", false),
    ("complaints", "yes >&2", false),
    ("cut", "printf 'uid 1000\\nfailed a.serv'", false),
    ("code", "exit 77", false),
    (
        "wrong-mark",
        "printf 'end 0\\ntaken\\napplied\\nkept\\nend'",
        false,
    ),
    (
        "escapes",
        r"printf 'sudo wrong\nfailed \033]0;owned\007\033]52;c;eA==\007\nsaid \033[2J\ngeneration \033[2J\nend\n'",
        true,
    ),
];
/// The port.
const PORT: usize = 2200;
/// Bounds in time are this part of what they are: without an answer, each is waited for.
const HASTE: &str = "4";
/// What the operator's memory may grow to, in KiB.
const MOST_MEMORY: u64 = 200 << 10;
/// A run that takes longer hangs: more than any script of these operations may take, and all of its logins.
const HANGS: Duration = Duration::from_secs(400);
/// Runs at once: sshd refuses who logs in too often at once.
const AT_ONCE: usize = 4;

/// Where in the course of a script it answers badly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Before it says that it runs.
    Start,
    /// Once it runs.
    Run,
    /// Once it runs as root: it asked for the password as sudo does.
    Root,
}

/// Operations that only look, the script that is answered for, and from where on.
const LOOKS: [(&[&str], &str, From); 8] = [
    (&["status", "--no-drift"], "nixcfg-probe", From::Start),
    (&["status", "--no-drift"], "nixcfg-probe", From::Run),
    (&["status", "--no-drift"], "nixcfg-status", From::Run),
    (&["status", "--no-drift"], "nixcfg-certificates", From::Root),
    (&["generations"], "nixcfg-generations", From::Run),
    // What finds out how root is had, and what makes root of an operator's own command.
    (&["exec", "--sudo", "--", "true"], "nixcfg-try", From::Start),
    (
        &["exec", "--sudo", "--", "true"],
        "nixcfg-sudo",
        From::Start,
    ),
    // It has no bound of its own once it runs.
    (&["exec", "--sudo", "--", "true"], "nixcfg", From::Start),
];

/// The forced command.
fn program() -> String {
    let ways: String = WAYS
        .iter()
        .map(|(name, answer, _)| format!("{name}) {answer} ;;\n"))
        .collect();
    format!(
        r#"#!/bin/sh
set -- $HOSTILE
way=$1 script=$2 from=$3
case "$SSH_ORIGINAL_COMMAND " in
*" $script "*) ;;
*) unset HOSTILE; exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
mark=${{SSH_ORIGINAL_COMMAND#*" $script "}} mark=${{mark%% *}}
case $from in
root) printf '%s:alice:' "$mark" >&2; read -r password; echo "$mark" ;;
run) echo "$mark" ;;
esac
case $way in
{ways}esac
"#
    )
}

fn prepare(lab: &Lab) {
    lab.put(BAD, "/usr/local/lib/hostile", "755", program().as_bytes());
    let config = format!(
        "Port 22\nPort {PORT}\nAcceptEnv HOSTILE\nMaxStartups 200\nMatch LocalPort {PORT}\n  ForceCommand /usr/local/lib/hostile\n"
    );
    let file = "/etc/ssh/sshd_config.d/zz-hostile.conf";
    lab.put(BAD, file, "600", config.as_bytes());
    lab.root(BAD, "systemctl restart ssh");
}

/// What became of a run.
struct Told {
    way: &'static str,
    code: Option<i32>,
    memory: u64,
    out: String,
    err: String,
}

/// Runs an operation on the lab, whose bad node answers for a script in a way.
fn run(
    (repo, store): (&Repo, &PassStore),
    lab: &Lab,
    operation: &[&str],
    (script, from, number): (&str, From, usize),
) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ssh_config");
    let base = lab.ssh_config().display();
    let from = match from {
        From::Start => "start",
        From::Run => "run",
        From::Root => "root",
    };
    let text = format!(
        "Host {BAD}\n  Port {PORT}\n  HostKeyAlias {BAD}\n  SetEnv \"HOSTILE={} {script} {from}\"\nHost *\nInclude {base}\n",
        WAYS[number].0
    );
    fs::write(&config, text).unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let create = |path: &PathBuf| Stdio::from(fs::File::create(path).unwrap());
    let mut command = Tool::new(repo, operation[0])
        .arg("--ssh-config")
        .arg(&config)
        .args(&operation[1..])
        .env("NIXCFG_HASTE", HASTE)
        .into_command();
    let mut child = store
        .in_env(&mut command)
        .stdout(create(&out))
        .stderr(create(&err))
        .spawn()
        .unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let (began, mut memory) = (Instant::now(), 0);
    let code = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        memory = memory.max(peak.unwrap_or_default());
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if began.elapsed() > HANGS || memory > MOST_MEMORY {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let read = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Told {
        way: WAYS[number].0,
        code,
        memory,
        out: read(&out),
        err: read(&err),
    }
}

#[test]
fn a_node_that_answers_badly_is_told_so_and_neither_fills_nor_holds_nor_misleads() {
    let lab = Lab::bare();
    let repo = Repo::new();
    let store = PassStore::plain();
    prepare(&lab);
    // What follows finds the cluster evaluated.
    let tool = Tool::new(&repo, "exec")
        .arg("--ssh-config")
        .arg(lab.ssh_config());
    let mut command = tool.args(&["--", "true"]).into_command();
    assert!(store.in_env(&mut command).status().unwrap().success());
    let attacks = LOOKS
        .iter()
        .flat_map(|look| (0..WAYS.len()).map(move |number| (look, number)));
    // Those that are waited for longest come first.
    let mut attacks: VecDeque<_> = attacks.collect();
    attacks.make_contiguous().sort_by_key(|(_, number)| *number);
    let waiting = Mutex::new(attacks);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop_front();
                    let Some(((operation, script, from), number)) = next else {
                        break;
                    };
                    let told = run((&repo, &store), &lab, operation, (script, *from, number));
                    let trouble = judge(operation, script, number, &told);
                    done.lock().unwrap().push((told.memory, trouble));
                }
            });
        }
    });
    end(done.into_inner().unwrap(), LOOKS.len() * WAYS.len());
}

/// Counts, and fails where anything was wrong.
#[track_caller]
fn end(done: Vec<(u64, Option<String>)>, wanted: usize) {
    let most = done.iter().map(|(memory, _)| memory).max();
    println!("{} runs, at most {} KiB", done.len(), most.unwrap());
    assert_eq!(done.len(), wanted);
    let wrong: Vec<String> = done.into_iter().filter_map(|(_, wrong)| wrong).collect();
    assert!(
        wrong.is_empty(),
        "{} of {wanted}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// What is wrong with a run, if anything is.
fn judge(operation: &[&str], script: &str, number: usize, told: &Told) -> Option<String> {
    let all = [told.out.as_str(), told.err.as_str()].concat();
    let mut trouble = Vec::new();
    if told.memory > MOST_MEMORY {
        trouble.push("fills the memory".to_owned());
    }
    match told.code {
        None => trouble.push("does not end".to_owned()),
        Some(0) if !WAYS[number].2 => trouble.push("takes the answer".to_owned()),
        Some(code) if !matches!(code, 0 | 3 | 5) => trouble.push(format!("exits with {code}")),
        Some(_) => {}
    }
    if all.contains(['\u{1b}', '\u{7}']) {
        trouble.push("lets escapes through".to_owned());
    }
    // Only looking, it goes on with the others.
    let others = NODES.iter().filter(|node| **node != BAD);
    for node in others.filter(|_| matches!(operation[0], "status" | "generations")) {
        if !told.out.lines().any(|line| line.starts_with(*node)) {
            trouble.push(format!("does not tell of {node}"));
        }
    }
    println!(
        "{:<13} {script:<20} {:<12} {:>7} KiB, exit {:?}",
        operation[0], told.way, told.memory, told.code
    );
    let tail: String = all.chars().take(1500).collect();
    (!trouble.is_empty()).then(|| {
        format!(
            "{} {script} {}: {}\n{tail}",
            operation[0],
            told.way,
            trouble.join(", ")
        )
    })
}
