//! The plan of a deployment, computed from values alone.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::Name;
use crate::error::Error;
use crate::event::bytes;
use crate::nix::closure::Graph;
use crate::nix::eval::System;
use crate::nix::inhibitors;
use crate::nix::parts::different_parts;
use crate::nix::store::StorePath;
use crate::node::Facts;
use crate::node::activation::Mode;

/// Space that must stay free on a node besides the copy, in bytes: for the profile, logs, units.
const RESERVE: u64 = 64 << 20;

/// What to do with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is as wanted.
    Unchanged,
    /// It has the wanted system, but units have failed: activate it again.
    Repair { failed: Vec<String> },
    /// It has the system, and needs a restart for parts of it.
    Restart,
    /// It gets another system.
    Deploy {
        /// The number of paths that it lacks.
        paths: usize,
        /// Their size, in bytes of archives.
        bytes: u64,
        /// The system that is replaced.
        replaces: Option<StorePath>,
    },
}

/// The plan for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The wanted system.
    pub system: System,
    pub action: Action,
    /// Parts of the system that only a restart brings: kernel, initrd, …
    pub restart_for: Vec<String>,
    /// Inhibitors among these, which forbid a live change; it is not tried.
    pub inhibited: Vec<String>,
}

/// Whether a node is as `mode` wants it, so that its closure does not matter.
pub fn is_as_wanted(facts: &Facts, out: &StorePath, mode: Mode) -> bool {
    let runs = facts.current.as_ref() == Some(out);
    let boots = facts.profile.as_ref() == Some(out);
    match mode {
        Mode::Switch => runs && boots,
        Mode::Boot => boots,
        Mode::Test => runs,
        Mode::DryActivate => false,
    }
}

/// Whether a node has so little space that nothing can be changed on it.
pub fn is_full(facts: &Facts) -> bool {
    facts.free.is_some_and(|free| free < RESERVE)
}

/// Plans one node. `missing` are the paths of the system's closure that the node lacks.
pub fn plan(
    facts: &Facts,
    system: &System,
    mode: Mode,
    graph: &Graph,
    missing: &BTreeSet<StorePath>,
) -> Plan {
    let action = if !is_as_wanted(facts, &system.out, mode) {
        Action::Deploy {
            paths: missing.len(),
            bytes: graph.size(missing),
            replaces: match mode {
                Mode::Boot => facts.profile.clone(),
                _ => facts.current.clone(),
            },
        }
    } else if facts.failed_units.is_empty() || mode == Mode::Boot {
        Action::Unchanged
    } else {
        Action::Repair {
            failed: facts.failed_units.clone(),
        }
    };
    let inhibited = match action {
        Action::Deploy { .. } => facts.running_inhibitors.against(&system.inhibitors()),
        _ => Vec::new(),
    };
    let restart_for = match (&action, mode) {
        (_, Mode::Test | Mode::DryActivate) => inhibited.clone(),
        (Action::Deploy { .. }, _) => {
            let mut parts = different_parts(&facts.booted_parts, &system.parts());
            parts.extend(inhibited.iter().cloned());
            parts
        }
        _ => facts.pending_restart(),
    };
    Plan {
        system: system.clone(),
        action,
        restart_for,
        inhibited: match mode {
            Mode::Switch | Mode::Test => inhibited,
            Mode::Boot | Mode::DryActivate => Vec::new(),
        },
    }
}

impl Plan {
    /// Turns the plan into a restart, if `reboot` allows that and only a restart is missing.
    pub fn restarting(mut self, reboot: bool) -> Self {
        if reboot && self.action == Action::Unchanged && !self.restart_for.is_empty() {
            self.action = Action::Restart;
        }
        if reboot {
            self.inhibited.clear();
        }
        self
    }

    /// Why the node cannot change to its system in the wanted way; none if it can.
    pub fn refused(&self, node: &Name) -> Option<Error> {
        let what = format!(
            "only a restart brings its new {}",
            inhibitors::in_words(&self.inhibited)
        );
        (!self.inhibited.is_empty()).then(|| Error::usage(what).on(node))
    }

    /// If the node has too little free space, the needed and the free bytes.
    pub fn too_large_for(&self, free: Option<u64>) -> Option<(u64, u64)> {
        match (&self.action, free) {
            (Action::Deploy { bytes, .. }, Some(free)) if bytes + RESERVE > free => {
                Some((bytes + RESERVE, free))
            }
            _ => None,
        }
    }

    /// The plan in words.
    pub fn words(&self) -> String {
        let parts = self.restart_for.join(", ");
        match (&self.action, self.restart_for.is_empty()) {
            (_, true) => self.action_in_words(),
            (Action::Restart, false) => format!("has the system; restart for its {parts}"),
            (_, false) if !self.inhibited.is_empty() => format!(
                "{}; not without a reboot, for its {parts}",
                self.action_in_words()
            ),
            (_, false) => {
                format!("{}; needs a reboot for its {parts}", self.action_in_words())
            }
        }
    }

    fn action_in_words(&self) -> String {
        match &self.action {
            Action::Unchanged => "unchanged".into(),
            Action::Restart => "has the system; restart".into(),
            Action::Repair { failed } => format!(
                "has the system, but failed units: {}; activate again",
                failed.join(", ")
            ),
            Action::Deploy {
                paths,
                bytes: size,
                replaces,
            } => {
                let copy = match paths {
                    0 => "has all paths".to_owned(),
                    n => format!(
                        "copy {n} path{} ({})",
                        if *n == 1 { "" } else { "s" },
                        bytes(*size)
                    ),
                };
                let new = &self.system.out;
                match replaces {
                    Some(old) if old.name() == new.name() => {
                        format!("{copy}, replace {} by {}", short(old), short(new))
                    }
                    Some(old) => format!("{copy}, replace {} by {}", old.name(), new.name()),
                    None => format!("{copy}, activate {}", new.name()),
                }
            }
        }
    }

    /// The plan as data.
    pub fn data(&self) -> serde_json::Value {
        let mut data = self.action_as_data();
        if let Some(fields) = data.as_object_mut() {
            fields.insert("rebootFor".into(), json!(self.restart_for));
            fields.insert("inhibited".into(), json!(self.inhibited));
        }
        data
    }

    fn action_as_data(&self) -> serde_json::Value {
        match &self.action {
            Action::Unchanged => json!({"action": "unchanged", "system": self.system.out}),
            Action::Restart => json!({"action": "restart", "system": self.system.out}),
            Action::Repair { failed } => {
                json!({"action": "repair", "system": self.system.out, "failedUnits": failed})
            }
            Action::Deploy {
                paths,
                bytes,
                replaces,
            } => {
                json!({"action": "deploy", "system": self.system.out, "paths": paths, "bytes": bytes, "replaces": replaces})
            }
        }
    }
}

/// The beginning of a path's hash, which distinguishes paths of one name.
fn short(path: &StorePath) -> String {
    let text = path.to_string();
    let base = text.rsplit('/').next().unwrap_or(&text);
    format!("{}…-{}", &base[..base.len().min(7)], path.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::inhibitors::Inhibitors;
    use crate::node::Sudo;

    const NEW: &str = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-nixos-system-alder-26.05";
    const OLD: &str = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-nixos-system-alder-26.05";

    fn system() -> System {
        System {
            drv: format!("{NEW}.drv").parse().unwrap(),
            out: NEW.parse().unwrap(),
        }
    }

    fn facts(current: &str, profile: &str) -> Facts {
        Facts {
            user: "alice".into(),
            system: "x86_64-linux".into(),
            current: current.parse().ok(),
            booted: None,
            profile: profile.parse().ok(),
            free: Some(1 << 30),
            failed_units: vec![],
            sudo: Sudo::Right,
            boot: String::new(),
            from: String::new(),
            booted_parts: vec![],
            profile_parts: vec![],
            running_inhibitors: Inhibitors::default(),
            profile_inhibitors: Inhibitors::default(),
            drained: None,
            addresses: vec![],
            pending: None,
            lease: None,
        }
    }

    fn planned(facts: &Facts, mode: Mode) -> Action {
        plan(facts, &system(), mode, &Graph::default(), &BTreeSet::new()).action
    }

    #[test]
    fn a_node_that_runs_and_boots_the_system_is_unchanged() {
        assert_eq!(planned(&facts(NEW, NEW), Mode::Switch), Action::Unchanged);
    }

    #[test]
    fn a_node_that_runs_the_system_but_boots_another_is_not() {
        assert!(matches!(
            planned(&facts(NEW, OLD), Mode::Switch),
            Action::Deploy { .. }
        ));
        assert_eq!(planned(&facts(NEW, OLD), Mode::Test), Action::Unchanged);
        assert!(matches!(
            planned(&facts(NEW, OLD), Mode::Boot),
            Action::Deploy { .. }
        ));
        assert_eq!(planned(&facts(OLD, NEW), Mode::Boot), Action::Unchanged);
    }

    #[test]
    fn a_dry_run_is_never_unchanged() {
        assert!(matches!(
            planned(&facts(NEW, NEW), Mode::DryActivate),
            Action::Deploy { .. }
        ));
    }

    #[test]
    fn failed_units_on_the_wanted_system_are_repaired() {
        let mut facts = facts(NEW, NEW);
        facts.failed_units = vec!["demo.service".into()];
        assert!(matches!(
            planned(&facts, Mode::Switch),
            Action::Repair { .. }
        ));
        assert_eq!(planned(&facts, Mode::Boot), Action::Unchanged);
    }

    #[test]
    fn a_node_without_room_is_found_before_anything_is_copied() {
        let deploy = |bytes| Plan {
            system: system(),
            action: Action::Deploy {
                paths: 1,
                bytes,
                replaces: None,
            },
            restart_for: vec![],
            inhibited: vec![],
        };
        assert!(deploy(1 << 30).too_large_for(Some(1 << 30)).is_some());
        assert!(deploy(1 << 20).too_large_for(Some(1 << 30)).is_none());
        assert!(
            deploy(0).too_large_for(Some(0)).is_some(),
            "a switch itself writes: its profile, units, logs"
        );
        assert!(deploy(1 << 30).too_large_for(None).is_none());
    }

    /// Each kind of action, alone, and where it brings what only a restart does. Systems of one name are told apart by
    /// their hashes.
    #[test]
    fn every_kind_of_plan_is_told_as_reviewed() {
        let deploy = |paths, bytes, replaces: Option<&str>| Action::Deploy {
            paths,
            bytes,
            replaces: replaces.and_then(|path| path.parse().ok()),
        };
        let failed = || vec!["demo.service".to_owned(), "idle.service".to_owned()];
        let kernel = || vec!["kernel".to_owned()];
        let inhibitor = || vec!["switch-inhibitors".to_owned()];
        let other = OLD.replace("26.05", "25.11");
        let plans = [
            (Action::Unchanged, vec![], vec![]),
            (Action::Unchanged, kernel(), vec![]),
            (Action::Restart, kernel(), vec![]),
            (Action::Repair { failed: failed() }, vec![], vec![]),
            (deploy(0, 0, None), vec![], vec![]),
            (deploy(1, 2048, Some(OLD)), vec![], vec![]),
            (deploy(12, 3 << 30, Some(&other)), kernel(), vec![]),
            (deploy(12, 3 << 30, Some(OLD)), inhibitor(), inhibitor()),
        ];
        let told = plans.map(|(action, restart_for, inhibited)| {
            let plan = Plan {
                system: system(),
                action,
                restart_for,
                inhibited,
            };
            format!("{}\n{}", plan.words(), plan.data())
        });
        crate::is_as_reviewed("plans", &told.join("\n\n"));
    }

    #[test]
    fn a_node_that_only_lacks_a_restart_is_restarted_where_that_is_asked_for() {
        let mut facts = facts(NEW, NEW);
        facts.booted_parts = ["k", "i", "m", "s"].map(String::from).into();
        facts.profile_parts = ["K", "i", "m", "s"].map(String::from).into();
        let graph = Graph::default();
        let planned = plan(&facts, &system(), Mode::Switch, &graph, &BTreeSet::new());
        assert_eq!(planned.words(), "unchanged; needs a reboot for its kernel");
        assert_eq!(planned.clone().restarting(false), planned);
        let restarting = planned.restarting(true);
        assert_eq!(restarting.action, Action::Restart);
        assert_eq!(restarting.words(), "has the system; restart for its kernel");
    }

    #[test]
    fn what_inhibits_a_switch_keeps_a_node_from_it_unless_it_may_restart() {
        let mut facts = facts(OLD, OLD);
        facts.running_inhibitors = Inhibitors::read(r#"{"bus": "dbus"}"#);
        // The system is not in the local store, so it counts as one of a release without
        // inhibitors.
        let graph = Graph::default();
        let planned = |mode, reboot| {
            plan(&facts, &system(), mode, &graph, &BTreeSet::new()).restarting(reboot)
        };
        let node = "alder".parse().unwrap();
        for mode in [Mode::Switch, Mode::Test] {
            let planned = planned(mode, false);
            assert!(
                planned
                    .words()
                    .ends_with("; not without a reboot, for its switch-inhibitors"),
                "{}",
                planned.words()
            );
            let refused = planned.refused(&node).unwrap();
            assert!(
                refused.what.contains("different releases"),
                "{}",
                refused.what
            );
        }
        for allowed in [planned(Mode::Switch, true), planned(Mode::Boot, false)] {
            assert!(allowed.refused(&node).is_none());
            assert_eq!(allowed.restart_for, ["switch-inhibitors"]);
        }
    }
}
