//! What a look at nodes found, as events.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Limits, State, page, table};
use crate::cluster::Name;
use crate::error::{Context, Error, Exit, Result};
use crate::event::{Event, Reporter};
use crate::nix::eval::System;
use crate::operation::Operation;

/// The nodes' answers.
pub struct Look {
    pub states: BTreeMap<Name, State>,
    /// Why the others were not reached.
    pub unreached: Vec<Error>,
}

/// What a look found.
pub struct Report {
    limits: Limits,
    /// Each node with its state, its trouble and both as data.
    rows: Vec<(Name, State, Vec<String>, Value)>,
    unreached: Vec<Error>,
}

impl Report {
    /// Compares the nodes with the systems that they should run.
    pub fn new(look: Look, systems: &BTreeMap<Name, System>, limits: Limits) -> Self {
        let judged = |(node, mut state): (Name, State)| {
            state.wanted = systems.get(&node).map(|system| system.out.clone());
            let trouble = state.trouble(limits);
            let data = json!({"state": state, "trouble": trouble});
            (node, state, trouble, data)
        };
        Self {
            limits,
            rows: look.states.into_iter().map(judged).collect(),
            unreached: look.unreached,
        }
    }

    /// The lines of the nodes that were reached.
    pub fn lines(&self) -> Vec<Event> {
        let lines = table::lines(&self.rows).into_iter();
        let rows = self.rows.iter().zip(lines);
        rows.map(|((node, _, trouble, data), outcome)| Event::Done {
            node: node.clone(),
            ok: trouble.is_empty(),
            outcome,
            data: data.clone(),
        })
        .collect()
    }

    /// Why the other nodes were not reached.
    pub fn failures(&self) -> Vec<Event> {
        self.unreached.iter().map(Event::from).collect()
    }

    /// How many nodes are well.
    pub fn summary(&self) -> Event {
        let (nodes, well) = (self.nodes(), self.well());
        Event::Summary {
            text: format!("{well} of {nodes} nodes well"),
            data: json!({"nodes": nodes, "well": well, "unreached": self.unreached.len()}),
        }
    }

    /// Reports everything, and writes the page for a browser.
    pub fn tell(&self, operation: &Operation, html: Option<&Path>) -> Result<()> {
        let reporter = &operation.reporter;
        blind(
            reporter,
            self.rows.iter().map(|(node, state, ..)| (node, state)),
        );
        for line in self.lines() {
            reporter.emit(line);
        }
        reporter.failures(&self.unreached);
        reporter.emit(self.summary());
        match html {
            Some(file) => self.write(operation, file),
            None => Ok(()),
        }
    }

    /// Writes the page. It tells where the cluster is weak, so nobody else may read it.
    pub fn write(&self, operation: &Operation, file: &Path) -> Result<()> {
        let seen = self.rows.iter();
        let page = page::Page {
            cluster: &operation.cluster,
            taken: OffsetDateTime::now_utc(),
            limits: self.limits,
            seen: seen
                .map(|(node, state, trouble, _)| (node, (state, trouble.as_slice())))
                .collect(),
            unreached: &self.unreached,
        };
        crate::file::replace(file, &page.text(), 0o600)
            .context(|| format!("cannot write {}", file.display()))
    }

    /// The end of a run that found this.
    pub fn verdict(&self) -> Result<()> {
        let (all, unreached) = (self.nodes(), self.unreached.len());
        match (unreached, self.rows.len() - self.well()) {
            (0, 0) => Ok(()),
            (0, n) => Err(Error::new(
                Exit::Partial,
                format!("{n} of {all} nodes not well"),
            )),
            (n, _) => Err(Error::new(
                Exit::Probe,
                format!("{n} of {all} nodes not reached"),
            )),
        }
    }

    fn nodes(&self) -> usize {
        self.rows.len() + self.unreached.len()
    }

    fn well(&self) -> usize {
        let rows = self.rows.iter();
        rows.filter(|(_, _, trouble, _)| trouble.is_empty()).count()
    }
}

/// Reports why nodes are checked without root, once for all nodes with the same reason.
fn blind<'a>(reporter: &Reporter, states: impl Iterator<Item = (&'a Name, &'a State)>) {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, state) in states {
        if let Some(reason) = &state.not_root {
            reasons.entry(reason).or_default().push(node.as_str());
        }
    }
    for (reason, nodes) in reasons {
        let nodes = nodes.join(", ");
        let what = format!("certificates and leaders are not seen on {nodes}: {reason}");
        reporter.warning(None, what);
    }
}
