//! Connections to nodes: one login a node and run, by the operator's own
//! OpenSSH and the cluster's `ssh_config`; every command rides on it.

pub mod answer;
pub mod bounded;
pub mod elevate;
mod error;
pub(crate) mod login;
mod master;
mod patience;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use openssh::{ControlPersist, ForwardType, KnownHosts, SessionBuilder, Socket, Stdio};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::cluster::{self, Name};
use crate::error::{Context, Error, Kind, Result};
use crate::private;
use crate::process::{self, Tail};
use answer::Answer;
use login::{Login, own_config_files};

pub use error::{cannot_connect, lost};
pub use patience::Patience;

/// How long a master outlives its last command, should the tool be killed.
const LINGER_SECONDS: usize = 30;
/// A Unix socket's path has at most 104 bytes on some systems; OpenSSH adds 17 while it makes one.
const LONGEST_FOLDER: usize = 48;

/// How nodes are reached.
#[derive(Debug, Clone)]
pub struct Access {
    config_file: Option<PathBuf>,
    user: Option<String>,
    patience: Patience,
    folder: Arc<TempDir>,
}

impl Access {
    /// Through `config_file` where there is one, as `user` where one is given.
    pub fn new(
        config_file: Option<PathBuf>,
        user: Option<String>,
        patience: Patience,
    ) -> Result<Self> {
        if let Some(file) = &config_file
            && !file.is_file()
        {
            return Err(
                Error::usage(format!("there is no ssh_config at {}", file.display()))
                    .help("name another with --ssh-config"),
            );
        }
        let base = std::env::temp_dir();
        let base = match base.as_os_str().len() <= LONGEST_FOLDER {
            true => base,
            false => PathBuf::from("/tmp"),
        };
        let folder = private::folder("nixcfg-", &base)
            .context(|| format!("cannot make a private folder in {}", base.display()))?;
        Ok(Self {
            config_file,
            user,
            patience,
            folder: Arc::new(folder),
        })
    }

    /// A private folder of this run (mode 0700), removed at its end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Logs in to a node over a new TCP connection: the `ssh_config`'s own
    /// multiplexing is not used.
    pub async fn connect(&self, node: &Name) -> Result<Connection> {
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(self.patience.connect())
            .server_alive_interval(self.patience.alive())
            .control_directory(self.folder.path());
        if let Some(seconds) = std::num::NonZeroUsize::new(LINGER_SECONDS) {
            builder.control_persist(ControlPersist::IdleFor(seconds));
        }
        if let Some(file) = &self.config_file {
            builder.config_file(file);
        }
        if let Some(user) = &self.user {
            builder.user(user.clone());
        }
        tracing::debug!(%node, "connect");
        let limit = self.patience.whole();
        let connecting = tokio::time::timeout(limit, builder.connect_mux(node.as_str()));
        match connecting.await {
            Ok(Ok(session)) => Ok(Connection {
                node: node.clone(),
                session: Arc::new(session),
                patience: self.patience,
            }),
            Ok(Err(e)) => Err(cannot_connect(node, &self.command(node), &e)),
            Err(_) => Err(error::timed_out(node, &self.command(node), limit)),
        }
    }

    /// The ways to log in to a node whose own configuration may have changed
    /// its port, user or address: as `ssh_config` says, then as `told` says.
    /// `known` are the addresses that it had before. The host key is looked up
    /// under the name that `ssh_config` has it under.
    pub async fn following(
        &self,
        node: &Name,
        told: &cluster::Node,
        known: &[IpAddr],
    ) -> Result<Vec<Self>> {
        let mut ways = vec![self.clone()];
        let resolved = process::Command::new("ssh")
            .args(self.options())
            .args(["-G", node.as_str()]);
        let resolved = String::from_utf8_lossy(&resolved.output().await?).into_owned();
        let login = Login::read(&resolved);
        for (number, other) in login
            .others(self.user.is_some(), told, known)
            .into_iter()
            .enumerate()
        {
            let file = self.folder.path().join(format!("{node}-{number}.conf"));
            let below = match &self.config_file {
                Some(file) => {
                    vec![std::path::absolute(file).context(|| "no working directory".into())?]
                }
                None => own_config_files(),
            };
            std::fs::write(&file, other.config(&login, &below))
                .context(|| format!("cannot write {}", file.display()))?;
            ways.push(Self {
                config_file: Some(file),
                user: self.user.clone(),
                patience: self.patience,
                folder: self.folder.clone(),
            });
        }
        Ok(ways)
    }

    /// The options of `ssh` by which nodes are reached.
    pub fn options(&self) -> Vec<OsString> {
        let config = self.config_file.iter();
        let config = config.flat_map(|file| ["-F".into(), file.into()]);
        let user = self.user.iter();
        config
            .chain(user.flat_map(|user| ["-l".into(), user.into()]))
            .collect()
    }

    /// What an operator would type to get to the node.
    pub fn command(&self, node: &Name) -> String {
        let config = self
            .config_file
            .iter()
            .map(|file| format!("-F {} ", file.display()));
        let user = self.user.iter().map(|user| format!("-l {user} "));
        let options: String = config.chain(user).collect();
        format!("ssh {options}{node}")
    }
}

/// A fixed program for a node's `/bin/sh`; what varies comes as arguments or standard input.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Its name in process lists and errors.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// How long it may take, in seconds. What becomes root before it has a time of its own.
    pub seconds: u64,
}

/// How long a script may take that looks at a node, or makes one small change, in seconds.
pub const MINUTE: u64 = 60;
/// How long a command may take to begin.
const BEGIN: Duration = Duration::from_secs(60);

impl Script {
    /// How long it may take.
    pub const fn within(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The argument vector that runs it.
    pub fn argv<'a>(&self, args: &[&'a str]) -> Vec<&'a str>
    where
        'static: 'a,
    {
        let mut argv = vec!["sh", "-c", self.text, self.name];
        argv.extend(args);
        argv
    }
}

/// What a command on a node left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// The last lines of its standard error.
    pub stderr: String,
}

/// A login on a node.
#[derive(Debug, Clone)]
pub struct Connection {
    node: Name,
    session: Arc<openssh::Session>,
    patience: Patience,
}

/// A command that runs on a node.
pub type Child = openssh::Child<Arc<openssh::Session>>;

impl Connection {
    /// The node at the other end.
    pub fn node(&self) -> &Name {
        &self.node
    }

    /// The master's control socket, on which other programs' `ssh -S` can ride.
    pub fn control_socket(&self) -> &Path {
        self.session.control_socket()
    }

    /// Ends the login at once, and everything that it carries.
    pub fn end(&self) {
        if let Err(e) = master::terminate(self.control_socket()) {
            tracing::debug!(node = %self.node, "master: {e}");
        }
    }

    /// Starts a command with all of its streams piped.
    pub async fn spawn(&self, argv: &[&str]) -> Result<Child> {
        let Some((program, args)) = argv.split_first() else {
            return Err(Error::unexpected("an empty command"));
        };
        tracing::debug!(node = %self.node, program, args = args.len(), "spawn");
        let mut command = self.session.clone().arc_command(*program);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        within(&self.node, program, BEGIN, async {
            command.spawn().await.map_err(|e| lost(&self.node, &e))
        })
        .await
        .map_err(|e| self.explained(e))
    }

    /// Has the master carry connections to the Unix socket `local`, which it
    /// makes, to `host` and `port` as seen from the node.
    pub async fn forward(&self, local: &Path, host: &str, port: u16) -> Result<()> {
        tracing::debug!(node = %self.node, host, port, "forward");
        let local = Socket::UnixSocket { path: local.into() };
        let remote = Socket::TcpSocket {
            host: host.into(),
            port,
        };
        within(&self.node, "a forward", BEGIN, async {
            let asked = self
                .session
                .request_port_forward(ForwardType::Local, local, remote);
            asked.await.map_err(|e| lost(&self.node, &e))
        })
        .await
    }

    /// Runs a script as the operator's own user, to its end.
    pub async fn run(&self, script: Script, args: &[&str], stdin: &[u8]) -> Result<Output> {
        let child = self.spawn(&script.argv(args)).await?;
        let finished = self.finish(child, stdin);
        within(&self.node, script.name, script.within(), finished)
            .await
            .map_err(|e| self.explained(e))
    }

    /// Runs a script and takes any exit code but 0 as an error.
    pub async fn run_ok(&self, script: Script, args: &[&str], stdin: &[u8]) -> Result<String> {
        let output = self.run(script, args, stdin).await?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(failed(&self.node, script, &output))
        }
    }

    /// Runs a script as the operator's own user, for its answer.
    pub async fn ask(&self, script: Script, args: &[&str]) -> Result<Answer> {
        let printed = self.run_ok(script, args, b"").await?;
        Answer::read(&self.node, script.name, &printed)
    }

    /// Feeds a child and reads it to its end.
    async fn finish(&self, mut child: Child, stdin: &[u8]) -> Result<Output> {
        let (input, output, errors) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        let feed = async {
            if let Some(mut input) = input {
                // A command that ends without reading its input says why itself.
                let _ = input.write_all(stdin).await;
            }
        };
        let read = async {
            match output {
                Some(output) => bounded::whole(&self.node, output).await,
                None => Ok(String::new()),
            }
        };
        let complain = async {
            match errors {
                Some(errors) => Ok(bounded::beginning(errors).await),
                None => Ok(String::new()),
            }
        };
        let feed = async {
            feed.await;
            Ok(())
        };
        let ((), stdout, stderr) = tokio::try_join!(feed, read, complain)?;
        let status = child.wait().await.map_err(|e| lost(&self.node, &e))?;
        Ok(Output {
            status,
            stdout,
            stderr: tail(&stderr),
        })
    }
}

/// The error of a script that ended with an exit code.
pub fn failed(node: &Name, script: Script, output: &Output) -> Error {
    let code = output
        .status
        .code()
        .map_or("no exit code".to_owned(), |code| {
            format!("exit code {code}")
        });
    let said = [tail(&output.stdout), output.stderr.clone()]
        .into_iter()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    Error::unexpected(format!("{} failed ({code})", script.name))
        .on(node)
        .saying(said)
}

/// Waits for a node's part in something; an error once its time is over.
pub async fn within<T>(
    node: &Name,
    what: &str,
    time: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(time, work).await {
        Ok(result) => result,
        Err(_) => {
            let what = format!("{what} did not end within {} seconds", time.as_secs());
            let error = Error::new(Kind::NoAnswer, what).on(node);
            Err(error.help("the node may be frozen or overloaded"))
        }
    }
}

/// The last lines of a text that is shown in an error.
pub fn tail(text: &str) -> String {
    let mut tail = Tail::new(40);
    let mut from = text.len().saturating_sub(bounded::MOST_ERRORS);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].lines().for_each(|line| tail.push(line));
    tail.text()
}
