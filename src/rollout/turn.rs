//! A node's turn: to the wanted system, and back to the previous one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::engine::Outcome;
use super::membership;
use crate::change::target::Target;
use crate::change::{Change, Watch};
use crate::cluster::{Check, Cluster, Name, Node};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter};
use crate::nix::store::StorePath;
use crate::node::Facts;
use crate::node::activation::{End, Mode, Policy, Report};
use crate::node::generations;
use crate::node::probe::Probed;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Connection};
use crate::operation::Operation;
use crate::secret::Secret;

/// Everything needed to change a node's system.
pub struct Turn {
    /// Its name.
    pub name: Name,
    /// Its data in the cluster.
    pub told: Node,
    /// Its probe before the change.
    pub facts: Facts,
    /// The present connection.
    pub connection: Connection,
    /// How to become root.
    pub how: Elevation,
    /// What to do with a system.
    pub mode: Mode,
    access: Access,
    password: Option<Arc<Secret>>,
    watch: Watch,
    reporter: Reporter,
}

impl Turn {
    /// The turn of a probed node.
    pub fn new(operation: &Operation, probed: &Probed, mode: Mode, watch: Watch) -> Result<Self> {
        let name = probed.connection.node();
        let told = operation.cluster.nodes.get(name).cloned();
        Ok(Self {
            name: name.clone(),
            told: told.ok_or_else(|| Error::unexpected("is not in the cluster").on(name))?,
            facts: probed.facts.clone(),
            connection: probed.connection.clone(),
            how: operation.elevation(probed)?,
            mode,
            access: operation.access.clone(),
            password: probed.password.clone(),
            watch,
            reporter: operation.reporter.clone(),
        })
    }

    /// Checks of the node's present memberships, for its confirmation.
    pub async fn memberships(&self, cluster: &Cluster) -> Result<BTreeMap<String, Check>> {
        let patience = self.watch.timeout;
        let (name, told, connection, how) = (&self.name, &self.told, &self.connection, &self.how);
        membership::checks(cluster, name, told, connection, how, patience).await
    }

    /// Whether the node has, or may have, another system than before.
    pub fn changed(&self, report: &Report, system: &StorePath) -> bool {
        let was = |what: &Option<StorePath>| what.as_ref() == Some(system);
        match report.end {
            End::Confirmed => match self.mode {
                _ if report.restarted => true,
                Mode::Switch => !(was(&self.facts.current) && was(&self.facts.profile)),
                Mode::Test => !was(&self.facts.current),
                Mode::Boot => !was(&self.facts.profile),
                Mode::DryActivate => false,
            },
            End::Untouched => false,
            End::Returned { whole, .. } => !whole,
        }
    }

    /// Changes the node to a system in its store. `generation` is its number, if the node has it
    /// already. `members` are checks beside the node's own.
    pub async fn go(
        &self,
        system: &StorePath,
        generation: Option<u64>,
        members: BTreeMap<String, Check>,
    ) -> Result<Report> {
        self.reporter
            .step(&self.name, format!("activating ({})", self.mode.action()));
        let mut told = self.told.clone();
        told.checks.extend(members);
        let way = (&self.connection, &told, &self.watch);
        let report = self.change(way, self.mode, system, generation).await?;
        if !report.as_wanted {
            self.log(&report);
        }
        Ok(report)
    }

    async fn change(
        &self,
        (connection, told, watch): (&Connection, &Node, &Watch),
        mode: Mode,
        system: &StorePath,
        generation: Option<u64>,
    ) -> Result<Report> {
        let target = Target {
            access: &self.access,
            told,
            connection,
            facts: &self.facts,
            how: &self.how,
            password: self.password.as_ref(),
            gave_up: AtomicBool::new(false),
        };
        let change = Change {
            target,
            toplevel: system,
            mode,
            generation,
            watch,
            reporter: &self.reporter,
        };
        change.run().await
    }

    /// Takes the node back to the system that it ran and booted before the run, by its own
    /// generation, watched like every change.
    pub async fn back(&self) -> Outcome {
        match self.steps_back().await {
            Ok(system) => Outcome {
                ok: true,
                changed: false,
                words: format!("taken back to {}", system.name()),
                data: json!({"action": "takenBack", "system": system}),
                error: None,
            },
            Err(error) => Outcome::failed(error),
        }
    }

    async fn steps_back(&self) -> Result<StorePath> {
        let absent = || {
            let what = "ran no system of NixOS before: there is nothing to take it back to";
            Error::new(Exit::Partial, what).on(&self.name)
        };
        let (running, booted) = (
            self.facts.current.clone().ok_or_else(absent)?,
            self.facts.profile.clone().ok_or_else(absent)?,
        );
        self.reporter.step(&self.name, "taking it back");
        // Prefers a new connection, as the first one may be lost. After a change of the port there
        // may be no new one.
        let connection = match self.access.connect(&self.name).await {
            Ok(connection) => connection,
            Err(_) => self.connection.clone(),
        };
        let generations = generations::list(&connection).await?;
        let number = generations.of(&booted).ok_or_else(|| {
            let what = format!("has no generation of {} any more", booted.name());
            Error::new(Exit::Partial, what).on(&self.name)
        })?;
        // Keeps the old system even if it is degraded. The new configuration's checks do not apply
        // to it.
        let watch = Watch {
            on_degraded: Policy::Keep,
            ..self.watch.clone()
        };
        let mut told = self.told.clone();
        told.checks.clear();
        for (mode, system) in way_back(self.mode, &running, &booted) {
            let generation = (mode != Mode::Test).then_some(number);
            let way = (&connection, &told, &watch);
            let report = self.change(way, mode, system, generation).await?;
            if !report.as_wanted {
                self.log(&report);
                return Err(Error::new(Exit::Partial, report.words(mode)).on(&self.name));
            }
        }
        Ok(match self.mode {
            Mode::Boot => booted,
            _ => running,
        })
    }

    fn log(&self, report: &Report) {
        for line in report.last_lines() {
            self.reporter.emit(Event::Log {
                node: Some(self.name.clone()),
                line: line.to_owned(),
            });
        }
    }
}

/// The mode that takes back a node that ran one system and may have booted another.
fn way_back<'a>(
    mode: Mode,
    running: &'a StorePath,
    booted: &'a StorePath,
) -> Vec<(Mode, &'a StorePath)> {
    match mode {
        Mode::DryActivate => vec![],
        Mode::Boot => vec![(Mode::Boot, booted)],
        Mode::Test => vec![(Mode::Test, running)],
        Mode::Switch if running == booted => vec![(Mode::Switch, running)],
        Mode::Switch => vec![(Mode::Boot, booted), (Mode::Test, running)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_goes_back_to_what_it_ran_and_to_what_it_booted() {
        let one: StorePath = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-one"
            .parse()
            .unwrap();
        let two: StorePath = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-two"
            .parse()
            .unwrap();
        assert_eq!(way_back(Mode::Switch, &one, &one), [(Mode::Switch, &one)]);
        assert_eq!(
            way_back(Mode::Switch, &one, &two),
            [(Mode::Boot, &two), (Mode::Test, &one)]
        );
        assert_eq!(way_back(Mode::Boot, &one, &two), [(Mode::Boot, &two)]);
        assert_eq!(way_back(Mode::Test, &one, &two), [(Mode::Test, &one)]);
    }
}
