//! A hostile node beside two good ones: what it can do to the operator and to the others.
//!
//! A second port of its sshd forces a command that answers for one script in one bad way, and runs all
//! others. A variable of the login selects script and way.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::pass::PassStore;
use crate::support::{Lab, NODES, Repo, Tool};

/// The hostile node.
const BAD: &str = "alder";
/// The ways of its answers, and whether a script may accept such an answer as complete.
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
/// Its second port.
const PORT: usize = 2200;
/// Time limits are divided by this: each is waited for in full.
const HASTE: &str = "4";
/// The limit of the tool's memory, in KiB.
const MOST_MEMORY: u64 = 200 << 10;
/// A run that takes longer hangs. This is more than all logins and any script may take.
const HANGS: Duration = Duration::from_secs(400);
/// Parallel runs: sshd refuses too many logins at once.
const AT_ONCE: usize = 4;

/// The moment from which the answer is bad.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Before the script begins.
    Start,
    /// After the script has begun.
    Run,
    /// After the script has begun as root, behind a prompt like sudo's.
    Root,
}

/// Operations that change nothing, the script with the bad answer, and its moment.
const LOOKS: [(&[&str], &str, From); 8] = [
    (&["status", "--no-drift"], "nixcfg-probe", From::Start),
    (&["status", "--no-drift"], "nixcfg-probe", From::Run),
    (&["status", "--no-drift"], "nixcfg-status", From::Run),
    (&["status", "--no-drift"], "nixcfg-certificates", From::Root),
    (&["generations"], "nixcfg-generations", From::Run),
    // The scripts that find out how to become root, and that run an operator's command as root.
    (&["exec", "--sudo", "--", "true"], "nixcfg-try", From::Start),
    (
        &["exec", "--sudo", "--", "true"],
        "nixcfg-sudo",
        From::Start,
    ),
    // An operator's command has no time limit.
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

/// The result of a run.
struct Told {
    way: &'static str,
    code: Option<i32>,
    memory: u64,
    out: String,
    err: String,
}

/// Runs an operation on the lab while the hostile node answers for a script in one way.
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
    // This run fills the evaluation cache.
    let tool = Tool::new(&repo, "exec")
        .arg("--ssh-config")
        .arg(lab.ssh_config());
    let mut command = tool.args(&["--", "true"]).into_command();
    assert!(store.in_env(&mut command).status().unwrap().success());
    let attacks = LOOKS
        .iter()
        .flat_map(|look| (0..WAYS.len()).map(move |number| (look, number)));
    // The longest waits come first.
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

/// Prints counts, and fails if a run was wrong.
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

/// Faults of a run, if any.
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
    // An operation that only looks continues with the other nodes.
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
