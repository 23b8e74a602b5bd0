//! Faults at any moment of a deployment: every node ends with the old or the new system and without
//! leases, and another run completes the deployment.
//!
//! Each run deploys to three nodes at once, each with a fault of its own, and sometimes kills the tool.
//! Two systems alternate, so that nothing is built or evaluated twice.
//!
//! `NIXCFG_FAULT_RUNS` sets the number of faults (20), `NIXCFG_FAULT_SEED` the choice.

use std::thread::{self, sleep};
use std::time::Duration;

use crate::support::{Kept, Lab, NODES, Repo, Tool};

/// A fault of a node.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// All connections of the node's sshd are cut.
    Connections,
    /// The node loses power, and starts again.
    Power,
    /// The cable is unplugged for a while.
    Cut,
    /// Half of all frames get lost for a while.
    Loss,
    /// Each frame comes two seconds late for a while.
    Delay,
    /// The disk is full for a while.
    Disk,
}

const FAULTS: [Fault; 6] = [
    Fault::Connections,
    Fault::Power,
    Fault::Cut,
    Fault::Loss,
    Fault::Delay,
    Fault::Disk,
];

/// The moment of a fault.
#[derive(Debug, Clone)]
enum Moment {
    /// When this condition holds on the node, or the tool has ended.
    Step(&'static str),
    /// This many milliseconds after the start.
    After(u64),
}

const STEPS: [&str; 6] = [
    // The run holds the lease.
    "test -e /run/nixcfg/node.lease",
    // The node can go back by itself.
    "test -e /var/lib/nixcfg/rollback/pending",
    // The profile has changed.
    r#"test "$(readlink /nix/var/nix/profiles/system)" != "$(cat /root/generation)""#,
    // The activation runs.
    "test -e /run/switching",
    // The new system runs.
    r#"test "$(readlink -f /run/current-system)" != "$(cat /root/running)""#,
    // The node waits for confirmation.
    "systemctl is-active 'nixcfg-confirm-*.timer' | grep -q active",
];

/// Numbers from a seed (xorshift64*, S. Vigna 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % most
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// One of the two systems; its activation leaves a mark while it runs.
fn system(text: &str) -> String {
    format!(
        r#"{{ environment.etc."nixcfg-test".text = "{text}"; system.activationScripts.slow.text = "if [ \"$NIXOS_ACTION\" = switch ]; then touch /run/switching; sleep 1; fi"; }}"#
    )
}

fn deploy(repo: &Repo, lab: &Lab) -> Tool {
    Tool::deploy(repo, lab).args(&["--strategy", "parallel", "--confirm-timeout", "10"])
}

/// The fault of one node in a run.
#[derive(Debug, Clone)]
struct Strike {
    node: &'static str,
    fault: Fault,
    moment: Moment,
}

fn await_moment(lab: &Lab, node: &str, moment: &Moment) {
    match moment {
        Moment::After(milliseconds) => sleep(Duration::from_millis(*milliseconds)),
        Moment::Step(condition) => {
            lab.root(
                node,
                &format!("i=0; while [ $i -lt 600 ]; do if {condition}; then exit; fi; sleep 0.05; i=$((i + 1)); done"),
            );
        }
    }
}

impl Strike {
    fn happen(&self, lab: &Lab) {
        let node = self.node;
        await_moment(lab, node, &self.moment);
        let a_while = Duration::from_secs(6);
        let passing = |begin: &[&str], time: Duration, end: &str| {
            lab.fault(node, begin);
            sleep(time);
            lab.fault(node, &[end]);
        };
        match self.fault {
            Fault::Connections => {
                lab.root(
                    node,
                    "for p in $(pgrep -f '[s]shd.*alice'); do kill -9 $p; done; true",
                );
            }
            Fault::Power => passing(&["kill"], Duration::ZERO, "start"),
            // Longer than a node waits for confirmation.
            Fault::Cut => passing(&["cut"], Duration::from_secs(14), "join"),
            Fault::Loss => passing(&["loss", "50"], a_while, "clear"),
            Fault::Delay => passing(&["delay", "2000"], a_while, "clear"),
            Fault::Disk => passing(&["fill-disk"], a_while, "free-disk"),
        }
    }
}

/// Prints what is left of a change.
const LEFT: &str = "ls -d /var/lib/nixcfg/rollback/pending /etc/systemd/system.control /run/nixcfg/*.lease 2>/dev/null; \
    systemctl list-units --all --plain --no-legend 'nixcfg-switch-*' 'nixcfg-overdue-*' 'nixcfg-confirm-*' 'nixcfg-return-*'; \
    flock --nonblock /run/nixos/switch-to-configuration.lock true || echo locked";

/// Waits until nothing of a change is left.
fn comes_to_rest(lab: &Lab, node: &str, context: &str) {
    let left = lab.root(
        node,
        &format!("i=0; while [ $i -lt 400 ]; do left=$({LEFT}); [ -n \"$left\" ] || exit 0; sleep 0.5; i=$((i + 1)); done; echo \"$left\""),
    );
    assert_eq!(
        left, "",
        "{context}: {node} has something left of the change"
    );
}

/// Whether the node has the new system. Fails if it has neither the old nor the new one entirely.
fn is_new(lab: &Lab, node: &str, before: &str, [old, new]: [&str; 2], context: &str) -> bool {
    let state = lab.state(node);
    let paths: Vec<&str> = state.lines().collect();
    assert_eq!(
        paths[0], paths[1],
        "{context}: {node} runs what its profile says"
    );
    let text = lab.root(node, "cat /etc/nixcfg-test");
    let wanted = if state == before { old } else { new };
    assert_eq!(text, wanted, "{context}: {node} is at one system, whole");
    state != before
}

#[test]
fn every_fault_at_every_moment_leaves_one_of_two_states_and_running_again_completes() {
    let lab = Lab::bare();
    let texts = ["one", "two"];
    let repos = texts.map(|text| {
        let repo = Repo::new();
        for node in NODES {
            repo.configure(node, &system(text));
        }
        repo
    });
    let (faults, seed) = (
        number("NIXCFG_FAULT_RUNS", 20),
        number("NIXCFG_FAULT_SEED", 1),
    );
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    deploy(&repos[0], &lab).exits(0);
    let (mut struck, mut run, mut step) = (0, 0, 0);
    while struck < faults {
        run += 1;
        let (old, new) = (texts[(run + 1) % 2], texts[run % 2]);
        let repo = &repos[run % 2];
        // Each step in turn, then random moments.
        let mut moment = || {
            step += 1;
            match STEPS.get(step % (STEPS.len() + 1)) {
                Some(step) => Moment::Step(step),
                None => Moment::After(random.below(9000)),
            }
        };
        let moments = NODES.map(|_| moment());
        let strikes: Vec<Strike> = NODES
            .into_iter()
            .zip(moments)
            .map(|(node, moment)| Strike {
                node,
                fault: FAULTS[random.below(FAULTS.len() as u64) as usize],
                moment,
            })
            .collect();
        let killed = (random.below(3) == 0).then(|| random.below(9000));
        struck += strikes.len() as u64 + u64::from(killed.is_some());
        let context =
            format!("seed {seed}, run {run}, {strikes:?}, the tool killed after {killed:?} ms");
        eprintln!("{context}");
        let before = NODES.map(|node| {
            lab.root(
                node,
                "rm -f /run/switching; readlink /nix/var/nix/profiles/system >/root/generation; readlink -f /run/current-system >/root/running",
            );
            lab.state(node)
        });
        let mut command = deploy(repo, &lab).into_command();
        let mut tool = Kept::start(&mut command);
        thread::scope(|scope| {
            for strike in &strikes {
                scope.spawn(|| strike.happen(&lab));
            }
            if let Some(milliseconds) = killed {
                sleep(Duration::from_millis(milliseconds));
                // The tool may have ended already.
                let _ = tool.kill();
            }
        });
        let code = tool.wait().unwrap().code();
        for (node, before) in NODES.into_iter().zip(&before) {
            comes_to_rest(&lab, node, &context);
            if !is_new(&lab, node, before, [old, new], &context) {
                assert_ne!(
                    code,
                    Some(0),
                    "{context}: what was rolled back is not told as done"
                );
            }
        }
        deploy(repo, &lab).exits(0);
        for node in NODES {
            comes_to_rest(&lab, node, &context);
            assert_eq!(
                lab.root(node, "cat /etc/nixcfg-test"),
                new,
                "{context}: {node}, again"
            );
        }
    }
    eprintln!("{struck} faults in {run} runs");
}
