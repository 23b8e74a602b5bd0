//! The events of a run, as values. Renderers show them.

mod colour;
pub mod commands;
mod fit;
mod json;
mod level;
mod plain;
mod printable;
pub mod screen;
mod terminal;
#[cfg(test)]
mod tests;
pub mod trace;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
pub use level::Level;
use level::Levelled;
pub use printable::printable;

#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// A phase of the run begins, for all nodes.
    Phase {
        /// What is being done, such as `building 3 systems`.
        doing: String,
    },
    /// A node is at a new step.
    Step {
        node: Name,
        /// What is being done, such as `copying`.
        doing: String,
    },
    /// A node's step makes progress.
    Progress {
        node: Name,
        /// Bytes done.
        done: u64,
        /// Bytes to do in all.
        total: u64,
    },
    /// A command is run, here or on a node: its words, none of which is a secret.
    Command {
        /// The command as one would type it; on a node, by the node's name.
        line: String,
    },
    /// A line of output worth reading.
    Log {
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        line: String,
    },
    /// A line of output of the operator's own command.
    Output { node: Name, line: String },
    /// Something the operator should know; the run goes on.
    Warning {
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// Other nodes of which the same is to be known. JSON has an event for each.
        #[serde(skip)]
        others: Vec<Name>,
        what: String,
    },
    /// What the run would do to a node.
    Plan {
        node: Name,
        /// The plan in words.
        plan: String,
        /// The plan as data.
        #[serde(flatten)]
        data: serde_json::Value,
    },
    /// The run is done with a node.
    Done {
        node: Name,
        /// Whether it is as wanted.
        ok: bool,
        /// The outcome in words.
        outcome: String,
        /// The outcome as data.
        #[serde(flatten)]
        data: serde_json::Value,
    },
    /// Something was looked at.
    Check {
        /// The node it is about, if it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// What was looked at, in a word.
        check: &'static str,
        /// Whether it is as it should be.
        verdict: Verdict,
        /// What was found.
        told: String,
        /// What to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        help: Option<String>,
    },
    /// Something failed.
    Failure {
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// Other nodes with the same failure. JSON has an event for each.
        #[serde(skip)]
        others: Vec<Name>,
        /// What kind of failure it is.
        code: &'static str,
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
        /// The exit code of the run that it leads to.
        exit: u8,
    },
    /// The result of a run.
    Summary {
        /// The summary in words, one line or more.
        text: String,
        /// The summary as data.
        #[serde(flatten)]
        data: serde_json::Value,
    },
}

/// The result of a run that may have more to tell before it is reported.
#[derive(Debug, Clone)]
pub struct Summary {
    /// In words, one line or more.
    pub text: String,
    /// As data: an object.
    pub data: serde_json::Value,
}

impl From<Summary> for Event {
    fn from(Summary { text, data }: Summary) -> Self {
        Self::Summary { text, data }
    }
}

/// Whether what was looked at is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It is.
    Ok,
    /// It is not.
    Wrong,
    /// It could not be looked at.
    Unseen,
}

impl From<&Error> for Event {
    fn from(error: &Error) -> Self {
        Event::Failure {
            node: error.node.clone(),
            others: Vec::new(),
            code: error.kind.code(),
            what: error.what.clone(),
            command: error.command.clone(),
            output: error.output.clone(),
            help: error.help.clone(),
            exit: error.exit.code(),
        }
    }
}

pub trait Renderer: Send + Sync {
    fn show(&self, event: &Event);

    /// Sets the nodes of the run, before any event of one of them.
    fn expect(&self, _nodes: &BTreeSet<Name>) {}

    fn finish(&self) {}

    /// Whether it draws on a terminal, for people.
    fn is_live(&self) -> bool {
        false
    }

    /// Makes room for a prompt while `during` runs.
    fn pause(&self, during: &mut dyn FnMut()) {
        during();
    }
}

/// An event as plain output shows it, fitted and coloured; `names` is the width of the column of node
/// names.
pub fn shown(event: &Event, names: usize) -> String {
    plain::line(event, names).map_or_else(String::new, |(_, text)| text)
}

/// The work reports its events to this. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    renderer: Arc<dyn Renderer>,
    command_line: Arc<clap::Command>,
}

impl Reporter {
    /// Chooses the renderer of this run: JSON lines, live lines on a terminal, or plain lines
    /// elsewhere. It shows events of `level`; the file `log` gets all of them. `command_line`
    /// describes the options of the process, for the command that resumes the run.
    pub fn new(
        json: bool,
        level: Level,
        log: Option<&Path>,
        command_line: clap::Command,
    ) -> Result<Self> {
        let renderer: Arc<dyn Renderer> = if json {
            Arc::new(json::Json)
        } else if std::io::stderr().is_terminal() {
            Arc::new(terminal::Terminal::new())
        } else {
            Arc::new(plain::Plain::default())
        };
        Ok(Self {
            renderer: Arc::new(Levelled::new(renderer, level, log)?),
            command_line: Arc::new(command_line),
        })
    }

    /// A reporter with the given renderer, for tests and other programs.
    pub fn with(renderer: Arc<dyn Renderer>) -> Self {
        Self {
            renderer,
            command_line: Arc::default(),
        }
    }

    /// The command line's description, as given to [`Reporter::new`].
    pub fn command_line(&self) -> &clap::Command {
        &self.command_line
    }

    pub fn emit(&self, event: Event) {
        self.renderer.show(&event);
    }

    /// Sets the nodes of the run, so that the column of their names is wide enough.
    pub fn expect(&self, nodes: &BTreeSet<Name>) {
        self.renderer.expect(nodes);
    }

    pub fn finish(&self) {
        self.renderer.finish();
    }

    /// Whether the run is shown on a terminal, for people.
    pub fn is_live(&self) -> bool {
        self.renderer.is_live()
    }

    /// Reports the beginning of a phase.
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
            others: Vec::new(),
            what: what.into(),
        });
    }

    /// Reports what the operator should know of nodes, each text once with all its nodes, in the order
    /// of their first nodes.
    pub fn warnings(&self, of_nodes: impl IntoIterator<Item = (Name, String)>) {
        let mut texts: Vec<(String, Name, Vec<Name>)> = Vec::new();
        for (node, what) in of_nodes {
            match texts.iter_mut().find(|(text, ..)| *text == what) {
                Some((.., others)) => others.push(node),
                None => texts.push((what, node, Vec::new())),
            }
        }
        for (what, node, others) in texts {
            self.emit(Event::Warning {
                node: Some(node),
                others,
                what,
            });
        }
    }

    /// Reports an error.
    pub fn failure(&self, error: &Error) {
        self.emit(Event::from(error));
    }

    /// Reports errors, each cause once with all its nodes, in the order of their first nodes.
    pub fn failures<'a>(&self, errors: impl IntoIterator<Item = &'a Error>) {
        let mut causes: Vec<(&Error, Vec<Name>)> = Vec::new();
        for error in errors {
            let known = causes.iter_mut();
            let mut known = known.filter(|(first, _)| first.node.is_some() && first.is_as(error));
            match (known.next(), &error.node) {
                (Some((_, others)), Some(node)) => others.push(node.clone()),
                _ => causes.push((error, Vec::new())),
            }
        }
        for (error, more) in causes {
            let mut event = Event::from(error);
            if let Event::Failure { others, .. } = &mut event {
                *others = more;
            }
            self.emit(event);
        }
    }

    /// Reports errors of nodes that were looked at, and fails with `what` if there are any.
    pub fn unless_failed(&self, bad: &[Error], what: &str) -> Result<()> {
        if bad.is_empty() {
            return Ok(());
        }
        self.failures(bad);
        Err(Error::new(Exit::Probe, what))
    }

    /// Asks a person by a blocking `question`, with the live lines cleared.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let reporter = self.clone();
        let asked = tokio::task::spawn_blocking(move || reporter.pause(question)).await;
        let asked = asked.ok().flatten();
        asked.unwrap_or_else(|| Err(Error::unexpected("the question could not be asked")))
    }

    /// Clears the live lines while `during` prompts on the terminal; none if it did not run.
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

/// The width of a column with these cells, in characters.
pub fn width<C: AsRef<str>>(cells: impl IntoIterator<Item = C>) -> usize {
    let widths = cells.into_iter().map(|cell| cell.as_ref().chars().count());
    widths.max().unwrap_or_default()
}

/// A number with its noun, as in `1 node` and `2 nodes`.
pub fn count<N: std::fmt::Display + PartialEq + From<u8>>(n: N, noun: &str) -> String {
    let plural = if n == N::from(1) { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// A number of bytes in binary units, as in `1.5 MiB`.
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}
