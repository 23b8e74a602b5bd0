//! The one error type that operators see: what failed, the node, the command, its last output, and
//! what to do.

use std::fmt;
use std::process::ExitCode;

use crate::cluster::name::{Name, NotAName};

/// How a run ended, as the process's exit code. The README lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Something the tool did not foresee (1).
    Unexpected,
    /// Wrong arguments, or cluster files that cannot be read as a cluster (2).
    Usage,
    /// A node cannot be reached or used; nothing was changed (3).
    Probe,
    /// A system does not evaluate or build (4).
    Build,
    /// Some nodes are not as wanted (5).
    Partial,
    /// Stopped by the operator (130, as a shell reports SIGINT).
    Interrupted,
    /// The operator's own command, run inside the operation, ended with this code.
    Command(u8),
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Unexpected => 1,
            Exit::Usage => 2,
            Exit::Probe => 3,
            Exit::Build => 4,
            Exit::Partial => 5,
            Exit::Interrupted => 130,
            Exit::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// The kind of a failure. Decisions depend on it, never on words or exit codes. `--json` prints it
/// as `code`; `doc/json.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The tool did not foresee it.
    Unexpected,
    /// Wrong arguments, or cluster files that cannot be read as a cluster.
    Usage,
    /// A program that the tool calls is not on this machine.
    NotOnPath,
    /// A node cannot be used, for a reason without a kind of its own.
    Unusable,
    /// Nothing listens at a node's address, or no route leads there.
    Unreachable,
    /// A node does not answer within its time.
    NoAnswer,
    /// A node's answer is not one that its script gives.
    BadAnswer,
    /// A node refuses the login.
    LoginRefused,
    /// Nobody has confirmed a node's host key yet.
    HostKeyUnknown,
    /// A node presents another host key than before.
    HostKeyChanged,
    /// A connection broke during use.
    Lost,
    /// sudo does not make the user root.
    SudoRefused,
    /// Another operator holds the node or the cluster.
    Held,
    /// A node's disk is full.
    NodeFull,
    /// A system does not evaluate or build.
    Build,
    /// A node is not as wanted, for a reason without a kind of its own.
    NotAsWanted,
    /// The operator stopped the run.
    Interrupted,
    /// The operator's own command, run inside the operation, ended with this code.
    Command(u8),
}

impl Kind {
    /// How a run ends by it, unless its stage decides otherwise.
    pub const fn exit(self) -> Exit {
        match self {
            Kind::Unexpected | Kind::Lost => Exit::Unexpected,
            Kind::Usage | Kind::NotOnPath => Exit::Usage,
            Kind::Unusable
            | Kind::Unreachable
            | Kind::NoAnswer
            | Kind::BadAnswer
            | Kind::LoginRefused
            | Kind::HostKeyUnknown
            | Kind::HostKeyChanged
            | Kind::Held => Exit::Probe,
            Kind::Build => Exit::Build,
            Kind::NotAsWanted | Kind::SudoRefused | Kind::NodeFull => Exit::Partial,
            Kind::Interrupted => Exit::Interrupted,
            Kind::Command(code) => Exit::Command(code),
        }
    }

    /// The `code` in `--json`.
    pub const fn code(self) -> &'static str {
        match self {
            Kind::Unexpected => "unexpected",
            Kind::Usage => "usage",
            Kind::NotOnPath => "notOnPath",
            Kind::Unusable => "unusable",
            Kind::Unreachable => "unreachable",
            Kind::NoAnswer => "noAnswer",
            Kind::BadAnswer => "badAnswer",
            Kind::LoginRefused => "loginRefused",
            Kind::HostKeyUnknown => "hostKeyUnknown",
            Kind::HostKeyChanged => "hostKeyChanged",
            Kind::Lost => "lost",
            Kind::SudoRefused => "sudoRefused",
            Kind::Held => "held",
            Kind::NodeFull => "nodeFull",
            Kind::Build => "build",
            Kind::NotAsWanted => "notAsWanted",
            Kind::Interrupted => "interrupted",
            Kind::Command(_) => "command",
        }
    }
}

impl From<Exit> for Kind {
    /// The general kind of an exit code.
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Unexpected => Kind::Unexpected,
            Exit::Usage => Kind::Usage,
            Exit::Probe => Kind::Unusable,
            Exit::Build => Kind::Build,
            Exit::Partial => Kind::NotAsWanted,
            Exit::Interrupted => Kind::Interrupted,
            Exit::Command(code) => Kind::Command(code),
        }
    }
}

/// What went wrong, in the operator's terms.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: Kind,
    /// How the run ends.
    pub exit: Exit,
    /// What failed, as a sentence without its full stop.
    pub what: String,
    /// The node it failed on.
    pub node: Option<Name>,
    /// The command that failed, as one would type it, without secrets.
    pub command: Option<String>,
    /// The last lines that the command printed.
    pub output: Option<String>,
    /// What the operator can do.
    pub help: Option<String>,
}

/// A result whose error an operator can read.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind, which decides how the run ends.
    pub fn new(kind: impl Into<Kind>, what: impl Into<String>) -> Self {
        let kind = kind.into();
        Self {
            kind,
            exit: kind.exit(),
            what: what.into(),
            node: None,
            command: None,
            output: None,
            help: None,
        }
    }

    /// An error that the tool did not foresee.
    pub fn unexpected(what: impl Into<String>) -> Self {
        Self::new(Exit::Unexpected, what)
    }

    /// An error in what the operator gave: arguments or cluster files.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Names the node.
    pub fn on(mut self, node: &Name) -> Self {
        self.node = Some(node.clone());
        self
    }

    /// Whether another error is the same but for its node. A node that refuses a login is named in
    /// the command, and its address in what SSH says.
    pub fn is_as(&self, other: &Self) -> bool {
        let told = |error: &Self| {
            let names_node = error.kind == Kind::LoginRefused;
            Self {
                node: None,
                command: error.command.clone().filter(|_| !names_node),
                output: error.output.clone().filter(|_| !names_node),
                ..error.clone()
            }
        };
        let (own, other) = (told(self), told(other));
        own.kind == other.kind && own.to_string() == other.to_string()
    }

    /// Names the command.
    pub fn running(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Adds the command's last output, unless that is blank.
    pub fn saying(mut self, output: impl AsRef<str>) -> Self {
        let output = output.as_ref().trim_end();
        if !output.trim().is_empty() {
            self.output = Some(output.trim_matches('\n').to_owned());
        }
        self
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error with another exit code of the run.
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "{node}: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(command) = &self.command {
            write!(f, "\n  command: {command}")?;
        }
        if let Some(output) = &self.output {
            for line in output.lines() {
                write!(f, "\n  | {line}")?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<NotAName> for Error {
    fn from(wrong: NotAName) -> Self {
        Self::usage(wrong.what()).help(NotAName::HELP)
    }
}

/// Adds to an error of the operating system what the tool was doing.
pub trait Context<T> {
    /// Turns the error into an unexpected one that says what the tool was `doing`.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::unexpected(format!("{}: {e}", doing())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_node_command_output_and_help_in_that_order() {
        let error = Error::new(Exit::Probe, "cannot be reached")
            .on(&"alder".parse().unwrap())
            .running("ssh alder")
            .saying("\nConnection refused\n")
            .help("is it switched on?");
        assert_eq!(
            error.to_string(),
            "alder: cannot be reached\n  command: ssh alder\n  | Connection refused\n  help: is it switched on?"
        );
    }

    #[test]
    fn errors_are_alike_whose_nodes_alone_differ() {
        let on = |what: &str, node: &str| Error::usage(what).on(&node.parse().unwrap());
        let one = on("it is wrong", "alder");
        assert!(one.is_as(&on("it is wrong", "birch")));
        assert!(!one.is_as(&on("it is worse", "birch")));
        assert!(!one.is_as(&on("it is wrong", "birch").saying("more")));
        assert!(!one.is_as(&on("it is wrong", "birch").help("try")));
        let refused = |node: &str, address: &str| {
            let error = Error::new(Kind::LoginRefused, "refuses the login");
            let said = format!("alice@{address}: Permission denied (publickey).");
            error
                .on(&node.parse().unwrap())
                .running(format!("ssh {node}"))
                .saying(said)
        };
        let one = refused("alder", "192.0.2.11");
        assert!(one.is_as(&refused("birch", "192.0.2.12")));
    }

    #[test]
    fn a_kind_that_an_exit_code_stands_for_ends_the_run_with_it() {
        for exit in [Exit::Usage, Exit::Probe, Exit::Build, Exit::Partial] {
            assert_eq!(Kind::from(exit).exit(), exit);
        }
    }

    #[test]
    fn a_stage_may_end_the_run_otherwise_and_the_kind_stays() {
        let error = Error::new(Kind::Lost, "the connection was lost").exit(Exit::Partial);
        assert_eq!((error.kind, error.exit), (Kind::Lost, Exit::Partial));
    }

    #[test]
    fn exit_codes_are_distinct() {
        let all = [
            Exit::Unexpected,
            Exit::Usage,
            Exit::Probe,
            Exit::Build,
            Exit::Partial,
            Exit::Interrupted,
        ];
        let mut codes: Vec<_> = all.iter().map(|e| e.code()).collect();
        codes.dedup();
        assert_eq!(codes, [1, 2, 3, 4, 5, 130]);
    }
}
