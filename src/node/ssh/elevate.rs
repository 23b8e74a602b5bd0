//! Becoming root on a node, by sudo with a password that is known to be right.
//!
//! sudo reads the password from its standard input, which afterwards belongs
//! to the program. So that nothing else is ever taken for a password, nothing
//! but that is written until the program has said that it runs. The password
//! itself is written at once: where sudo has come to ask for none, the program
//! can read it (doc/security.md).

use std::sync::Arc;
use std::time::Duration;

use openssh::{ChildStderr, ChildStdin, ChildStdout};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

use super::answer::Answer;
use super::{Child, Connection, MINUTE, Output, Script, bounded, lost, within};
use crate::cluster::Name;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// What sudo prints to ask for the password.
const PROMPT: &str = "nixcfg-asks-for-the-password:";
/// What the elevated side prints once it runs.
const READY: &str = "nixcfg-is-root";
/// Says so, then becomes the program.
const ANNOUNCE: &str = r#"printf 'nixcfg-is-root\n'; exec "$@""#;
/// Says so, then is the script that standard input begins with, `$1` bytes of
/// it: sudo notes command lines in the node's journal, which whole scripts would
/// make unreadable. One that did not come whole does nothing.
const OBEY: &str = r#"printf 'nixcfg-is-root\n'; text=$(head -c "$1"); shift; case $text in *'# whole') eval "$text" ;; *) exit 255 ;; esac"#;
/// The last line of a script on standard input.
const WHOLE: &str = "\n# whole";
/// How long sudo may take to make root: what it asks (PAM, a directory) may not answer at all.
const LONGEST_SUDO: Duration = Duration::from_secs(90);
/// How long a program may take to end that has nothing more to say.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How root is had on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elevation {
    /// The login is root's.
    Root,
    /// sudo asks for nothing.
    Passwordless,
    /// sudo asks for this password, which has been tried.
    Password(Arc<Secret>),
}

impl Elevation {
    /// The argument vector that runs `argv` as root, and the line for sudo to read.
    ///
    /// `-k` makes sudo ask even where it remembers a password: otherwise the
    /// line would be the program's to read.
    pub fn wrap<'a>(&'a self, argv: &[&'a str]) -> (Vec<&'a str>, Option<&'a Secret>) {
        self.shell(ANNOUNCE, "nixcfg", argv)
    }

    fn shell<'a>(
        &'a self,
        text: &'a str,
        name: &'a str,
        args: &[&'a str],
    ) -> (Vec<&'a str>, Option<&'a Secret>) {
        let mut wrapped: Vec<&str> = match self {
            Elevation::Root => vec![],
            Elevation::Passwordless => vec!["sudo", "-n", "--"],
            Elevation::Password(_) => vec!["sudo", "-k", "-S", "-p", PROMPT, "--"],
        };
        wrapped.extend(["sh", "-c", text, name]);
        wrapped.extend(args);
        let secret = match self {
            Elevation::Password(secret) => Some(&**secret),
            _ => None,
        };
        (wrapped, secret)
    }
}

/// A program that runs as root on a node, with its streams.
pub struct RootChild {
    node: Name,
    child: Child,
    /// What the program reads; sudo's line has been taken from it.
    pub stdin: ChildStdin,
    /// What the program writes, from its first byte on.
    pub stdout: BufReader<ChildStdout>,
    stderr: JoinHandle<String>,
    /// Its name in errors.
    name: String,
    /// How long it may take, once all of its input is there.
    time: Duration,
}

impl Connection {
    /// Starts a program as root and waits until it runs.
    pub async fn spawn_root(&self, how: &Elevation, argv: &[&str]) -> Result<RootChild> {
        self.become_root(how.wrap(argv)).await
    }

    /// Starts a script as root and waits until it runs.
    pub async fn spawn_root_script(
        &self,
        how: &Elevation,
        script: Script,
        args: &[&str],
    ) -> Result<RootChild> {
        let text = [script.text, WHOLE].concat();
        let size = text.len().to_string();
        let args = [&[size.as_str()], args].concat();
        let wrapped = how.shell(OBEY, script.name, &args);
        let mut child = self.become_root(wrapped).await?;
        child.name = script.name.to_owned();
        child.time = script.within();
        within(self.node(), script.name, child.time, async {
            // One that is gone already says why itself.
            let _ = child.stdin.write_all(text.as_bytes()).await;
            Ok(())
        })
        .await?;
        Ok(child)
    }

    async fn become_root(&self, (argv, secret): (Vec<&str>, Option<&Secret>)) -> Result<RootChild> {
        let mut child = self.spawn(&argv).await?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        ) else {
            return Err(Error::unexpected("a command without streams").on(self.node()));
        };
        if let Some(secret) = secret {
            let line = zeroize::Zeroizing::new(format!("{}\n", secret.expose()));
            // If sudo is gone already, it says why on its standard error.
            let _ = stdin.write_all(line.as_bytes()).await;
        }
        let mut stdout = BufReader::new(stdout);
        let (again, asked_again) = tokio::sync::oneshot::channel();
        let stderr = tokio::spawn(collect(stderr, again));
        let mut first = Vec::new();
        // Other words than those that are waited for are as many as these at most.
        let most = READY.len() + 2;
        let ready = async { bounded::until_newline(&mut stdout, &mut first, most).await };
        let refused = tokio::select! {
            read = ready => !matches!(read, Ok(n) if n > 0),
            Ok(()) = asked_again => true,
            () = tokio::time::sleep(LONGEST_SUDO) => {
                stderr.abort();
                let said = format!("sudo says nothing for {} seconds", LONGEST_SUDO.as_secs());
                return Err(Error::new(Kind::SudoRefused, "cannot become root")
                    .on(self.node())
                    .saying(said));
            }
        };
        if refused || first.trim_ascii_end() != READY.as_bytes() {
            // Without more input sudo cannot try, and count, another password.
            drop((stdin, stdout));
            let said = last_words(child, stderr).await;
            return Err(Error::new(Kind::SudoRefused, "cannot become root")
                .on(self.node())
                .saying(said));
        }
        Ok(RootChild {
            node: self.node().clone(),
            child,
            stdin,
            stdout,
            stderr,
            name: argv.last().copied().unwrap_or("sudo").to_owned(),
            time: Duration::from_secs(MINUTE),
        })
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

    /// Runs a script as root and takes any exit code but 0 as an error.
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

    /// Runs a script as root, for its answer.
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

impl RootChild {
    /// Feeds a script and reads it to its end; any exit code but 0 is an error.
    pub async fn finish_ok(self, script: Script, input: &[u8]) -> Result<String> {
        let node = self.node.clone();
        let output = self.finish(input).await?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(super::failed(&node, script, &output)),
        }
    }

    /// Feeds the program and reads it to its end.
    pub async fn finish(self, input: &[u8]) -> Result<Output> {
        let Self {
            node,
            child,
            mut stdin,
            stdout,
            stderr,
            name,
            time,
        } = self;
        let feed = async move {
            // A program that ends without reading its input says why itself.
            let _ = stdin.write_all(input).await;
            Ok(())
        };
        within(&node, &name, time, async {
            let ((), stdout) = tokio::try_join!(feed, bounded::whole(&node, stdout))?;
            let status = child.wait().await.map_err(|e| lost(&node, &e))?;
            Ok(Output {
                status,
                stdout,
                stderr: stderr.await.unwrap_or_default(),
            })
        })
        .await
    }

    /// Takes the streams apart, for a caller that relays them; the last part
    /// gives what the program said on its standard error, once it has ended.
    pub fn into_parts(self) -> (ChildStdin, BufReader<ChildStdout>, Ended) {
        let ended = Ended {
            node: self.node,
            child: self.child,
            stderr: self.stderr,
        };
        (self.stdin, self.stdout, ended)
    }
}

/// The end of a relayed program.
pub struct Ended {
    node: Name,
    child: Child,
    stderr: JoinHandle<String>,
}

impl Ended {
    /// Waits for the program and gives its last words.
    pub async fn last_words(self) -> String {
        last_words(self.child, self.stderr).await
    }

    /// Waits for the program; its exit code, where it has one, and its standard error.
    pub async fn outcome(self) -> Result<(Option<i32>, String)> {
        let status = self.child.wait().await.map_err(|e| lost(&self.node, &e))?;
        Ok((status.code(), self.stderr.await.unwrap_or_default()))
    }
}

/// What a program said that has nothing more to do; nothing of one that does not end.
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

/// Reads standard error without the prompts; says so when sudo asks a second time.
async fn collect(stderr: ChildStderr, again: tokio::sync::oneshot::Sender<()>) -> String {
    let mut again = Some(again);
    let mut text = Vec::new();
    let mut stderr = BufReader::new(stderr);
    loop {
        let chunk = match stderr.fill_buf().await {
            Ok(chunk) if !chunk.is_empty() => chunk,
            _ => break,
        };
        let room = bounded::MOST_ERRORS.saturating_sub(text.len());
        text.extend_from_slice(&chunk[..chunk.len().min(room)]);
        let n = chunk.len();
        stderr.consume(n);
        if String::from_utf8_lossy(&text).matches(PROMPT).count() > 1
            && let Some(again) = again.take()
        {
            let _ = again.send(());
        }
    }
    String::from_utf8_lossy(&text)
        .replace(PROMPT, "")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_on_standard_input_and_never_among_the_arguments() {
        let how = Elevation::Password(Arc::new(Secret::new("hunter2".into())));
        let (argv, secret) = how.wrap(&["nix-daemon", "--stdio"]);
        assert_eq!(
            argv,
            [
                "sudo",
                "-k",
                "-S",
                "-p",
                PROMPT,
                "--",
                "sh",
                "-c",
                ANNOUNCE,
                "nixcfg",
                "nix-daemon",
                "--stdio"
            ]
        );
        assert_eq!(secret.unwrap().expose(), "hunter2");
    }

    #[test]
    fn a_script_is_run_only_if_it_came_whole_and_reads_what_comes_after_it() {
        let run = |sent: &str| {
            let script = ["read -r line\necho \"$0 $1 $line\"", WHOLE].concat();
            let size = script.len().to_string();
            let sent = sent.replace("SCRIPT", &script);
            let mut child = std::process::Command::new("sh")
                .args(["-c", OBEY, "name", &size, "argument"])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut stdin, sent.as_bytes()).unwrap();
            drop(stdin);
            let output = child.wait_with_output().unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stdout).unwrap(),
            )
        };
        let ready = format!("{READY}\n");
        let done = format!("{READY}\nname argument input\n");
        assert_eq!(run("SCRIPTinput\n"), (Some(0), done));
        assert_eq!(run("read -r line\necho"), (Some(255), ready));
    }

    #[test]
    fn a_node_that_asks_for_nothing_is_given_nothing() {
        for how in [Elevation::Root, Elevation::Passwordless] {
            assert!(how.wrap(&["true"]).1.is_none());
        }
        assert_eq!(Elevation::Root.wrap(&["true"]).0[0], "sh");
    }

    #[test]
    fn the_announcement_says_what_is_waited_for() {
        assert!(ANNOUNCE.contains(READY));
    }
}
