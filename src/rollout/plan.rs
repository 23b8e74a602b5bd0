//! The order of a run's nodes, computed from values alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Name;

/// A node to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: Name,
    /// Its site.
    pub site: Name,
    /// Its part in the servers' quorum.
    pub part: Part,
    /// Whether it is a canary.
    pub canary: bool,
}

/// A node's part in the quorum of Consul's and Nomad's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A server without a running daemon, while others run: changing it loses nothing.
    Down,
    /// A server that votes.
    Voter,
    /// A server that leads this many of the daemons' quorums.
    Leader(usize),
    /// None.
    None,
}

/// How many nodes to change at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub at_once: usize,
    /// At one site.
    pub per_site: Option<usize>,
}

/// Nodes that are done before the next phase begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nodes outside the quorum, some at a time.
    Some {
        /// The nodes in the order of their beginning.
        nodes: Vec<Name>,
        /// Whether a failure ends the run under every policy.
        canary: bool,
    },
    /// Servers, one after the other, each only while the others can do without it.
    Servers {
        /// The servers in that order.
        nodes: Vec<Name>,
        /// Whether a failure ends the run under every policy.
        canary: bool,
    },
}

impl Phase {
    /// Its nodes.
    pub fn nodes(&self) -> &[Name] {
        match self {
            Phase::Some { nodes, .. } | Phase::Servers { nodes, .. } => nodes,
        }
    }

    /// Whether it is the canaries' phase.
    pub fn canary(&self) -> bool {
        match self {
            Phase::Some { canary, .. } | Phase::Servers { canary, .. } => *canary,
        }
    }
}

/// The order of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The phases, none of them empty.
    pub phases: Vec<Phase>,
    /// The nodes' sites.
    pub sites: BTreeMap<Name, Name>,
    pub limits: Limits,
}

impl Plan {
    /// Canaries first, then servers, then all others. A leader is no canary: it is the last of the
    /// servers, so that there is one election at most.
    pub fn rolling(candidates: &[Candidate], limits: Limits) -> Self {
        let pick = |canary: bool, server: bool| {
            let mut picked: Vec<&Candidate> = candidates
                .iter()
                .filter(|one| (one.part != Part::None) == server)
                .filter(|one| (one.canary && !matches!(one.part, Part::Leader(_))) == canary)
                .collect();
            picked.sort_by_key(|one| (one.part, &one.name));
            picked.iter().map(|one| one.name.clone()).collect()
        };
        let mut phases = Vec::new();
        for canary in [true, false] {
            let (servers, nodes) = (pick(canary, true), pick(canary, false));
            let servers = Phase::Servers {
                nodes: servers,
                canary,
            };
            let some = Phase::Some { nodes, canary };
            // Prefers canaries without a vote.
            phases.extend(if canary {
                [some, servers]
            } else {
                [servers, some]
            });
        }
        Self::of(phases, candidates, limits)
    }

    /// All at once, within the limits.
    pub fn parallel(candidates: &[Candidate], limits: Limits) -> Self {
        let nodes = candidates.iter().map(|one| one.name.clone()).collect();
        let canary = false;
        Self::of(vec![Phase::Some { nodes, canary }], candidates, limits)
    }

    /// Servers alone: those without a running daemon first, leaders last.
    pub fn servers(mut servers: Vec<(Part, Name)>) -> Self {
        servers.sort();
        let nodes = servers.into_iter().map(|(_, name)| name).collect();
        let canary = false;
        let limits = Limits {
            at_once: 1,
            per_site: None,
        };
        Self::of(vec![Phase::Servers { nodes, canary }], &[], limits)
    }

    fn of(mut phases: Vec<Phase>, candidates: &[Candidate], limits: Limits) -> Self {
        phases.retain(|phase| !phase.nodes().is_empty());
        let sites = candidates
            .iter()
            .map(|one| (one.name.clone(), one.site.clone()));
        Self {
            phases,
            sites: sites.collect(),
            limits,
        }
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &Name> {
        self.phases.iter().flat_map(Phase::nodes)
    }

    /// The order in words; none if all nodes are alike.
    pub fn words(&self) -> Option<String> {
        let phase = |phase: &Phase| {
            let names: Vec<&str> = phase.nodes().iter().map(Name::as_str).collect();
            let names = names.join(", ");
            match phase {
                Phase::Servers { nodes, .. } if nodes.len() > 1 => {
                    format!("servers one by one: {names}")
                }
                Phase::Servers { .. } => format!("server {names}"),
                Phase::Some { canary: true, .. } => format!("first {names}"),
                Phase::Some { .. } => names,
            }
        };
        let alike = matches!(self.phases.as_slice(), [] | [Phase::Some { .. }]);
        let phases: Vec<String> = self.phases.iter().map(phase).collect();
        (!alike).then(|| phases.join("; then "))
    }

    /// The index of the node in `waiting` that may begin beside those `running`; none if the limits
    /// allow none.
    pub fn next(&self, waiting: &[Name], running: &BTreeSet<Name>) -> Option<usize> {
        if running.len() >= self.limits.at_once {
            return None;
        }
        waiting.iter().position(|node| {
            let here = running
                .iter()
                .filter(|other| self.sites.get(*other) == self.sites.get(node));
            self.limits.per_site.is_none_or(|most| here.count() < most)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn candidate(text: &str, part: Part, canary: bool) -> Candidate {
        let site = name(if text < "c" { "lyon" } else { "brest" });
        Candidate {
            name: name(text),
            site,
            part,
            canary,
        }
    }

    const LIMITS: Limits = Limits {
        at_once: 2,
        per_site: Some(1),
    };

    fn words(plan: &Plan) -> Vec<String> {
        let phase = |phase: &Phase| {
            let kind = match phase {
                Phase::Some { .. } => "some",
                Phase::Servers { .. } => "servers",
            };
            let canary = if phase.canary() { " canary" } else { "" };
            let nodes = phase.nodes().iter().map(Name::as_str).collect::<Vec<_>>();
            format!("{kind}{canary}: {}", nodes.join(" "))
        };
        plan.phases.iter().map(phase).collect()
    }

    #[test]
    fn canaries_are_first_then_servers_with_the_leader_last_then_the_others() {
        let candidates = [
            candidate("alder", Part::Leader(2), false),
            candidate("birch", Part::Voter, false),
            candidate("cedar", Part::Leader(1), false),
            candidate("dogwood", Part::Down, false),
            candidate("elm", Part::None, false),
            candidate("fir", Part::None, true),
        ];
        let plan = Plan::rolling(&candidates, LIMITS);
        assert_eq!(
            words(&plan),
            [
                "some canary: fir",
                "servers: dogwood birch cedar alder",
                "some: elm"
            ]
        );
        assert_eq!(
            plan.words().unwrap(),
            "first fir; then servers one by one: dogwood, birch, cedar, alder; then elm"
        );
        let alike = [candidate("elm", Part::None, false)];
        assert_eq!(Plan::rolling(&alike, LIMITS).words(), None);
    }

    #[test]
    fn a_server_can_be_a_canary_but_the_leader_cannot() {
        let candidates = [
            candidate("alder", Part::Leader(1), true),
            candidate("birch", Part::Voter, false),
            candidate("cedar", Part::Voter, true),
        ];
        assert_eq!(
            words(&Plan::rolling(&candidates, LIMITS)),
            ["servers canary: cedar", "servers: birch alder"]
        );
    }

    #[test]
    fn servers_that_do_not_run_come_before_those_that_do() {
        let servers = [
            ("alder", Part::Leader(1)),
            ("birch", Part::Voter),
            ("cedar", Part::Down),
        ];
        let plan = Plan::servers(servers.map(|(text, part)| (part, name(text))).to_vec());
        assert_eq!(words(&plan), ["servers: cedar birch alder"]);
    }

    #[test]
    fn nodes_begin_within_the_limits_of_the_run_and_of_their_sites() {
        let candidates =
            ["alder", "birch", "cedar", "dogwood"].map(|text| candidate(text, Part::None, false));
        let plan = Plan::parallel(&candidates, LIMITS);
        let waiting: Vec<Name> = plan.nodes().cloned().collect();
        assert_eq!(plan.next(&waiting, &BTreeSet::new()), Some(0));
        let alder = BTreeSet::from([name("alder")]);
        assert_eq!(plan.next(&waiting[1..], &alder), Some(1), "cedar");
        let both = BTreeSet::from([name("alder"), name("cedar")]);
        assert_eq!(plan.next(&waiting[1..], &both), None);
    }
}
