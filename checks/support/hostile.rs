//! A hostile node. Its sshd forces a command that answers for one script in one bad way, and runs all others. A variable of
//! the login selects script and way; without it, all run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::pass::PassStore;
use super::{Lab, Repo, Tool};

/// The ways of its answers.
pub const WAYS: [(&str, &str); 12] = [
    ("silent", "exec sleep 2000"),
    ("slow", "while printf x; do sleep 1; done"),
    ("garbage", "head -c 300000 /dev/urandom"),
    ("endless", "tr '\\0' x </dev/zero"),
    ("lines", "yes"),
    ("empty-lines", "yes ''"),
    ("complaints", "yes >&2"),
    ("cut", "printf 'uid 1000\\nfailed a.serv'"),
    ("end", "echo end"),
    ("code", "exit 77"),
    (
        "wrong-mark",
        "printf 'end 0\\ntaken\\napplied\\nkept\\nend'",
    ),
    (
        "escapes",
        r"printf 'sudo wrong\nfailed \033]0;owned\007\033]52;c;eA==\007\nsaid \033[2J\ngeneration \033[2J\nend\n'",
    ),
];
/// The kinds of ways, by their numbers: a script meets each kind in one of its ways, another one than its
/// neighbours in the table meet. A false end has to be known by each script for itself.
const KINDS: [&[usize]; 4] = [&[0, 1], &[3, 4, 5, 6], &[2, 7, 9, 10, 11], &[8]];

/// The ways in which the script of this number is attacked: all of them in a soak.
pub fn ways(script: usize) -> Vec<&'static str> {
    let chosen: Vec<usize> = if std::env::var_os("NIXCFG_HOSTILE").is_some_and(|of| of == "all") {
        (0..WAYS.len()).collect()
    } else {
        KINDS.iter().map(|kind| kind[script % kind.len()]).collect()
    };
    chosen.into_iter().map(|number| WAYS[number].0).collect()
}

/// The file on the node that has the number of each run in which it answered badly.
const ATTACKED: &str = "/var/tmp/attacked";
/// Numbers the runs.
static RUNS: AtomicUsize = AtomicUsize::new(0);
/// The limit of the tool's memory, in KiB.
pub const MOST_MEMORY: u64 = 200 << 10;
/// A run that takes longer hangs. This is more than all logins and any script may take.
const HANGS: Duration = Duration::from_secs(400);

/// The moment from which the answer is bad.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Before the script begins.
    Start,
    /// After the script has begun.
    Run,
    /// After the script has begun as root, behind a prompt like sudo's.
    Root,
    /// After the first answer of another script, whose process answers for this one too.
    Behind(&'static str),
}

/// An operation, and the script that is answered for.
#[derive(Clone, Copy)]
pub struct Attack {
    /// The operation and its arguments.
    pub operation: &'static [&'static str],
    /// The script, by its name.
    pub script: &'static str,
    /// From where on.
    pub from: From,
    /// Those of the ways that are an answer that the script may give.
    pub takes: &'static [&'static str],
}

/// The forced command.
fn program() -> String {
    let ways: String = WAYS
        .iter()
        .map(|(name, answer)| format!("{name}) {answer} ;;\n"))
        .collect();
    format!(
        r#"#!/bin/sh
[ -n "$HOSTILE" ] || exec sh -c "$SSH_ORIGINAL_COMMAND"
set -- $HOSTILE
way=$1 script=$2 from=$3 run=$4
case "$SSH_ORIGINAL_COMMAND " in
*" $script "*) ;;
*) unset HOSTILE; exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
mark=${{SSH_ORIGINAL_COMMAND#*" $script "}} mark=${{mark%% *}}
case $from in
behind)
    answers=$(mktemp -u) && mkfifo "$answers" && exec 3<&0 || exit
    sh -c "$SSH_ORIGINAL_COMMAND" <&3 >"$answers" &
    sed -u '/^end$/q' <"$answers"
    kill $!
    ;;
root) printf '%s:alice:' "$mark" >&2; read -r password; echo "$mark" ;;
run) echo "$mark" ;;
esac
echo "$run" >>{ATTACKED}
case $way in
{ways}esac
"#
    )
}

/// Has a node answer badly to the logins that ask for it.
pub fn prepare(lab: &Lab, node: &str) {
    lab.put(node, "/usr/local/lib/hostile", "755", program().as_bytes());
    let config = "AcceptEnv HOSTILE\nMaxStartups 200\nForceCommand /usr/local/lib/hostile\n";
    let file = "/etc/ssh/sshd_config.d/zz-hostile.conf";
    lab.put(node, file, "600", config.as_bytes());
    lab.put(node, ATTACKED, "666", b"");
    lab.root(node, "systemctl restart ssh");
}

/// Those of `runs` in which a node did not answer badly.
pub fn idle(lab: &Lab, node: &str, runs: &[usize]) -> Vec<usize> {
    let attacked = lab.root(node, &format!("cat {ATTACKED}"));
    let attacked: Vec<usize> = attacked.lines().map(|run| run.parse().unwrap()).collect();
    let idle = runs.iter().filter(|run| !attacked.contains(run));
    idle.copied().collect()
}

/// What became of a run.
pub struct Told {
    pub run: usize,
    pub attack: Attack,
    pub way: &'static str,
    pub code: Option<i32>,
    pub memory: u64,
    pub out: String,
    pub err: String,
}

/// A run that is attacked: its number, and a folder with an `ssh_config` by which a node answers for a
/// script in a way.
pub struct Run {
    number: usize,
    attack: Attack,
    way: &'static str,
    folder: tempfile::TempDir,
}

impl Run {
    /// Prepares the run. `host` is the pattern of the node, `base` how it is reached otherwise.
    pub fn new(attack: Attack, way: &'static str, host: &str, base: &Path) -> Self {
        let (from, answers) = match attack.from {
            From::Start => ("start", attack.script),
            From::Run => ("run", attack.script),
            From::Root => ("root", attack.script),
            From::Behind(other) => ("behind", other),
        };
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let this = Self {
            number,
            attack,
            way,
            folder: tempfile::tempdir().unwrap(),
        };
        let text = format!(
            "Host {host}\n  SetEnv \"HOSTILE={way} {answers} {from} {number}\"\nHost *\nInclude {}\n",
            base.display()
        );
        fs::write(this.config(), text).unwrap();
        this
    }

    /// The run's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its `ssh_config`.
    pub fn config(&self) -> PathBuf {
        self.folder().join("ssh_config")
    }

    /// Runs the tool to its end, and measures its memory.
    pub fn watch(&self, command: &mut Command) -> Told {
        let [out, err] = ["out", "err"].map(|name| self.folder().join(name));
        let create = |path: &Path| Stdio::from(fs::File::create(path).unwrap());
        let mut child = command
            .stdin(Stdio::null())
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
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let Self {
            number,
            attack,
            way,
            ..
        } = self;
        println!(
            "{number:>3} {:<16} {:<24} {way:<12} {memory:>7} KiB, exit {code:?}, {} s",
            attack.operation[0],
            attack.script,
            began.elapsed().as_secs()
        );
        Told {
            run: *number,
            attack: *attack,
            way,
            code,
            memory,
            out: read(&out),
            err: read(&err),
        }
    }
}

/// Runs an operation on the lab, of which `bad` answers for a script in a way. `haste` is by how much bounds in time are shortened.
pub fn run(
    (repo, store): (&Repo, &PassStore),
    lab: &Lab,
    bad: &str,
    (attack, way): (Attack, &'static str),
    haste: &str,
) -> Told {
    let run = Run::new(attack, way, bad, lab.ssh_config());
    let mut command = Tool::new(repo, attack.operation[0])
        .by(&run.config())
        .args(&attack.operation[1..])
        .env("NIXCFG_HASTE", haste)
        .into_command();
    run.watch(store.in_env(&mut command))
}

impl Told {
    /// All that it said.
    pub fn all(&self) -> String {
        [self.out.as_str(), self.err.as_str()].concat()
    }

    /// What is wrong with it whatever it was about, if anything is.
    pub fn trouble(&self) -> Vec<String> {
        let mut trouble = Vec::new();
        if self.memory > MOST_MEMORY {
            trouble.push("fills the memory".to_owned());
        }
        match self.code {
            None => trouble.push("does not end".to_owned()),
            Some(0) if !self.attack.takes.contains(&self.way) => {
                trouble.push("takes the answer".to_owned());
            }
            Some(code) if !matches!(code, 0 | 3 | 5) => trouble.push(format!("exits with {code}")),
            Some(_) => {}
        }
        if self.all().contains(['\u{1b}', '\u{7}']) {
            trouble.push("lets escapes through".to_owned());
        }
        trouble
    }

    /// A run and its troubles, if it has any, in words.
    pub fn words(&self, trouble: &[String]) -> Option<String> {
        let tail: String = self.all().chars().take(1500).collect();
        (!trouble.is_empty()).then(|| {
            let Attack {
                operation, script, ..
            } = self.attack;
            let (what, way) = (trouble.join(", "), self.way);
            format!("{} {script} {way}: {what}\n{tail}", operation[0])
        })
    }
}

/// Counts the runs, and fails where anything was wrong or a node did not answer badly.
#[track_caller]
pub fn end(lab: &Lab, nodes: &[&str], done: Vec<(Told, Option<String>)>, wanted: usize) {
    let most = done.iter().map(|(told, _)| told.memory).max();
    let ways: BTreeSet<&str> = done.iter().map(|(told, _)| told.way).collect();
    let scripts: BTreeSet<&str> = done.iter().map(|(told, _)| told.attack.script).collect();
    println!(
        "{} runs, {} scripts, {} ways, at most {} KiB",
        done.len(),
        scripts.len(),
        ways.len(),
        most.unwrap()
    );
    assert_eq!(done.len(), wanted);
    let mut idle: Vec<usize> = done.iter().map(|(told, _)| told.run).collect();
    for node in nodes {
        idle = self::idle(lab, node, &idle);
    }
    let mut wrong = Vec::new();
    for (told, trouble) in done {
        if idle.contains(&told.run) {
            wrong.extend(told.words(&["answers well".to_owned()]));
        }
        wrong.extend(trouble);
    }
    assert!(
        wrong.is_empty(),
        "{} of {wanted}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
