//! A node that answers badly, beside two that do not: what it can do to the operator and to the others.
//!
//! Its sshd is the lab's own. On further ports it forces a command that answers for one script in one way, and runs all else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::{Lab, NODES, Repo, Tool};

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
/// The first of the ports, one for each way.
const PORT: usize = 2200;
/// What the operator's memory may grow to, in KiB.
const MOST_MEMORY: u64 = 200 << 10;
/// A run that takes longer hangs: more than any script of these operations may take, and all of its logins.
const HANGS: Duration = Duration::from_secs(600);
/// Runs at once: sshd refuses who logs in too often at once.
const AT_ONCE: usize = 4;

/// Operations, the script that is answered for, and whether it is answered for once it runs as root.
const ATTACKS: [(&[&str], &str, bool); 5] = [
    (&["status", "--no-drift"], "nixcfg-probe", false),
    (&["status", "--no-drift"], "nixcfg-status", false),
    (&["status", "--no-drift"], "nixcfg-certificates", true),
    (&["generations"], "nixcfg-generations", false),
    // What makes root of an operator's own command.
    (&["exec", "--sudo", "--", "true"], "nixcfg", false),
];

/// The forced command: its argument is the way.
fn program() -> String {
    let ways: String = WAYS
        .iter()
        .map(|(name, answer, _)| format!("{name}) {answer} ;;\n"))
        .collect();
    format!(
        r#"#!/bin/sh
read -r script root </etc/hostile
case "$SSH_ORIGINAL_COMMAND " in
*" $script "*) ;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
if [ "$root" = true ]; then
  prompt=${{SSH_ORIGINAL_COMMAND#* -p }}
  printf '%s' "${{prompt%% *}}" | tr -d '\\' >&2
  read -r password
  echo nixcfg-is-root
fi
case $1 in
{ways}esac
"#
    )
}

fn prepare(lab: &Lab) {
    lab.put(BAD, "/usr/local/lib/hostile", "755", program().as_bytes());
    // sshd listens on 16 sockets at most (MAX_LISTEN_SOCKS in its sshd.c), so on one family.
    let mut config = "AddressFamily inet\nPort 22\n".to_owned();
    for (number, _) in WAYS.iter().enumerate() {
        config.push_str(&format!("Port {}\n", PORT + number));
    }
    for (number, (name, ..)) in WAYS.iter().enumerate() {
        let port = PORT + number;
        config.push_str(&format!(
            "Match LocalPort {port}\n  ForceCommand /usr/local/lib/hostile {name}\n"
        ));
    }
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

/// Runs an operation; the way is chosen by the port.
fn run(repo: &Repo, lab: &Lab, operation: &[&str], number: usize) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ssh_config");
    let base = lab.ssh_config().display();
    let port = PORT + number;
    let text = format!("Host {BAD}\n  Port {port}\n  HostKeyAlias {BAD}\nHost *\nInclude {base}\n");
    fs::write(&config, text).unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let create = |path: &PathBuf| Stdio::from(fs::File::create(path).unwrap());
    let mut child = Tool::new(repo, operation[0])
        .arg("--ssh-config")
        .arg(&config)
        .args(&operation[1..])
        .into_command()
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
    prepare(&lab);
    // What follows finds the cluster evaluated.
    Tool::new(&repo, "exec")
        .arg("--ssh-config")
        .arg(lab.ssh_config())
        .args(&["--", "true"])
        .run()
        .exits(0);
    let (mut most, mut runs, mut wrong) = (0, 0, Vec::new());
    for (operation, script, root) in ATTACKS {
        lab.put(
            BAD,
            "/etc/hostile",
            "644",
            format!("{script} {root}\n").as_bytes(),
        );
        let waiting = Mutex::new((0..WAYS.len()).collect::<VecDeque<_>>());
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let Some(number) = waiting.lock().unwrap().pop_front() else {
                            break;
                        };
                        let told = run(&repo, &lab, operation, number);
                        done.lock().unwrap().push((number, told));
                    }
                });
            }
        });
        for (number, told) in done.into_inner().unwrap() {
            runs += 1;
            most = most.max(told.memory);
            let all = [told.out.as_str(), told.err.as_str()].concat();
            let mut trouble = Vec::new();
            if told.memory > MOST_MEMORY {
                trouble.push("fills the memory".to_owned());
            }
            match told.code {
                None => trouble.push("does not end".to_owned()),
                Some(0) if !WAYS[number].2 => trouble.push("takes the answer".to_owned()),
                Some(code) if !matches!(code, 0 | 3 | 5) => {
                    trouble.push(format!("exits with {code}"))
                }
                Some(_) => {}
            }
            if all.contains(['\u{1b}', '\u{7}']) {
                trouble.push("lets escapes through".to_owned());
            }
            // Only looking, it goes on with the others.
            let others = NODES.iter().filter(|node| **node != BAD);
            for node in others.filter(|_| operation[0] != "exec") {
                if !told.out.lines().any(|line| line.starts_with(*node)) {
                    trouble.push(format!("does not tell of {node}"));
                }
            }
            println!(
                "{:<11} {script:<20} {:<12} {:>7} KiB, exit {:?}",
                operation[0], told.way, told.memory, told.code
            );
            if !trouble.is_empty() {
                let tail: String = all.chars().take(1500).collect();
                wrong.push(format!(
                    "{} {script} {}: {}\n{tail}",
                    operation[0],
                    told.way,
                    trouble.join(", ")
                ));
            }
        }
    }
    println!("{runs} runs, at most {most} KiB");
    assert_eq!(runs, ATTACKS.len() * WAYS.len());
    assert!(
        wrong.is_empty(),
        "{} of {runs}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
