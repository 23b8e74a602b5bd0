//! Connections to nodes: a run logs in once per node, by the operator's own OpenSSH and the
//! cluster's `ssh_config`. All commands use that login.

pub mod answer;
mod begin;
pub mod bounded;
pub mod elevate;
mod error;
pub mod known;
pub(crate) mod login;
mod master;
mod patience;
mod script;
pub mod sudo;
mod user;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use openssh::{ForwardType, Socket, Stdio};
use tempfile::TempDir;

use crate::cluster::{self, Name};
use crate::error::{Context, Error, Kind, Result};
use crate::event::commands;
use crate::event::trace::Step;
use crate::private;
use crate::process::{self, Tail};
use answer::Answer;

pub use error::lost;
pub use patience::Patience;
pub use script::{MINUTE, PRELUDE, Script, named};

/// How long a master outlives its last command if the tool is killed.
const LINGER_SECONDS: usize = 30;
/// The longest folder, in bytes: a Unix socket's path has at most 104 bytes on some systems, and
/// OpenSSH adds 17 while it makes one.
const LONGEST_FOLDER: usize = 48;

/// How to reach nodes.
#[derive(Debug, Clone)]
pub struct Access {
    config_file: Option<PathBuf>,
    /// Settings for `ssh -o` that override the file.
    instead: Vec<String>,
    user: Option<String>,
    /// The user of each node for which nothing else names one.
    users: Arc<BTreeMap<Name, Name>>,
    patience: Patience,
    folder: Arc<Folder>,
}

/// The private folder of a run, and its keeper.
#[derive(Debug)]
struct Folder {
    dir: TempDir,
    _keeper: Option<ChildStdin>,
}

impl Access {
    /// Uses `config_file`, if there is one, and logs in as `user`, if one is given.
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
        let base = if base.as_os_str().len() <= LONGEST_FOLDER {
            base
        } else {
            PathBuf::from("/tmp")
        };
        let folder = private::folder("nixcfg-", &base)
            .context(|| format!("cannot make a private folder in {}", base.display()))?;
        let keeper = master::keep(folder.path()).context(|| "cannot start sh".into())?;
        Ok(Self {
            config_file,
            instead: Vec::new(),
            user,
            users: Arc::default(),
            patience,
            folder: Arc::new(Folder {
                dir: folder,
                _keeper: keeper,
            }),
        })
    }

    /// Adds the users that the cluster's files name for its nodes.
    pub async fn to(mut self, nodes: &BTreeMap<Name, cluster::Node>) -> Result<Self> {
        if self.user.is_none() {
            let file = self.config_file.as_deref();
            let users = user::named_by_cluster(file, nodes, self.folder()).await?;
            self.users = Arc::new(users);
        }
        Ok(self)
    }

    /// A private folder of this run (mode 0700), removed at its end.
    pub fn folder(&self) -> &Path {
        self.folder.dir.path()
    }

    /// Logs in to a node over a new TCP connection, without the multiplexing and forwards of
    /// `ssh_config`.
    pub async fn connect(&self, node: &Name) -> Result<Connection> {
        tracing::debug!(target: commands::TARGET, "{}", self.command(node));
        let _step = Step::begin(Some(node), "log in");
        let own = [
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("ControlPersist={LINGER_SECONDS}"),
        ];
        let mut arguments = set(&own);
        arguments.extend(self.patience.options());
        arguments.extend(self.options(node));
        arguments.push(node.as_str().into());
        let starting = master::start(self.folder(), arguments);
        let limit = self.patience.whole();
        match tokio::time::timeout(limit, starting).await {
            Ok(Ok(session)) => Ok(Connection {
                node: node.clone(),
                session: Arc::new(session),
                patience: self.patience,
            }),
            Ok(Err(e)) => Err(error::cannot_connect(node, &self.command(node), e)),
            Err(_) => Err(error::timed_out(node, &self.command(node), limit)),
        }
    }

    /// The ways to log in to a node after a change of its port, user or address: by `ssh_config`,
    /// then by the node's configuration `told`. `known` are its former addresses. The host key is
    /// looked up under the name that `ssh_config` uses.
    pub async fn following(
        &self,
        node: &Name,
        told: &cluster::Node,
        known: &[IpAddr],
    ) -> Result<Vec<Self>> {
        let mut ways = vec![self.clone()];
        let login = user::resolve(self.options(node), node).await?;
        let others = login.others(self.user.is_some(), told, known);
        ways.extend(others.into_iter().map(|other| Self {
            instead: other.options(&login),
            ..self.clone()
        }));
        Ok(ways)
    }

    /// The options of `ssh` for a node.
    pub fn options(&self, node: &Name) -> Vec<OsString> {
        let mut options = set(&self.instead);
        if let Some(file) = &self.config_file {
            options.extend(["-F".into(), file.into()]);
        }
        let told = || self.users.get(node).map(Name::as_str);
        if let Some(user) = self.user.as_deref().or_else(told) {
            options.extend(["-l".into(), user.into()]);
        }
        options
    }

    /// The command by which an operator logs in to the node.
    pub fn command(&self, node: &Name) -> String {
        process::Command::new("ssh")
            .args(self.options(node))
            .arg(node.as_str())
            .display()
    }
}

/// The options of `ssh` for these settings.
fn set(settings: &[String]) -> Vec<OsString> {
    let settings = settings.iter();
    settings
        .flat_map(|setting| ["-o".into(), setting.into()])
        .collect()
}

/// How long a command may take to begin.
const BEGIN: Duration = Duration::from_secs(60);

/// The result of a command on a node.
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

/// A running command on a node.
pub type Child = openssh::Child<Arc<openssh::Session>>;

impl Connection {
    /// The node at the other end.
    pub fn node(&self) -> &Name {
        &self.node
    }

    /// The master's control socket, for `ssh -S`.
    pub fn control_socket(&self) -> &Path {
        self.session.control_socket()
    }

    /// Ends the login and all its connections at once.
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
        // Of a script its name tells more than its text.
        let shown = args.get(2).filter(|_| args.first() == Some(&"-c"));
        let shown = shown.unwrap_or(program);
        tracing::debug!(target: commands::TARGET, "{}: {shown}", self.node);
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

    /// Makes the master listen on the Unix socket `local`, and forward its connections to `host`
    /// and `port` as seen from the node.
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
        let begun = self.spawn_script(script, args).await;
        let begun = begun.map_err(|e| self.explained(e))?;
        let output = begun.finish(stdin).await.map_err(|e| self.explained(e))?;
        Ok(Output {
            stderr: tail(&output.stderr),
            ..output
        })
    }

    /// Runs a script. Fails unless its exit code is 0.
    pub async fn run_ok(&self, script: Script, args: &[&str], stdin: &[u8]) -> Result<String> {
        let output = self.run(script, args, stdin).await?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(failed(&self.node, script, &output))
        }
    }

    /// Runs a script as the operator's own user, and returns its answer.
    pub async fn ask(&self, script: Script, args: &[&str]) -> Result<Answer> {
        let printed = self.run_ok(script, args, b"").await?;
        Answer::read(&self.node, script.name, &printed)
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

/// The limit of time of `what`. Builds for tests shorten it by `NIXCFG_HASTE`, as many tests wait for a
/// node that never answers: `4,nixcfg-lease=9` divides all limits by 4, and sets this one to 9 seconds.
pub fn at_most(what: &str, time: Duration) -> Duration {
    #[cfg(feature = "lab")]
    if let Ok(haste) = std::env::var("NIXCFG_HASTE") {
        let named = haste.split(',').filter_map(|part| part.split_once('='));
        let mut own = named.filter(|(name, _)| *name == what);
        if let Some(seconds) = own.next().and_then(|(_, seconds)| seconds.parse().ok()) {
            return Duration::from_secs(seconds);
        }
        let part = haste.split(',').next().and_then(|part| part.parse().ok());
        return time / part.unwrap_or(1).max(1);
    }
    let _ = what;
    time
}

/// Waits for a node. Fails once its time is over.
pub async fn within<T>(
    node: &Name,
    what: &str,
    time: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let time = at_most(what, time);
    match tokio::time::timeout(time, work).await {
        Ok(result) => result,
        Err(_) => {
            let what = format!("{what} did not end within {} seconds", time.as_secs());
            let error = Error::new(Kind::NoAnswer, what).on(node);
            Err(error.help("the node may be frozen or overloaded"))
        }
    }
}

/// The last lines of a text, for an error.
pub fn tail(text: &str) -> String {
    let mut tail = Tail::new(40);
    let mut from = text.len().saturating_sub(bounded::MOST_ERRORS);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].lines().for_each(|line| tail.push(line));
    tail.text()
}
