//! Rollouts of made-up clusters: the rules hold for every failure and every order of the nodes'
//! ends.

use std::cell::{Cell, RefCell};

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as _;

use super::engine::{Guard, Ready};
use super::plan::Phase;
use super::*;

/// A cluster under a rollout, and the observations.
#[derive(Default)]
struct World {
    /// Nodes that fail.
    failing: BTreeSet<Name>,
    /// Those of them that stay changed.
    stuck: bool,
    /// The durations of nodes, in turns of the scheduler.
    slow: BTreeMap<Name, u8>,
    sites: BTreeMap<Name, Name>,
    servers: BTreeSet<Name>,
    running: RefCell<BTreeSet<Name>>,
    begun: RefCell<Vec<Name>>,
    taken_back: RefCell<Vec<Name>>,
    most: Cell<usize>,
    most_per_site: Cell<usize>,
    two_servers: Cell<bool>,
    unguarded: Cell<bool>,
    allowed: RefCell<Option<Name>>,
    /// The number of servers after which the quorum is lost.
    lost_after: Option<usize>,
    /// The leader.
    leader: Option<Name>,
    changed: RefCell<BTreeSet<Name>>,
    /// Servers that are not healthy after they have been taken back.
    ill_when_back: BTreeSet<Name>,
    /// The reported errors, by node.
    told: RefCell<BTreeMap<Name, String>>,
    /// How many nodes had been begun when the first failed.
    begun_before_failure: Cell<Option<usize>>,
}

impl World {
    async fn work(&self, name: &Name) {
        self.running.borrow_mut().insert(name.clone());
        {
            let running = self.running.borrow();
            let servers = running.iter().filter(|n| self.servers.contains(*n)).count();
            if servers > 1 || (servers == 1 && running.len() > 1) {
                self.two_servers.set(true);
            }
            if servers == 1 && self.allowed.borrow().as_ref() != Some(name) {
                self.unguarded.set(true);
            }
            self.most.set(self.most.get().max(running.len()));
            for site in self.sites.values() {
                let here = running.iter().filter(|n| self.sites.get(*n) == Some(site));
                self.most_per_site
                    .set(self.most_per_site.get().max(here.count()));
            }
        }
        for _ in 0..self.slow.get(name).copied().unwrap_or(0) {
            tokio::task::yield_now().await;
        }
        self.running.borrow_mut().remove(name);
    }

    async fn apply(&self, name: &Name) -> Outcome {
        self.begun.borrow_mut().push(name.clone());
        self.work(name).await;
        let ok = !self.failing.contains(name);
        if !ok && self.begun_before_failure.get().is_none() {
            self.begun_before_failure
                .set(Some(self.begun.borrow().len()));
        }
        let changed = ok || self.stuck;
        if changed {
            self.changed.borrow_mut().insert(name.clone());
        }
        Outcome {
            ok,
            changed,
            words: "switched".into(),
            data: json!({}),
            error: None,
        }
    }

    async fn back(&self, name: &Name) -> Outcome {
        // A failed node does not count: it goes back unasked.
        if self.failing.contains(name) {
            *self.allowed.borrow_mut() = Some(name.clone());
        }
        self.taken_back.borrow_mut().push(name.clone());
        self.work(name).await;
        self.changed.borrow_mut().remove(name);
        Outcome {
            ok: true,
            changed: false,
            words: "taken back".into(),
            data: json!({}),
            error: None,
        }
    }

    async fn run(&self, plan: &Plan, on_failure: OnFailure) -> BTreeMap<Name, Outcome> {
        let rollout = Rollout {
            plan,
            on_failure,
            tell: &|name, outcome| {
                if let Some(error) = &outcome.error {
                    let mut told = self.told.borrow_mut();
                    told.insert(name.clone(), error.what.clone());
                }
            },
        };
        rollout
            .run(
                self,
                async |name| self.apply(name).await,
                async |name| self.back(name).await,
            )
            .await
    }
}

impl Guard for World {
    async fn before(&self, node: &Name) -> Result<Ready> {
        let begun = self.begun.borrow();
        let servers = begun.iter().filter(|n| self.servers.contains(*n)).count();
        if self.lost_after.is_some_and(|after| servers >= after) {
            return Err(Error::new(Exit::Partial, "the servers are not healthy"));
        }
        *self.allowed.borrow_mut() = Some(node.clone());
        Ok(if self.leader.as_ref() == Some(node) {
            Ready::Leads
        } else {
            Ready::Go
        })
    }

    async fn after(&self, node: &Name) -> Result<()> {
        if self.ill_when_back.contains(node) && self.taken_back.borrow().contains(node) {
            return Err(Error::new(Exit::Partial, "the servers are not whole"));
        }
        Ok(())
    }
}

fn name(n: usize) -> Name {
    format!("node{n:02}").parse().unwrap()
}

/// Parts, sites, canaries, failures, durations of nodes; limits.
#[derive(Debug, Clone)]
struct Case {
    nodes: Vec<(u8, u8, bool, bool, u8)>,
    at_once: usize,
    per_site: Option<usize>,
    stuck: bool,
    lost_after: Option<usize>,
    leader: usize,
}

fn cases() -> impl proptest::strategy::Strategy<Value = Case> {
    let node = (
        0..6u8,
        0..3u8,
        any::<bool>(),
        prop::bool::weighted(0.15),
        0..5u8,
    );
    (
        prop::collection::vec(node, 1..14),
        1..5usize,
        prop::option::of(1..3usize),
        any::<bool>(),
        prop::option::weighted(0.2, 0..4usize),
        0..14usize,
    )
        .prop_map(
            |(nodes, at_once, per_site, stuck, lost_after, leader)| Case {
                nodes,
                at_once,
                per_site,
                stuck,
                lost_after,
                leader,
            },
        )
}

fn world(case: &Case) -> (World, Plan) {
    let mut world = World {
        stuck: case.stuck,
        lost_after: case.lost_after,
        ..World::default()
    };
    let mut candidates = Vec::new();
    for (n, (part, site, canary, fails, slow)) in case.nodes.iter().enumerate() {
        let part = match part {
            0 => Part::Down,
            1 => Part::Voter,
            2 if n == case.leader => Part::Leader(1),
            2 => Part::Voter,
            _ => Part::None,
        };
        let site: Name = format!("site{site}").parse().unwrap();
        if part != Part::None {
            world.servers.insert(name(n));
        }
        if matches!(part, Part::Leader(_)) {
            world.leader = Some(name(n));
        }
        if *fails {
            world.failing.insert(name(n));
        }
        world.slow.insert(name(n), *slow);
        world.sites.insert(name(n), site.clone());
        candidates.push(Candidate {
            name: name(n),
            site,
            part,
            canary: *canary,
        });
    }
    let limits = Limits {
        at_once: case.at_once,
        per_site: case.per_site,
    };
    (world, Plan::rolling(&candidates, limits))
}

fn run(world: &World, plan: &Plan, on_failure: OnFailure) -> BTreeMap<Name, Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(world.run(plan, on_failure))
}

const POLICIES: [OnFailure; 3] = [OnFailure::Stop, OnFailure::Continue, OnFailure::Rollback];

proptest! {
    #[test]
    fn servers_are_changed_alone_and_only_when_they_can_be_spared(case in cases()) {
        for policy in POLICIES {
            let (world, plan) = world(&case);
            run(&world, &plan, policy);
            prop_assert!(!world.two_servers.get());
            prop_assert!(!world.unguarded.get());
        }
    }

    #[test]
    fn limits_are_honoured(case in cases()) {
        for policy in POLICIES {
            let (world, plan) = world(&case);
            run(&world, &plan, policy);
            prop_assert!(world.most.get() <= case.at_once);
            prop_assert!(case.per_site.is_none_or(|most| world.most_per_site.get() <= most));
        }
    }

    #[test]
    fn the_leader_is_the_last_of_the_servers(case in cases()) {
        let (world, plan) = world(&case);
        run(&world, &plan, OnFailure::Continue);
        if let Some(leader) = &world.leader {
            let begun = world.begun.borrow();
            let last = begun.iter().rfind(|n| world.servers.contains(*n));
            prop_assert!(!begun.contains(leader) || last == Some(leader), "{begun:?}");
        }
    }

    #[test]
    fn every_node_has_one_outcome_and_is_begun_once_at_most(case in cases()) {
        for policy in POLICIES {
            let (world, plan) = world(&case);
            let outcomes = run(&world, &plan, policy);
            prop_assert_eq!(outcomes.len(), case.nodes.len());
            let begun = world.begun.borrow();
            prop_assert_eq!(begun.iter().collect::<BTreeSet<_>>().len(), begun.len());
            // Without a failure, and with a quorum, all are done.
            if world.failing.is_empty() && world.lost_after.is_none() {
                prop_assert!(outcomes.values().all(|outcome| outcome.ok));
            }
        }
    }

    #[test]
    fn after_a_failure_nothing_begins_but_what_runs_ends(case in cases()) {
        let (world, plan) = world(&case);
        let outcomes = run(&world, &plan, OnFailure::Stop);
        let begun = world.begun.borrow().len();
        // A node may have been admitted beside the first failing one, and take its first step after
        // that.
        let before = world.begun_before_failure.get();
        prop_assert!(before.is_none_or(|before| begun - before < case.at_once));
        let left = outcomes.values().filter(|o| o.words.starts_with("left")).count();
        prop_assert_eq!(left + begun, case.nodes.len());
    }

    #[test]
    fn a_canary_that_fails_ends_the_run_under_every_policy(case in cases()) {
        for policy in POLICIES {
            let (world, plan) = world(&case);
            run(&world, &plan, policy);
            let begun = world.begun.borrow();
            let mut failed = false;
            for phase in &plan.phases {
                if failed {
                    prop_assert!(phase.nodes().iter().all(|n| !begun.contains(n)));
                }
                failed |= phase.canary()
                    && phase.nodes().iter().any(|n| begun.contains(n) && world.failing.contains(n));
            }
        }
    }

    #[test]
    fn a_run_that_is_taken_back_leaves_every_node_as_it_was(case in cases()) {
        let case = Case { lost_after: None, ..case };
        let (world, plan) = world(&case);
        let outcomes = run(&world, &plan, OnFailure::Rollback);
        if outcomes.values().any(|outcome| !outcome.ok) {
            prop_assert!(world.changed.borrow().is_empty());
            prop_assert!(outcomes.values().all(|outcome| !outcome.ok));
        }
    }
}

#[test]
fn a_leader_that_was_elected_meanwhile_is_put_off_once() {
    let nodes: Vec<Name> = (0..3).map(name).collect();
    let world = World {
        leader: Some(name(0)),
        servers: nodes.iter().cloned().collect(),
        ..World::default()
    };
    let servers = nodes.into_iter().map(|name| (Part::Voter, name));
    run(&world, &Plan::servers(servers.collect()), OnFailure::Stop);
    assert_eq!(*world.begun.borrow(), [name(1), name(2), name(0)]);
}

#[test]
fn servers_that_cannot_be_spared_are_left_and_the_others_go_on_if_so_asked() {
    let mut case = Case {
        nodes: vec![(1, 0, false, false, 0); 3],
        at_once: 1,
        per_site: None,
        stuck: false,
        lost_after: Some(1),
        leader: 9,
    };
    case.nodes.push((5, 0, false, false, 0));
    for (policy, begun) in [(OnFailure::Stop, 1), (OnFailure::Continue, 2)] {
        let (world, plan) = world(&case);
        let outcomes = run(&world, &plan, policy);
        assert_eq!(world.begun.borrow().len(), begun);
        assert!(outcomes[&name(1)].words.contains("left as it was"));
        assert!(outcomes[&name(2)].words.contains("not healthy"));
    }
}

#[test]
fn what_failed_goes_back_first_and_servers_last() {
    let nodes = vec![
        (1, 0, false, false, 0),
        (1, 0, false, false, 0),
        (5, 0, true, false, 0),
        (5, 0, false, true, 0),
    ];
    let case = Case {
        nodes,
        at_once: 1,
        per_site: None,
        stuck: true,
        lost_after: None,
        leader: 9,
    };
    let (world, plan) = world(&case);
    assert!(matches!(&plan.phases[0], Phase::Some { canary: true, .. }));
    run(&world, &plan, OnFailure::Rollback);
    assert_eq!(
        *world.taken_back.borrow(),
        [name(3), name(2), name(1), name(0)]
    );
}

#[test]
fn a_server_that_is_taken_back_into_a_broken_quorum_is_told_of_with_its_error() {
    let case = Case {
        nodes: vec![(1, 0, false, false, 0), (1, 0, false, true, 0)],
        at_once: 1,
        per_site: None,
        stuck: false,
        lost_after: None,
        leader: 9,
    };
    let (mut world, plan) = world(&case);
    world.ill_when_back.insert(name(0));
    let outcomes = run(&world, &plan, OnFailure::Rollback);
    assert_eq!(
        world.told.borrow().get(&name(0)).map(String::as_str),
        Some("the servers are not whole")
    );
    let outcome = &outcomes[&name(0)];
    assert!(!outcome.ok && outcome.error.is_some());
    let words = &outcome.words;
    assert!(
        words.starts_with("taken back, but the servers are not whole"),
        "{words}"
    );
}

#[test]
fn a_canary_is_a_number_or_a_selector() {
    assert_eq!("2".parse::<Canary>().unwrap(), Canary::Count(2));
    assert_eq!(
        "@edge".parse::<Canary>().unwrap(),
        Canary::Selected("@edge".into())
    );
    assert!("0".parse::<Canary>().is_err());
    assert!("role:king".parse::<Canary>().is_err());
}
