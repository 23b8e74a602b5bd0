//! Shows what an upgrade would change, node by node, before the operator agrees.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::closure;
use super::diff::{Closure, Diff};
use crate::cluster::Name;
use crate::deployment::plan::Action;
use crate::deployment::{self, Prepared};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::nix::build;
use crate::nix::closure::Graph;
use crate::nix::store::StorePath;
use crate::node::activation;
use crate::node::each::{ALL, each, sorted};
use crate::operation::Operation;

/// Shows the changes of each node that gets another system. Copies the systems to the nodes if
/// these are asked what would restart.
pub async fn show(
    args: &deployment::Args,
    operation: &Operation,
    prepared: &mut Prepared,
) -> Result<()> {
    let (diffs, bad) = diffs(operation, prepared).await?;
    let units = if args.plans_only() || !args.activates() || !bad.is_empty() {
        BTreeMap::new()
    } else {
        ask(args, operation, prepared).await?
    };
    for (node, diff) in diffs {
        let units = units.get(&node);
        let mut lines = diff.lines();
        lines.extend(units.into_iter().flat_map(Units::lines));
        operation.reporter.emit(Event::Plan {
            node,
            plan: lines.join("\n"),
            data: json!({"action": "upgrade", "closure": diff, "units": units}),
        });
    }
    let what = "not every node tells what it has; nothing was changed";
    operation.reporter.unless_failed(&bad, what)
}

/// The changes of each node that tells what it has, and the errors of the others.
async fn diffs(
    operation: &Operation,
    prepared: &Prepared,
) -> Result<(BTreeMap<Name, Diff>, Vec<Error>)> {
    let changing = || {
        prepared.plans.iter().filter_map(|(node, plan)| {
            let Action::Deploy { replaces, .. } = &plan.action else {
                return None;
            };
            Some((node, &plan.system.out, replaces.as_ref()))
        })
    };
    let olds: Vec<StorePath> = changing().filter_map(|(_, _, old)| old.cloned()).collect();
    let absent = build::missing(&operation.settings, &olds).await?;
    let mut roots: Vec<StorePath> = changing().map(|(_, new, _)| new.clone()).collect();
    roots.extend(olds.into_iter().filter(|old| !absent.contains(old)));
    roots.sort();
    roots.dedup();
    let graph = Graph::of(&operation.settings, &roots).await?;
    let absent = &absent;
    let compared = each(
        ALL,
        changing().map(|(node, new, old)| (node, (new, old))),
        async |node, (new, old)| {
            let after = graph.sizes(new);
            let before = match (old, prepared.probed.get(node)) {
                (Some(old), _) if !absent.contains(old) => graph.sizes(old),
                (Some(old), Some(p)) => {
                    let how = p.facts.elevation(p.password.as_ref());
                    closure::ask(&p.connection, how.as_ref(), old).await?
                }
                _ => Closure::new(),
            };
            Ok(Diff::of(&before, &after))
        },
    );
    let (diffs, bad) = sorted(compared).await;
    let diffs = diffs.into_iter().map(|(node, diff)| (node.clone(), diff));
    Ok((diffs.collect(), bad))
}

/// Copies the systems to the nodes, and asks what switching to them would do.
async fn ask(
    args: &deployment::Args,
    operation: &Operation,
    prepared: &mut Prepared,
) -> Result<BTreeMap<Name, Units>> {
    operation.reporter.phase("asking nodes what would restart");
    deployment::bring(args, operation, prepared).await?;
    let changing = prepared.plans.iter().filter_map(|(node, plan)| {
        let deployed = matches!(plan.action, Action::Deploy { .. });
        let probed = prepared.probed.get(node).filter(|_| deployed)?;
        Some((node, (probed, &plan.system.out)))
    });
    let asked = each(ALL, changing, async |_, (probed, system)| {
        let how = operation.elevation(probed)?;
        let told = activation::dry_activate(&probed.connection, &how, system).await?;
        Ok(Units::read(&told))
    });
    let (units, bad) = sorted(asked).await;
    let what = "not every node tells what would restart; nothing was changed but copied";
    operation.reporter.unless_failed(&bad, what)?;
    let units = units.into_iter().map(|(node, units)| (node.clone(), units));
    Ok(units.collect())
}

/// Units by what a switch would do to them, from `dry-activate`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Units(BTreeMap<String, Vec<String>>);

impl Units {
    pub(crate) fn read(told: &str) -> Self {
        let lists = told.lines().filter_map(|line| {
            let (what, units) = line.split_once(" the following units: ")?;
            let what = what.strip_prefix("would ")?;
            let units = units.split(',').map(|unit| unit.trim().to_owned());
            Some((what.to_owned(), units.collect()))
        });
        Self(lists.collect())
    }

    fn lines(&self) -> Vec<String> {
        let list = |(what, units): (&String, &Vec<String>)| format!("{what}: {}", units.join(", "));
        self.0.iter().map(list).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_restart_is_read_from_what_the_switch_says() {
        let told = "would stop the following units: a.service, b.service\nwould activate the configuration...\n\
            would restart the following units: sshd.service\nwould NOT stop the following changed units: c.service\n";
        assert_eq!(
            Units::read(told).lines(),
            ["restart: sshd.service", "stop: a.service, b.service"]
        );
        assert_eq!(Units::read("nothing of interest\n"), Units::default());
    }
}
