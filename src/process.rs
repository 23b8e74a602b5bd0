//! Child processes on the operator's machine, with arguments and standard input as values.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::event::commands;
use crate::event::trace::Step;

/// How many last lines of a child's output an error has.
const TAIL_LINES: usize = 40;
/// The longest line of a child's standard error, in bytes; a longer one comes in parts.
const LINE: u64 = 256 << 10;
/// The longest output of a child, in bytes: more than Nix prints of the largest system.
const MOST: usize = 512 << 20;

/// A command to run: program, arguments, standard input.
///
/// Only `stdin` may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    not_env: Vec<OsString>,
    dir: Option<PathBuf>,
    stdin: Zeroizing<Vec<u8>>,
    most: usize,
    time: Option<Duration>,
    memory: Option<u64>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Command({})", self.display())
    }
}

/// The result of a child.
#[derive(Debug)]
pub struct Finished {
    /// Whether it exited with 0.
    pub success: bool,
    /// How it ended, for people: `exit code 1`, `killed by signal 9`.
    pub ended: String,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// The last lines of its standard error.
    pub stderr_tail: String,
}

impl Command {
    /// A command without arguments, found by PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            not_env: Vec::new(),
            dir: None,
            stdin: Zeroizing::default(),
            most: MOST,
            time: None,
            memory: None,
        }
    }

    /// Appends an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Appends arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Removes variables from the child's environment.
    pub fn without_env(mut self, names: &[&str]) -> Self {
        self.not_env.extend(names.iter().map(OsString::from));
        self
    }

    /// Sets the child's working directory.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets the child's standard input, which is wiped afterwards and never shown.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Zeroizing::new(bytes.into());
        self
    }

    /// Limits the child's output, in bytes, and its time: for a child that passes on another
    /// machine's output, and for one that needs not wait.
    pub fn bounded(mut self, most: usize, time: Duration) -> Self {
        (self.most, self.time) = (most, Some(time));
        self
    }

    /// Limits the child's data, in bytes (RLIMIT_DATA, getrlimit(2)), where the system is Linux: for a
    /// child that reserves what another machine tells it to. The limit holds a moment after the
    /// child's start.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The program and what it is to do, such as `nix eval`.
    fn name(&self) -> String {
        let program = Path::new(&self.program);
        let program = program
            .file_name()
            .unwrap_or(&self.program)
            .to_string_lossy();
        let words = self.args.iter().map(|word| word.to_string_lossy());
        // The sub-command of Nix stands after options whose values begin like it.
        let mut words =
            words.skip_while(|word| word.starts_with("--extra") || word.starts_with("nix-command"));
        match (&*program, words.next()) {
            ("nix" | "nix-store" | "git" | "pass" | "gpg", Some(word)) => {
                format!("{program} {word}")
            }
            _ => program.into_owned(),
        }
    }

    /// The command as one would type it.
    pub fn display(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs the command to its end. Calls `line` with each line of its standard error. Dropping the
    /// future kills the child.
    pub async fn run(&self, mut line: impl FnMut(&str) + Send) -> Result<Finished> {
        let Some(time) = self.time else {
            return self.to_its_end(&mut line).await;
        };
        match tokio::time::timeout(time, self.to_its_end(&mut line)).await {
            Ok(result) => result,
            Err(_) => Err(self.failed(&format!("no end within {} seconds", time.as_secs()))),
        }
    }

    /// Takes any function for lines, so that it is compiled once.
    async fn to_its_end(&self, line: &mut (dyn FnMut(&str) + Send)) -> Result<Finished> {
        tracing::debug!(target: commands::TARGET, "{}", self.display());
        let _step = Step::begin(None, self.name());
        let mut command = tokio::process::Command::new(&self.program);
        for name in &self.not_env {
            command.env_remove(name);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut child = command
            .args(&self.args)
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(if self.stdin.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| self.cannot_start(&e))?;
        if let (Some(bytes), Some(pid)) = (self.memory, child.id()) {
            limit_data(pid, bytes).map_err(|e| self.failed(&format!("no limit of memory: {e}")))?;
        }
        let stdin = child.stdin.take();
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(self.failed("its output cannot be read"));
        };
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A child that ends without reading its input reports the reason itself.
                let _ = stdin.write_all(&self.stdin).await;
            }
            Ok(())
        };
        let mut out = Vec::new();
        let mut tail = Tail::new(TAIL_LINES);
        let drain = async {
            let mut stderr = BufReader::new(stderr);
            let mut bytes = Vec::new();
            while (&mut stderr)
                .take(LINE)
                .read_until(b'\n', &mut bytes)
                .await?
                > 0
            {
                let text = String::from_utf8_lossy(&bytes);
                let text = text.trim_end_matches('\n');
                line(text);
                tail.push(text);
                bytes.clear();
            }
            Ok(())
        };
        let read = async {
            let most = self.most as u64 + 1;
            stdout.take(most).read_to_end(&mut out).await?;
            if out.len() > self.most {
                Err(std::io::Error::other(format!(
                    "prints more than {} bytes",
                    self.most
                )))
            } else {
                Ok(())
            }
        };
        let wait = async { child.wait().await };
        let (_, (), (), status) = tokio::try_join!(feed, drain, read, wait)
            .map_err(|e: std::io::Error| self.failed(&format!("lost: {e}")))?;
        Ok(Finished {
            success: status.success(),
            ended: ended(status),
            stdout: out,
            stderr_tail: tail.text(),
        })
    }

    /// Runs the command and returns its standard output. Fails if the command does.
    pub async fn output(&self) -> Result<Vec<u8>> {
        let finished = self.run(|_| {}).await?;
        if finished.success {
            Ok(finished.stdout)
        } else {
            Err(self.failed(&finished.ended).saying(finished.stderr_tail))
        }
    }

    /// The error of this command, which failed in the way `how`.
    pub fn failed(&self, how: &str) -> Error {
        Error::unexpected(format!("{} failed ({how})", self.program.to_string_lossy()))
            .running(self.display())
    }

    fn cannot_start(&self, e: &std::io::Error) -> Error {
        let program = self.program.to_string_lossy();
        if e.kind() == std::io::ErrorKind::NotFound {
            Error::new(Kind::NotOnPath, format!("{program} is not on PATH"))
                .help(format!("install {program}, or run this operation by the flake's app (`nix run .#…`), which brings it"))
        } else {
            Error::unexpected(format!("cannot start {program}: {e}")).running(self.display())
        }
    }
}

/// Sets the soft limit of a child's data, below the hard one.
#[cfg(target_os = "linux")]
fn limit_data(pid: u32, bytes: u64) -> std::io::Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let maximum = getrlimit(Resource::Data).maximum;
    let limit = Rlimit {
        current: Some(maximum.map_or(bytes, |most| most.min(bytes))),
        maximum,
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match prlimit(pid, Resource::Data, limit) {
        // It has ended already.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        result => result.map(|_| ()).map_err(Into::into),
    }
}

#[cfg(not(target_os = "linux"))]
fn limit_data(_: u32, _: u64) -> std::io::Result<()> {
    Ok(())
}

fn ended(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Quotes a word for a POSIX shell, for display only.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The last lines of a stream.
#[derive(Debug)]
pub struct Tail {
    lines: std::collections::VecDeque<String>,
    most: usize,
}

impl Tail {
    /// Keeps at most `most` lines.
    pub fn new(most: usize) -> Self {
        Self {
            lines: std::collections::VecDeque::with_capacity(most),
            most,
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        if self.lines.len() == self.most {
            self.lines.pop_front();
        }
        self.lines.push_back(line.trim_end_matches('\r').to_owned());
    }

    /// The lines that were kept.
    pub fn text(&self) -> String {
        self.lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_by_what_it_does() {
        let named = |words: &[&str]| Command::new(words[0]).args(&words[1..]).name();
        let features = [
            "/bin/nix",
            "--extra-experimental-features",
            "nix-command flakes",
            "eval",
        ];
        assert_eq!(named(&features), "nix eval");
        assert_eq!(
            named(&["nix-store", "--realise", "/nix/store/x"]),
            "nix-store --realise"
        );
        assert_eq!(named(&["ssh", "-l", "alice", "alder"]), "ssh");
        assert_eq!(named(&["pass"]), "pass");
    }

    #[tokio::test]
    async fn stdin_reaches_the_child_and_its_output_comes_back() {
        let command = Command::new("cat").stdin("hello");
        assert_eq!(command.output().await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn a_child_that_prints_or_waits_without_end_is_ended() {
        let time = Duration::from_secs(600);
        let yes = Command::new("yes").bounded(1 << 20, time);
        let error = yes.output().await.unwrap_err();
        assert!(error.what.contains("more than 1048576 bytes"), "{error}");
        let complaints = Command::new("sh").args(["-c", "head -c 3000000 /dev/zero >&2; exit 3"]);
        let error = complaints.output().await.unwrap_err();
        assert!(error.what.contains("exit code 3"), "{error}");
        let waits = Command::new("sleep").arg("600");
        let error = waits
            .bounded(1, Duration::from_millis(1))
            .output()
            .await
            .unwrap_err();
        assert!(error.what.contains("no end within"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_child_reserves_no_more_than_it_may() {
        // It waits for its limit before it looks.
        let script = "until [ $(ulimit -d) = 65536 ]; do sleep 0.01; done; head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null";
        let limited = Command::new("sh").args(["-c", script]);
        let error = limited.memory(64 << 20).output().await.unwrap_err();
        assert!(error.what.contains("exit code 1"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_help() {
        let error = Command::new("no-such-program-here")
            .output()
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::NotOnPath);
        assert!(error.what.contains("no-such-program-here is not on PATH"));
    }

    #[tokio::test]
    async fn a_failing_child_shows_its_code_and_last_words() {
        let error = Command::new("sh")
            .args(["-c", "echo wrong >&2; exit 7"])
            .output()
            .await
            .unwrap_err();
        assert!(error.what.contains("exit code 7"), "{error}");
        assert_eq!(error.output.as_deref(), Some("wrong"));
    }

    #[test]
    fn what_a_command_reads_is_not_shown() {
        let command = Command::new("cat").arg("-").stdin("hunter2");
        assert_eq!(format!("{command:?}"), "Command(cat -)");
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let shown = Command::new("nix")
            .args(["eval", ".#a b", "it's"])
            .display();
        assert_eq!(shown, r"nix eval '.#a b' 'it'\''s'");
    }

    #[test]
    fn a_tail_keeps_the_last_lines_only() {
        let mut tail = Tail::new(2);
        for line in ["a", "b", "c"] {
            tail.push(line);
        }
        assert_eq!(tail.text(), "b\nc");
    }
}
