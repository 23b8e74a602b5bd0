//! Starts programs on a node, and becomes root there by sudo.
//!
//! sudo reads the password from its standard input, which then belongs to the program. So the
//! password is written after sudo's own prompt has been seen, and never otherwise. Nothing else is
//! written until the program has printed its mark.

use std::sync::Arc;
use std::time::Duration;

use openssh::{ChildStderr, ChildStdin, ChildStdout};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::answer::Answer;
use super::begin::{ANNOUNCE, Mark, Noise, OBEY, WHOLE, not_begun};
use super::sudo::{self, Prompt, Refusal, Sudo};
use super::{BEGIN, Child, Connection, MINUTE, Output, Script, at_most, bounded, lost, within};
use crate::cluster::Name;
use crate::error::{Error, Kind, Result};
use crate::event::trace::Step;
use crate::secret::Secret;

/// Prints its process number, then becomes sudo. Arguments: mark, sudo and its arguments.
const BECOME: &str = r#"printf '%s %s\n' "$1" "$$"; shift; exec "$@""#;
/// The same, but first reports a login of root or a node without sudo. sudo prints its messages in
/// English.
const TRY: &str = r#"printf '%s %s\n' "$1" "$$"
if [ "$(id -u)" = 0 ]; then echo "$1 root"; exit; fi
if ! command -v sudo >/dev/null 2>&1; then echo "$1 absent"; exit; fi
shift
exec env LC_ALL=C "$@""#;
/// How long sudo may take: PAM or a directory may never answer.
const LONGEST_SUDO: Duration = Duration::from_secs(90);
/// How long a program may take to end after its output.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How long a script, which gives a sign of life every ten seconds, may be silent.
const SILENCE: Duration = Duration::from_secs(90);

/// How to become root on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elevation {
    /// The login is root's.
    Root,
    /// sudo asks for nothing.
    Passwordless,
    /// sudo asks for this password, which is known to be right.
    Password(Arc<Secret>),
}

impl Elevation {
    /// The words before a command, and the password that sudo may ask for.
    fn words(&self, mark: &Mark) -> (Vec<String>, Option<&Secret>) {
        match self {
            Elevation::Root => (Vec::new(), None),
            Elevation::Passwordless => (with_sudo(BECOME, mark, false), None),
            Elevation::Password(secret) => (with_sudo(BECOME, mark, true), Some(secret)),
        }
    }
}

/// The words before a command that sudo starts.
///
/// `-k` makes sudo ask even if it remembers a password.
fn with_sudo(text: &str, mark: &Mark, password: bool) -> Vec<String> {
    let mut words = vec!["sh", "-c", text, "nixcfg-sudo", mark.as_str()];
    let prompt = sudo::prompt(mark);
    if password {
        words.extend(["sudo", "-k", "-S", "-p", &prompt, "--"])
    } else {
        words.extend(["sudo", "-k", "-n", "--"])
    }
    words.into_iter().map(str::to_owned).collect()
}

/// A running program on a node, with its streams.
pub struct Begun {
    node: Name,
    child: Child,
    /// The program's input; sudo has read the password's line.
    pub stdin: ChildStdin,
    /// The program's output, from its first byte on.
    pub stdout: BufReader<ChildStdout>,
    stderr: JoinHandle<String>,
    /// Whether sudo asked for the password.
    asked: bool,
    /// Its name in errors.
    name: String,
    /// How long it may take after its input is complete.
    time: Duration,
    /// How long it may be silent.
    silence: Option<Duration>,
    /// From its start to its end.
    step: Step,
}

/// The result of starting a command.
enum Outcome {
    Begun(Box<Begun>),
    /// It did not begin.
    Not(NotBegun),
}

/// A command that did not begin.
#[derive(Default)]
struct NotBegun {
    /// What the node printed in place of sudo.
    told: Option<String>,
    /// Whether the login shell started anything.
    reached: bool,
    /// The first line of other output.
    noise: Option<String>,
    /// What sudo asked for.
    asked: Vec<Prompt>,
    /// The rest of standard error.
    said: String,
}

impl Connection {
    /// Starts a program as root and waits until it runs.
    pub async fn spawn_root(&self, how: &Elevation, argv: &[&str]) -> Result<Begun> {
        let mark = Mark::new()?;
        let mut words = vec!["sh", "-c", ANNOUNCE, "nixcfg", mark.as_str()];
        words.extend(argv);
        let mut begun = self.begin_root(how, mark.clone(), &words).await?;
        begun.name = argv.first().copied().unwrap_or("a command").to_owned();
        Ok(begun)
    }

    /// Starts a script as root and waits until it runs.
    pub async fn spawn_root_script(
        &self,
        how: &Elevation,
        script: Script,
        args: &[&str],
    ) -> Result<Begun> {
        let mark = Mark::new()?;
        let (text, size) = whole(script);
        let words = obey(script, &mark, &size, args);
        let begun = self.begin_root(how, mark.clone(), &words).await?;
        begun.obey(script, &text).await
    }

    /// Starts a script as the operator's own user and waits until it runs.
    pub async fn spawn_script(&self, script: Script, args: &[&str]) -> Result<Begun> {
        let mark = Mark::new()?;
        let (text, size) = whole(script);
        let words = obey(script, &mark, &size, args);
        match self.begin(&words, &mark, None, BEGIN).await? {
            Outcome::Begun(begun) => begun.obey(script, &text).await,
            Outcome::Not(not) => Err(not_begun(self.node(), not.noise.as_deref(), &not.said)),
        }
    }

    /// Starts a program as the operator's own user, and returns its streams once it runs.
    pub async fn spawn_own(
        &self,
        argv: &[&str],
    ) -> Result<(Child, ChildStdin, BufReader<ChildStdout>, ChildStderr)> {
        let mark = Mark::new()?;
        let mut words = vec!["sh", "-c", ANNOUNCE, "nixcfg", mark.as_str()];
        words.extend(argv);
        let (child, stdin, stdout, stderr) = self.streams(&words).await?;
        let mut stdout = BufReader::new(stdout);
        let mut noise = Noise::new(&mark);
        let ready = async { Ok(noise.next(&mut stdout).await) };
        if within(self.node(), "a command", BEGIN, ready)
            .await?
            .is_none()
        {
            drop(stdin);
            let (prompts, _) = mpsc::unbounded_channel();
            let stderr = tokio::spawn(sudo::listen(stderr, mark.clone(), prompts));
            let said = last_words(child, stderr).await;
            return Err(not_begun(self.node(), noise.first.as_deref(), &said));
        }
        Ok((child, stdin, stdout, stderr))
    }

    /// Finds out how to become root, by trying; tries a password once.
    pub async fn try_sudo(&self, password: Option<&Secret>) -> Result<Sudo> {
        let mark = Mark::new()?;
        let mut words = with_sudo(TRY, &mark, password.is_some());
        let program = ["sh", "-c", ANNOUNCE, "nixcfg-try", mark.as_str(), "true"];
        words.extend(program.map(str::to_owned));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let not = match self.begin(&words, &mark, password, LONGEST_SUDO).await? {
            Outcome::Begun(begun) => {
                let asked = begun.asked;
                begun.finish(b"").await?;
                return Ok(if asked {
                    Sudo::Right
                } else {
                    Sudo::Passwordless
                });
            }
            Outcome::Not(not) => not,
        };
        match not.told.as_deref() {
            Some("root") => return Ok(Sudo::Root),
            Some("absent") => return Ok(Sudo::Absent),
            _ if !not.reached => {
                return Err(not_begun(self.node(), not.noise.as_deref(), &not.said));
            }
            _ => {}
        }
        let refusal = Refusal::new(&not.asked, not.said);
        Ok(if password.is_none() && refusal.wants_password() {
            Sudo::Wanted
        } else {
            Sudo::Refused(refusal)
        })
    }

    async fn begin_root(&self, how: &Elevation, mark: Mark, command: &[&str]) -> Result<Begun> {
        let (words, secret) = how.words(&mark);
        let mut argv: Vec<&str> = words.iter().map(String::as_str).collect();
        argv.extend(command);
        match self.begin(&argv, &mark, secret, LONGEST_SUDO).await? {
            Outcome::Begun(begun) => Ok(*begun),
            Outcome::Not(not) if !not.reached && !words.is_empty() => {
                Err(not_begun(self.node(), not.noise.as_deref(), &not.said))
            }
            Outcome::Not(not) => {
                let refusal = Refusal::new(&not.asked, not.said);
                let error = Error::new(Kind::SudoRefused, "cannot become root").on(self.node());
                Err(error.saying(refusal.said))
            }
        }
    }

    async fn streams(
        &self,
        argv: &[&str],
    ) -> Result<(Child, ChildStdin, ChildStdout, ChildStderr)> {
        let mut child = self.spawn(argv).await?;
        match (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        ) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok((child, stdin, stdout, stderr)),
            _ => Err(Error::unexpected("a command without streams").on(self.node())),
        }
    }

    /// Starts a command and waits for its mark; writes the secret once sudo asks for it.
    async fn begin(
        &self,
        argv: &[&str],
        mark: &Mark,
        secret: Option<&Secret>,
        time: Duration,
    ) -> Result<Outcome> {
        let what = if argv.contains(&"sudo") {
            "sudo"
        } else {
            "start"
        };
        let step = Step::begin(Some(self.node()), what);
        let (child, mut stdin, stdout, stderr) = self.streams(argv).await?;
        let mut stdout = BufReader::new(stdout);
        let (prompts, mut prompted) = mpsc::unbounded_channel();
        let stderr = tokio::spawn(sudo::listen(stderr, mark.clone(), prompts));
        let mut noise = Noise::new(mark);
        let mut not = NotBegun::default();
        let mut process = None;
        let time = at_most("sudo", time);
        let until = tokio::time::Instant::now() + time;
        loop {
            tokio::select! {
                // Prompts come first: sudo may have asked, and the mark may be here too.
                biased;
                Some(prompt) = prompted.recv() => {
                    not.asked.push(prompt);
                    let Some(secret) = secret.filter(|_| not.asked.len() == 1) else { break };
                    let line = zeroize::Zeroizing::new(format!("{}\n", secret.expose()));
                    // If sudo has ended, its standard error says why.
                    let _ = stdin.write_all(line.as_bytes()).await;
                }
                told = noise.next(&mut stdout) => match told {
                    Some(told) if told.is_empty() => {
                        return Ok(Outcome::Begun(Box::new(Begun {
                            node: self.node().clone(),
                            child,
                            stdin,
                            stdout,
                            stderr,
                            asked: !not.asked.is_empty(),
                            name: "a command".to_owned(),
                            time: Duration::from_secs(MINUTE),
                            silence: None,
                            step,
                        })));
                    }
                    Some(told) => {
                        not.reached = true;
                        match told.parse::<u32>() {
                            Ok(number) => process = Some(number),
                            Err(_) => not.told = Some(told),
                        }
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(until) => {
                    stderr.abort();
                    return Err(silent(self.node(), &not, time));
                }
            }
        }
        not.noise = noise.first.take();
        // sudo-rs takes the end of its input as another password, which PAM counts.
        if let (Some(Prompt { rs: true, .. }), Some(process)) = (not.asked.last(), process)
            && not.asked.len() > 1
        {
            let _ = tokio::time::timeout(LAST_WORDS, self.kill(process)).await;
        }
        // Without input sudo cannot try, and count, another password.
        drop((stdin, stdout));
        not.said = last_words(child, stderr).await;
        Ok(Outcome::Not(not))
    }

    /// Kills a process of the operator's own on the node.
    async fn kill(&self, process: u32) -> Result<()> {
        let child = self.spawn(&["kill", "-KILL", &process.to_string()]).await?;
        child.wait().await.map_err(|e| lost(self.node(), &e))?;
        Ok(())
    }

    /// Runs a script as root to its end. `stdin` may hold secrets.
    pub async fn run_root(
        &self,
        how: &Elevation,
        script: Script,
        args: &[&str],
        stdin: &[u8],
    ) -> Result<Output> {
        let child = self.spawn_root_script(how, script, args).await?;
        child.finish(stdin).await
    }

    /// Runs a script as root. Fails unless its exit code is 0.
    pub async fn run_root_ok(
        &self,
        how: &Elevation,
        script: Script,
        args: &[&str],
        stdin: &[u8],
    ) -> Result<String> {
        let child = self.spawn_root_script(how, script, args).await?;
        child.finish_ok(script, stdin).await
    }

    /// Runs a script as root, and returns its answer.
    pub async fn ask_root(
        &self,
        how: &Elevation,
        script: Script,
        args: &[&str],
        stdin: &[u8],
    ) -> Result<Answer> {
        let printed = self.run_root_ok(how, script, args, stdin).await?;
        Answer::read(self.node(), script.name, &printed)
    }
}

impl Begun {
    /// Sends the script to run.
    async fn obey(mut self, script: Script, text: &str) -> Result<Self> {
        self.name = script.name.to_owned();
        self.step = Step::begin(Some(&self.node), script.name);
        self.time = script.within();
        within(&self.node, script.name, self.time, async {
            // If the program has ended, its standard error says why.
            let _ = self.stdin.write_all(text.as_bytes()).await;
            Ok(())
        })
        .await?;
        Ok(self)
    }

    /// For a script that gives signs of life (`beat` in way-back.sh): gives it up when they stop.
    pub fn beating(mut self) -> Self {
        self.silence = Some(at_most(&self.name, SILENCE));
        self
    }

    /// Writes the script's input and reads its output to the end. Fails unless its exit code is 0.
    pub async fn finish_ok(self, script: Script, input: &[u8]) -> Result<String> {
        let node = self.node.clone();
        let output = self.finish(input).await?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(super::failed(&node, script, &output))
        }
    }

    /// Writes the program's input and reads its output to the end.
    pub async fn finish(self, input: &[u8]) -> Result<Output> {
        let Self {
            node,
            child,
            mut stdin,
            stdout,
            stderr,
            name,
            time,
            silence,
            ..
        } = self;
        let feed = async move {
            // If the program ends without reading its input, its standard error says why.
            let _ = stdin.write_all(input).await;
            Ok(())
        };
        within(&node, &name, time, async {
            let read = async {
                match silence {
                    Some(silence) => bounded::beating(&node, stdout, silence).await,
                    None => bounded::whole(&node, stdout).await,
                }
            };
            let ((), stdout) = tokio::try_join!(feed, read)?;
            let status = child.wait().await.map_err(|e| lost(&node, &e))?;
            Ok(Output {
                status,
                stdout,
                stderr: stderr.await.unwrap_or_default(),
            })
        })
        .await
    }

    /// The streams, for a caller that relays them. The last part gives standard error after the
    /// end.
    pub fn into_parts(self) -> (ChildStdin, BufReader<ChildStdout>, Ended) {
        let ended = Ended {
            node: self.node,
            child: self.child,
            stderr: self.stderr,
            _step: self.step,
        };
        (self.stdin, self.stdout, ended)
    }
}

/// The end of a relayed program.
pub struct Ended {
    node: Name,
    child: Child,
    stderr: JoinHandle<String>,
    _step: Step,
}

impl Ended {
    /// Waits for the program's end, and returns its standard error.
    pub async fn last_words(self) -> String {
        last_words(self.child, self.stderr).await
    }

    /// Waits for the program's end, and returns its exit code, if it has one, and its standard
    /// error.
    pub async fn outcome(self) -> Result<(Option<i32>, String)> {
        let status = self.child.wait().await.map_err(|e| lost(&self.node, &e))?;
        Ok((status.code(), self.stderr.await.unwrap_or_default()))
    }
}

/// The standard error of a program that should end; empty if it does not.
async fn last_words(child: Child, mut stderr: JoinHandle<String>) -> String {
    let words = async {
        let _ = child.wait().await;
        (&mut stderr).await.unwrap_or_default()
    };
    match tokio::time::timeout(LAST_WORDS, words).await {
        Ok(said) => said,
        Err(_) => {
            stderr.abort();
            String::new()
        }
    }
}

/// The script's text to send, and its size in bytes.
fn whole(script: Script) -> (String, String) {
    let text = [&script.text(), WHOLE].concat();
    let size = text.len().to_string();
    (text, size)
}

/// The command that runs a script from standard input.
fn obey<'a>(script: Script, mark: &'a Mark, size: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["sh", "-c", OBEY, script.name, mark.as_str(), size];
    words.extend(args);
    words
}

/// The error of a node that takes too long to begin.
fn silent(node: &Name, not: &NotBegun, time: Duration) -> Error {
    let seconds = time.as_secs();
    if not.reached {
        Error::new(Kind::SudoRefused, "cannot become root")
            .on(node)
            .saying(format!("sudo says nothing for {seconds} seconds"))
            .help("does it ask for more than a password, or ask a directory that does not answer?")
    } else {
        Error::new(
            Kind::NoAnswer,
            format!("a command did not begin within {seconds} seconds"),
        )
        .on(node)
        .help("the node may be frozen or overloaded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_among_the_arguments() {
        let mark = Mark::new().unwrap();
        let how = Elevation::Password(Arc::new(Secret::new("hunter2".into())));
        let (words, secret) = how.words(&mark);
        let prompt = sudo::prompt(&mark);
        assert_eq!(words[5..], ["sudo", "-k", "-S", "-p", &prompt, "--"]);
        assert!(!words.concat().contains("hunter2"));
        assert_eq!(secret.unwrap().expose(), "hunter2");
    }

    #[test]
    fn a_node_that_asks_for_nothing_is_given_nothing() {
        let mark = Mark::new().unwrap();
        for how in [Elevation::Root, Elevation::Passwordless] {
            assert!(how.words(&mark).1.is_none());
        }
        assert!(Elevation::Root.words(&mark).0.is_empty());
    }
}
