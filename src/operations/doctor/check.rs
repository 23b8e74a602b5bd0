//! A check, and what it found.

use crate::cluster::Name;
use crate::error::Error;
use crate::event::{Event, Verdict};

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in a word.
    pub name: &'static str,
    /// The node that it is about, where it is about one.
    pub node: Option<Name>,
    /// Whether it is as it should be.
    pub verdict: Verdict,
    /// What was found.
    pub told: String,
    /// What to do.
    pub help: Option<String>,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, told: impl Into<String>) -> Self {
        Self {
            name,
            node: None,
            verdict,
            told: told.into(),
            help: None,
        }
    }

    /// All is well.
    pub fn ok(name: &'static str, told: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, told)
    }

    /// Something is wrong; `help` says what to do.
    pub fn wrong(name: &'static str, told: impl Into<String>, help: impl Into<String>) -> Self {
        let mut this = Self::new(name, Verdict::Wrong, told);
        this.help = Some(help.into());
        this
    }

    /// It could not be looked at; `why` not.
    pub fn unseen(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, Verdict::Unseen, why)
    }

    /// An error, as what is wrong.
    pub fn failed(name: &'static str, error: &Error) -> Self {
        let mut this = Self::new(name, Verdict::Wrong, error.what.clone());
        if let Some(output) = error.output.as_ref().filter(|said| !said.is_empty()) {
            this.told = format!("{}\n{output}", this.told);
        }
        this.help.clone_from(&error.help);
        this
    }

    /// About a node.
    pub fn on(mut self, node: &Name) -> Self {
        self.node = Some(node.clone());
        self
    }
}

impl From<Check> for Event {
    fn from(check: Check) -> Self {
        Event::Check {
            node: check.node,
            check: check.name,
            verdict: check.verdict,
            told: check.told,
            help: check.help,
        }
    }
}
