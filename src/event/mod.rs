//! What happens during a run, as values; how it is shown is decided elsewhere.

mod json;
mod plain;
mod printable;
mod terminal;

use std::io::IsTerminal;
use std::sync::Arc;

use serde::Serialize;

use crate::cluster::Name;
use crate::error::Error;
pub use printable::printable;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// A part of the run began, for all nodes.
    Phase {
        /// What is being done, such as `building 3 systems`.
        doing: String,
    },
    /// A node is at a new step.
    Step {
        /// The node.
        node: Name,
        /// What is being done, such as `copying`.
        doing: String,
    },
    /// A node's step moves on.
    Progress {
        /// The node.
        node: Name,
        /// How much is done, in bytes.
        done: u64,
        /// How much there is to do, in bytes.
        total: u64,
    },
    /// A line of output worth reading.
    Log {
        /// The node it is about, if it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// The line.
        line: String,
    },
    /// A line that a command of the operator's own printed.
    Output {
        /// The node it was printed on.
        node: Name,
        /// The line.
        line: String,
    },
    /// Something the operator should know, that stops nothing.
    Warning {
        /// The node it is about, if it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// What it is.
        what: String,
    },
    /// What the run would do to a node.
    Plan {
        /// The node.
        node: Name,
        /// The plan in words.
        plan: String,
        /// The plan as data.
        #[serde(flatten)]
        data: serde_json::Value,
    },
    /// A node is done with.
    Done {
        /// The node.
        node: Name,
        /// Whether it is as wanted.
        ok: bool,
        /// The outcome in words.
        outcome: String,
        /// The outcome as data.
        #[serde(flatten)]
        data: serde_json::Value,
    },
    /// Something failed.
    Failure {
        /// The node it is about, if it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// What kind of failure it is.
        code: &'static str,
        /// What failed.
        what: String,
        /// The command that failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        command: Option<String>,
        /// Its last output.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// What to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        help: Option<String>,
        /// The exit code that it leads to.
        exit: u8,
    },
    /// The last word of a run.
    Summary {
        /// The summary in words, one line or more.
        text: String,
        /// The summary as data.
        #[serde(flatten)]
        data: serde_json::Value,
    },
}

impl From<&Error> for Event {
    fn from(error: &Error) -> Self {
        Event::Failure {
            node: error.node.clone(),
            code: error.kind.code(),
            what: error.what.clone(),
            command: error.command.clone(),
            output: error.output.clone(),
            help: error.help.clone(),
            exit: error.exit.code(),
        }
    }
}

/// Shows events.
pub trait Renderer: Send + Sync {
    /// Shows one event.
    fn show(&self, event: &Event);

    /// Takes away what is shown live: the run is over.
    fn finish(&self) {}

    /// Makes room for a prompt while `during` runs.
    fn pause(&self, during: &mut dyn FnMut()) {
        during();
    }
}

/// Where the work reports to. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    renderer: Arc<dyn Renderer>,
    command_line: Arc<clap::Command>,
}

impl Reporter {
    /// The renderer for this run: JSON lines on standard output, live lines
    /// on a terminal, plain lines elsewhere. `command_line` describes what the
    /// process was started with, for the command that goes on.
    pub fn new(json: bool, command_line: clap::Command) -> Self {
        let renderer: Arc<dyn Renderer> = if json {
            Arc::new(json::Json)
        } else if std::io::stderr().is_terminal() {
            Arc::new(terminal::Terminal::new())
        } else {
            Arc::new(plain::Plain::new())
        };
        Self {
            renderer,
            command_line: Arc::new(command_line),
        }
    }

    /// A reporter with a renderer of the caller's, in a program of another name.
    pub fn with(renderer: Arc<dyn Renderer>) -> Self {
        Self {
            renderer,
            command_line: Arc::default(),
        }
    }

    /// The options that the process may be started with.
    pub fn command_line(&self) -> &clap::Command {
        &self.command_line
    }

    /// Reports an event.
    pub fn emit(&self, event: Event) {
        self.renderer.show(&event);
    }

    /// Takes away what is shown live: the run is over.
    pub fn finish(&self) {
        self.renderer.finish();
    }

    /// Reports the beginning of a part of the run.
    pub fn phase(&self, doing: impl Into<String>) {
        self.emit(Event::Phase {
            doing: doing.into(),
        });
    }

    /// Reports a node's new step.
    pub fn step(&self, node: &Name, doing: impl Into<String>) {
        self.emit(Event::Step {
            node: node.clone(),
            doing: doing.into(),
        });
    }

    /// Reports something that the operator should know.
    pub fn warning(&self, node: Option<&Name>, what: impl Into<String>) {
        self.emit(Event::Warning {
            node: node.cloned(),
            what: what.into(),
        });
    }

    /// Reports an error.
    pub fn failure(&self, error: &Error) {
        self.emit(Event::from(error));
    }

    /// Makes room on the terminal for a prompt.
    pub fn pause<T>(&self, during: impl FnOnce() -> T) -> Option<T> {
        let mut during = Some(during);
        let mut result = None;
        self.renderer.pause(&mut || {
            if let Some(during) = during.take() {
                result = Some(during());
            }
        });
        result
    }
}

/// A number of things, as people read it.
pub fn count<N: std::fmt::Display + PartialEq + From<u8>>(n: N, noun: &str) -> String {
    let plural = if n == N::from(1) { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// A number of bytes for people, in binary units.
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}
