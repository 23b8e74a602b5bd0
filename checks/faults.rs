//! Faults at any moment of a deployment: the node ends in one of two states,
//! with nothing held, and running again completes.
//!
//! `NIXCFG_FAULT_RUNS` says how many faults are tried (12), `NIXCFG_FAULT_SEED` which.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use support::{Lab, Repo, Tool};

const NODE: &str = "alder";

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The tool is killed.
    Tool,
    /// Every connection that the node's sshd serves is cut off.
    Connections,
    /// The node's power is cut, and comes back.
    Power,
    /// Its cable is out for a while.
    Cut,
    /// Half of all frames are lost for a while.
    Loss,
    /// Each frame is two seconds late for a while.
    Delay,
    /// Its disk is full for a while.
    Disk,
}

const FAULTS: [Fault; 7] = [
    Fault::Tool,
    Fault::Connections,
    Fault::Power,
    Fault::Cut,
    Fault::Loss,
    Fault::Delay,
    Fault::Disk,
];

/// When it goes wrong: as the node comes to a step, or some time after the start.
#[derive(Debug, Clone)]
enum Moment {
    /// When this holds on the node, or the tool has ended.
    Step(&'static str),
    /// After so many milliseconds.
    After(u64),
}

const STEPS: [&str; 6] = [
    // The lease is held.
    "test -e /run/nixcfg/node.lease",
    // The way back is prepared.
    "test -e /var/lib/nixcfg/rollback/pending",
    // The profile is another.
    r#"test "$(readlink /nix/var/nix/profiles/system)" != "$(cat /root/generation)""#,
    // The system is being activated.
    "test -e /run/switching",
    // It runs.
    r#"test "$(readlink -f /run/current-system)" != "$(cat /root/running)""#,
    // It waits for confirmation.
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

/// A system of its own for each number; its activation says that it goes on.
fn system(n: u64) -> String {
    format!(
        r#"{{ environment.etc."nixcfg-test".text = "{n}"; system.activationScripts.slow.text = "if [ \"$NIXOS_ACTION\" = switch ]; then touch /run/switching; sleep 1; fi"; }}"#
    )
}

fn deploy(repo: &Repo, lab: &Lab) -> Tool {
    Tool::deploy(repo, lab).args(&[NODE, "--confirm-timeout", "10"])
}

fn await_moment(lab: &Lab, moment: &Moment) {
    match moment {
        Moment::After(milliseconds) => sleep(Duration::from_millis(*milliseconds)),
        Moment::Step(condition) => {
            lab.root(
                NODE,
                &format!("i=0; while [ $i -lt 600 ]; do if {condition}; then exit; fi; sleep 0.05; i=$((i + 1)); done"),
            );
        }
    }
}

fn strike(lab: &Lab, fault: Fault, tool: &mut Child) {
    let a_while = Duration::from_secs(6);
    match fault {
        Fault::Tool => tool.kill().unwrap(),
        Fault::Connections => {
            lab.root(
                NODE,
                "for p in $(pgrep -f '[s]shd.*alice'); do kill -9 $p; done; true",
            );
        }
        Fault::Power => {
            lab.fault(NODE, &["kill"]);
            lab.fault(NODE, &["start"]);
        }
        Fault::Cut => {
            lab.fault(NODE, &["cut"]);
            sleep(a_while * 3);
            lab.fault(NODE, &["join"]);
        }
        Fault::Loss | Fault::Delay => {
            lab.fault(
                NODE,
                match fault {
                    Fault::Loss => &["loss", "50"],
                    _ => &["delay", "2000"],
                },
            );
            sleep(a_while);
            lab.fault(NODE, &["clear"]);
        }
        Fault::Disk => {
            lab.fault(NODE, &["fill-disk"]);
            sleep(a_while);
            lab.fault(NODE, &["free-disk"]);
        }
    }
}

/// What may be left of a change, and has to be gone.
const LEFT: &str = "ls -d /var/lib/nixcfg/rollback/pending /etc/systemd/system.control /run/nixcfg/*.lease 2>/dev/null; \
    systemctl list-units --all --plain --no-legend 'nixcfg-switch-*' 'nixcfg-overdue-*' 'nixcfg-confirm-*' 'nixcfg-return-*'; \
    flock --nonblock /run/nixos/switch-to-configuration.lock true || echo locked";

/// Waits until nothing is left of a change.
fn comes_to_rest(lab: &Lab, context: &str) {
    let left = lab.root(
        NODE,
        &format!("i=0; while [ $i -lt 400 ]; do left=$({LEFT}); [ -n \"$left\" ] || exit 0; sleep 0.5; i=$((i + 1)); done; echo \"$left\""),
    );
    assert_eq!(left, "", "{context}: something is left of the change");
}

#[test]
fn every_fault_at_every_moment_leaves_one_of_two_states_and_running_again_completes() {
    let (lab, repo) = (Lab::bare(), Repo::new());
    let (runs, seed) = (
        number("NIXCFG_FAULT_RUNS", 12),
        number("NIXCFG_FAULT_SEED", 1),
    );
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    repo.configure(NODE, &system(0));
    deploy(&repo, &lab).run().exits(0);
    for run in 1..=runs {
        let fault = FAULTS[random.below(FAULTS.len() as u64) as usize];
        // Each step in turn, then a random moment.
        let step = (run - 1) as usize % (STEPS.len() + 1);
        let moment = match STEPS.get(step) {
            Some(step) => Moment::Step(step),
            None => Moment::After(random.below(9000)),
        };
        let context = format!("seed {seed}, run {run}, {fault:?} at {moment:?}");
        eprintln!("{context}");
        repo.configure(NODE, &system(run));
        let before = lab.state(NODE);
        lab.root(
            NODE,
            "rm -f /run/switching; readlink /nix/var/nix/profiles/system >/root/generation; readlink -f /run/current-system >/root/running",
        );
        let mut command = deploy(&repo, &lab).into_command();
        let mut tool = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        await_moment(&lab, &moment);
        strike(&lab, fault, &mut tool);
        let code = tool.wait().unwrap().code();
        comes_to_rest(&lab, &context);

        let state = lab.state(NODE);
        let paths: Vec<&str> = state.lines().collect();
        assert_eq!(
            paths[0], paths[1],
            "{context}: it runs what its profile says"
        );
        let text = lab.root(NODE, "cat /etc/nixcfg-test");
        if state == before {
            assert_eq!(
                text,
                (run - 1).to_string(),
                "{context}: the old system, whole"
            );
            assert_ne!(
                code,
                Some(0),
                "{context}: what was rolled back is not told as done"
            );
        } else {
            assert_eq!(text, run.to_string(), "{context}: the new system, whole");
        }
        deploy(&repo, &lab).run().exits(0);
        comes_to_rest(&lab, &context);
        assert_eq!(
            lab.root(NODE, "cat /etc/nixcfg-test"),
            run.to_string(),
            "{context}: again"
        );
    }
}
