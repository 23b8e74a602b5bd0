//! Restarts of nodes for their new systems: drains, the watch, going back, and runs that complete
//! interrupted ones.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Running};
use crate::support::endpoint::Endpoint;
use crate::support::nomad::{self, Nomad};
use crate::support::{
    self, Kept, Lab, Ran, Repo, Tool, deaf, mute, other_kernel, stop_sshd, system,
};

const NODE: &str = "alder";

/// A systemd that cannot replace the running one.
const INIT: &str = "systemd.package = pkgs.systemd // { interfaceVersion = 3; };";
/// A running unit with Nomad's name.
const NOMAD: &str = r#"systemd.services.nomad = lib.mkForce { wantedBy = [ "multi-user.target" ]; script = "exec sleep infinity"; };"#;
fn deploy(repo: &Repo, lab: &Lab) -> Tool {
    Tool::deploy(repo, lab).args(&[NODE, "--confirm-timeout", "10"])
}

/// The lab and a repository; the node was booted with its system.
fn start(more: &str) -> (Lab, Repo) {
    start_on(&[NODE], more)
}

/// The same, with other nodes bare.
fn start_on(nodes: &[&str], more: &str) -> (Lab, Repo) {
    let (lab, repo) = (Lab::with_bare(nodes), Repo::new());
    repo.configure(NODE, &system("one", more));
    deploy(&repo, &lab).exits(0);
    lab.fault(NODE, &["reboot"]);
    (lab, repo)
}

fn says(lab: &Lab) -> String {
    lab.root(NODE, "cat /etc/nixcfg-test")
}

/// Asserts that the running system was booted, and that nothing of a change is left.
fn at_rest(lab: &Lab) {
    let same = "[ /run/current-system -ef /run/booted-system ]";
    assert!(lab.holds(NODE, same), "what runs was not booted");
    lab.at_rest(NODE);
}

#[test]
fn a_changed_kernel_is_told_and_the_node_restarted_for_it_only_where_asked() {
    let (lab, repo) = start_on(&[NODE, "birch"], "");
    let first = lab.boot_id(NODE);
    repo.configure(NODE, &system("two", other_kernel()));
    deploy(&repo, &lab)
        .exits(0)
        .shows_of("alder", "switched; needs a reboot for its kernel");
    assert_eq!(lab.boot_id(NODE), first);
    deploy(&repo, &lab)
        .arg("--reboot")
        .exits(0)
        .shows("has the system; restart for its kernel")
        .shows_of("alder", "restarted with it");
    let second = lab.boot_id(NODE);
    assert_ne!(second, first);
    assert_eq!(says(&lab), "two");
    at_rest(&lab);
    deploy(&repo, &lab)
        .arg("--reboot")
        .exits(0)
        .shows("unchanged");
    assert_eq!(lab.boot_id(NODE), second);
    // At once, without parts of the new system before the restart.
    repo.configure(NODE, &system("three", ""));
    let mut run = deploy(&repo, &lab)
        .args(&["birch", "--canary", NODE, "--reboot"])
        .into_command();
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    // The restart ended the node's leases; the run takes them again while it continues elsewhere.
    let leased = format!(
        "[ $(cat /proc/sys/kernel/random/boot_id) != {second} ] && grep -q deploy-nixos /run/nixcfg/node.lease /run/nixcfg/cluster.lease"
    );
    let mut seen = false;
    while run.try_wait().unwrap().is_none() {
        seen = seen || lab.holds(NODE, &leased);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ran::from(run.wait_with_output().unwrap())
        .exits(0)
        .shows("restarted with it");
    assert!(seen, "the leases were not taken again");
    assert_ne!(lab.boot_id(NODE), second);
    assert_eq!(says(&lab), "three");
    at_rest(&lab);
}

#[test]
fn a_system_that_cannot_take_over_live_is_booted_where_asked() {
    let (lab, repo) = start("");
    repo.configure(NODE, &system("two", INIT));
    deploy(&repo, &lab).exits(5).shows("needs a reboot");
    assert_eq!(says(&lab), "one");
    let first = lab.boot_id(NODE);
    repo.configure(NODE, &system("three", INIT));
    deploy(&repo, &lab)
        .arg("--reboot")
        .exits(0)
        .shows("restarted with it");
    assert_ne!(lab.boot_id(NODE), first);
    assert_eq!(says(&lab), "three");
    at_rest(&lab);
    deploy(&repo, &lab)
        .args(&["--mode", "test", "--reboot"])
        .exits(2)
        .tells("--mode switch and boot only");
}

/// A switch inhibitor with a string: a system with another string cannot be switched to.
fn inhibitor(value: &str) -> String {
    format!(r#"system.switch.inhibitors.part = "{value}";"#)
}

/// The `status` of the node, without its disk.
fn status(repo: &Repo, lab: &Lab) -> Tool {
    Tool::new(repo, "status")
        .on(lab)
        .args(&[NODE, "--no-drift", "--free", "0"])
}

#[test]
fn what_inhibits_a_switch_is_told_before_anything_changes_and_comes_by_a_restart() {
    let (lab, repo) = start(&inhibitor("a \\\"b\\\""));
    let boot = lab.boot_id(NODE);
    let tool = || deploy(&repo, &lab);
    // A name that only one system has, or other JSON for the same strings, inhibits nothing.
    let same = r#"system.switch.inhibitors.another = "x"; system.build.inhibitSwitch = lib.mkForce (pkgs.writeText "again" ''{ "part" :
      "a \"b\"", "another": "x" }'');"#;
    repo.configure(
        NODE,
        &system("two", &format!("{} {same}", inhibitor("a \\\"b\\\""))),
    );
    tool().exits(0).shows_of("alder", "switched");
    repo.configure(NODE, &system("one", &inhibitor("a \\\"b\\\"")));
    tool().exits(0);
    let before = lab.state(NODE);
    // A changed string does.
    repo.configure(NODE, &system("three", &inhibitor("c")));
    tool()
        .arg("--plan")
        .exits(0)
        .shows("not without a reboot, for its part");
    for mode in ["switch", "test"] {
        tool()
            .args(&["--mode", mode])
            .exits(2)
            .tells("only a restart brings its new part")
            .tells("--reboot restarts");
        assert_eq!(lab.state(NODE), before);
    }
    lab.at_rest(NODE);
    let dry = Tool::deploy(&repo, &lab).args(&[NODE, "--mode", "dry-activate"]);
    dry.exits(0);
    tool().args(&["--mode", "boot"]).exits(0);
    status(&repo, &lab)
        .exits(5)
        .shows("needs a reboot for its part");
    tool()
        .arg("--plan")
        .exits(0)
        .shows("not without a reboot, for its part");
    assert_eq!(
        (lab.boot_id(NODE), says(&lab)),
        (boot.clone(), "one".into())
    );
    tool()
        .arg("--reboot")
        .exits(0)
        .shows_of("alder", "restarted with it");
    assert_ne!(lab.boot_id(NODE), boot);
    assert_eq!(says(&lab), "three");
    let told = status(&repo, &lab).run().out;
    assert!(
        told.contains("generation") && !told.contains("needs a reboot"),
        "{told}"
    );
    at_rest(&lab);
}

#[test]
fn a_system_of_a_release_without_inhibitors_is_left_and_returned_to_by_a_restart() {
    let (lab, repo) = start("");
    let before = lab.state(NODE);
    let older = r#"system.systemBuilderCommands = lib.mkAfter "rm $out/switch-inhibitors";"#;
    repo.configure(NODE, &system("two", older));
    deploy(&repo, &lab)
        .exits(2)
        .tells("only a restart brings its new switch inhibitors")
        .tells("different releases");
    assert_eq!(lab.state(NODE), before);
    deploy(&repo, &lab)
        .arg("--reboot")
        .exits(0)
        .shows("restarted with it");
    assert_eq!(says(&lab), "two");
    let rollback = || {
        Tool::new(&repo, "rollback")
            .on(&lab)
            .args(&[NODE, "--confirm-timeout", "10"])
    };
    let after = lab.state(NODE);
    rollback()
        .exits(2)
        .shows("only a restart brings its switch inhibitors")
        .tells("--reboot restarts");
    assert_eq!(lab.state(NODE), after);
    rollback().arg("--reboot").exits(0);
    assert_eq!(says(&lab), "one");
    at_rest(&lab);
}

#[test]
fn a_node_that_nobody_can_log_in_to_after_its_restart_goes_back_by_another() {
    let (lab, repo) = start("");
    let before = lab.state(NODE);
    repo.configure(
        NODE,
        &system("two", &format!("{} {}", other_kernel(), deaf())),
    );
    deploy(&repo, &lab)
        .arg("--reboot")
        .exits(5)
        .shows("rolled back")
        .shows("could not be confirmed");
    assert_eq!(lab.state(NODE), before);
    assert_eq!(says(&lab), "one");
    at_rest(&lab);
    // The system was switched to and waits for its restart: the node goes back to the booted one.
    let booted = lab.root(NODE, "readlink -f /run/booted-system");
    let quiet = format!(
        r#"{} systemd.services.deaf = {{ wantedBy = [ "multi-user.target" ]; restartIfChanged = false; unitConfig.ConditionPathExists = "/root/deaf"; serviceConfig.Type = "oneshot"; script = "{}"; }};"#,
        other_kernel(),
        stop_sshd()
    );
    repo.configure(NODE, &system("three", &quiet));
    deploy(&repo, &lab).exits(0);
    lab.root(NODE, "touch /root/deaf");
    deploy(&repo, &lab)
        .arg("--reboot")
        .exits(5)
        .shows("rolled back");
    assert_eq!(
        lab.root(
            NODE,
            "readlink -f /run/booted-system /run/current-system /nix/var/nix/profiles/system"
        ),
        format!("{booted}\n{booted}\n{booted}")
    );
    at_rest(&lab);
}

/// The cluster's Nomad, on birch's port.
struct Scheduler {
    cluster: Cluster,
    nomad: Nomad,
    id: String,
    _endpoint: Endpoint,
    _carried: Running,
}

impl Scheduler {
    fn start(lab: &Lab) -> Self {
        let (cluster, nomad) = (Cluster::new(), Nomad::new());
        let id = nomad.add_node(NODE);
        let endpoint = nomad::endpoint(&cluster, &nomad);
        let carried = Command::new("ssh")
            .arg("-F")
            .arg(lab.ssh_config())
            .args(["-N", "-o", "ExitOnForwardFailure=yes", "-R"])
            .arg(format!("127.0.0.1:4646:127.0.0.1:{}", endpoint.port))
            .arg("birch")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            cluster,
            nomad,
            id,
            _endpoint: endpoint,
            _carried: Running(carried),
        }
    }

    /// This is Nomad's only server, so there is no quorum to keep.
    fn command(&self, tool: Tool) -> Command {
        let mut command = tool.args(&["--strategy", "parallel"]).into_command();
        self.cluster.store.in_env(&mut command);
        command
    }

    fn run(&self, tool: Tool) -> Ran {
        self.command(tool).output().unwrap().into()
    }

    fn writes(&self) -> Vec<String> {
        let writes = self.nomad.writes();
        self.nomad.set(|state| state.writes.clear());
        writes
            .iter()
            .map(|path| path.replace(&self.id, "alder"))
            .collect()
    }
}

/// The file of a node's unconfirmed change.
const PENDING: &str = "/var/lib/nixcfg/rollback/pending";

/// Waits for a shell condition on the node, which may be down at times.
fn comes_to(lab: &Lab, condition: &str) {
    let end = Instant::now() + Duration::from_secs(120);
    while !lab.holds(NODE, condition) {
        assert!(Instant::now() < end, "it never came to: {condition}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Restarts the node for its configured system, and kills the run before it can confirm.
fn restarts_unwatched(repo: &Repo, lab: &Lab, args: &[&str]) {
    let tool = Tool::deploy(repo, lab).args(&[NODE, "--reboot"]).args(args);
    let mut command = tool.into_command();
    let mut tool = Kept::start(&mut command);
    comes_to(lab, &format!("grep -qx 'phase reboot' {PENDING}"));
    tool.kill().unwrap();
    tool.wait().unwrap();
}

/// Asserts that the node went back by itself, and why.
fn went_back(lab: &Lab, reason: &str) {
    comes_to(lab, &format!("! [ -e {PENDING} ]"));
    let last = lab.root(NODE, "cat /var/lib/nixcfg/rollback/last");
    assert!(last.contains("outcome returned"), "{last}");
    assert!(last.contains(&format!("reason {reason}")), "{last}");
    at_rest(lab);
}

#[test]
fn a_new_system_that_starts_anew_before_its_confirmation_is_left_at_once() {
    let (lab, repo) = start("");
    let before = lab.state(NODE);
    repo.configure(NODE, &system("two", other_kernel()));
    let long = ["--mode", "boot", "--confirm-timeout", "900"];
    restarts_unwatched(&repo, &lab, &long);
    comes_to(&lab, &format!("grep -q '^started ' {PENDING}"));
    assert_eq!(says(&lab), "two");
    lab.fault(NODE, &["kill"]);
    lab.fault(NODE, &["start"]);
    went_back(&lab, "restarted");
    assert_eq!(lab.state(NODE), before);
    assert_eq!(says(&lab), "one");
}

#[test]
fn a_node_goes_back_to_a_system_that_knows_nothing_of_this_and_nothing_is_left() {
    let (lab, repo) = (Lab::with_bare(&[NODE]), Repo::new());
    let bare = lab.root(NODE, "readlink -f /run/booted-system");
    repo.configure(NODE, &system("one", other_kernel()));
    deploy(&repo, &lab)
        .exits(0)
        .shows("needs a reboot for its kernel");
    restarts_unwatched(&repo, &lab, &["--confirm-timeout", "5"]);
    went_back(&lab, "unconfirmed");
    assert_eq!(lab.root(NODE, "readlink -f /run/current-system"), bare);
}

#[test]
fn jobs_leave_a_node_before_its_restart_and_may_come_again_after_it_whatever_its_end() {
    let (lab, repo) = start(NOMAD);
    let scheduler = Scheduler::start(&lab);
    let whole = [
        "/v1/node/alder/drain",
        "/v1/node/alder/drain",
        "/v1/node/alder/eligibility",
    ];
    repo.configure(NODE, &system("two", &format!("{} {NOMAD}", other_kernel())));
    scheduler.nomad.run_on(&scheduler.id, "web.main[0]");
    scheduler
        .run(deploy(&repo, &lab).arg("--reboot"))
        .exits(0)
        .tells("draining in Nomad")
        .tells("web.main[0] still stopping")
        .shows("restarted with it");
    assert!(scheduler.nomad.is_empty(&scheduler.id));
    assert_eq!(scheduler.writes(), whole);
    assert_eq!(scheduler.nomad.eligibility(&scheduler.id), "eligible");
    at_rest(&lab);
    // Also if the node goes back.
    repo.configure(NODE, &system("three", &format!("{NOMAD} {}", deaf())));
    scheduler
        .run(deploy(&repo, &lab).arg("--reboot"))
        .exits(5)
        .shows("rolled back");
    assert_eq!(scheduler.writes(), whole);
    assert_eq!(scheduler.nomad.eligibility(&scheduler.id), "eligible");
    assert_eq!(says(&lab), "two");
    at_rest(&lab);
    // A node that another operator made ineligible is drained too, and stays ineligible.
    scheduler.nomad.set(|state| {
        for node in state.nodes.values_mut() {
            node["SchedulingEligibility"] = "ineligible".into();
        }
    });
    repo.configure(NODE, &system("four", NOMAD));
    scheduler
        .run(deploy(&repo, &lab).arg("--reboot"))
        .exits(0)
        .tells("draining in Nomad, where it stays ineligible as it was");
    assert_eq!(scheduler.writes(), ["/v1/node/alder/drain"]);
    assert_eq!(scheduler.nomad.eligibility(&scheduler.id), "ineligible");
    // Without Nomad's API no node restarts.
    repo.configure(
        NODE,
        &system("five", &format!("{} {NOMAD}", other_kernel())),
    );
    let boot = lab.boot_id(NODE);
    deploy(&repo, &lab)
        .env("PASSWORD_STORE_DIR", "/nowhere")
        .args(&["--reboot", "--strategy", "parallel"])
        .exits(5)
        .shows("could not be drained");
    assert_eq!((lab.boot_id(NODE), says(&lab)), (boot, "four".into()));
    at_rest(&lab);
}

#[test]
fn a_run_killed_while_it_drains_leaves_the_old_system_and_the_next_one_finishes() {
    let (lab, repo) = start(NOMAD);
    let before = lab.state(NODE);
    let scheduler = Scheduler::start(&lab);
    scheduler.nomad.set(|state| state.drains_forever = true);
    repo.configure(NODE, &system("two", &format!("{} {NOMAD}", other_kernel())));
    let mut command = scheduler.command(deploy(&repo, &lab).arg("--reboot"));
    let mut tool = Kept::start(&mut command);
    let began = Instant::now();
    while scheduler.nomad.eligibility(&scheduler.id) == "eligible" {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "it never drained"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    tool.kill().unwrap();
    tool.wait().unwrap();
    status(&repo, &lab)
        .exits(5)
        .shows("is drained in Nomad since");
    // The lease ends within a minute; then the node goes back by itself.
    let gone = lab.root(
        NODE,
        "i=0; while [ $i -lt 150 ]; do [ -e /var/lib/nixcfg/rollback/pending ] || { echo yes; exit; }; sleep 1; i=$((i + 1)); done",
    );
    assert_eq!(gone, "yes", "the node never went back");
    assert_eq!(lab.state(NODE), before);
    scheduler.nomad.set(|state| state.drains_forever = false);
    scheduler
        .run(deploy(&repo, &lab).arg("--reboot"))
        .exits(0)
        .tells("an earlier run drained it")
        .shows("restarted with it");
    assert_eq!(scheduler.nomad.eligibility(&scheduler.id), "eligible");
    at_rest(&lab);
}

#[test]
fn the_scenario_of_the_virtual_machines_holds_on_the_lab() {
    let (lab, repo) = start("");
    let base = repo
        .path()
        .join(format!("cluster/prod/node/{NODE}-own.nix.txt"));
    let base = std::fs::read_to_string(base).unwrap();
    let mute = format!("{} {}", other_kernel(), mute());
    let systems: std::collections::BTreeMap<&str, String> =
        [("mute", mute.as_str()), ("kernel", other_kernel())]
            .into_iter()
            .map(|(name, more)| {
                (
                    name,
                    format!("{{ imports = [ ({base}) ({}) ]; }}", system(name, more)),
                )
            })
            .collect();
    let setting = serde_json::json!({
        "lab": support::root().join("checks/lab/lab"),
        "node": NODE,
        "systems": systems,
        "tool": env!("CARGO_BIN_EXE_nixcfg"),
        "options": ["--override-input", "nixpkgs", support::nixpkgs(), "--ssh-config", lab.ssh_config()],
    });
    let output = Command::new("python3")
        .arg(support::root().join("checks/deploy.py"))
        .arg(setting.to_string())
        .current_dir(repo.path())
        .env("NIX_CONFIG", support::NIX_CONFIG)
        .env("SUDO_PASS", support::PASSWORD)
        .env(
            "LAB",
            std::env::var("LAB").unwrap_or_else(|_| "tests".into()),
        )
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran::from(output).exits(0).shows("all holds");
}
