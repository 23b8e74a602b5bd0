//! `deploy-nixos` on the lab's real nodes: its effects and its cost.

mod steps;

use crate::support::{Counters, Lab, NODES, Ran, Repo, Tool, held_in_switch, hold, system};

/// A service that writes `text` when it starts.
fn demo(text: &str) -> String {
    format!(
        r#"{{ pkgs, ... }}: {{
          environment.etc."nixcfg-test".text = "{text}";
          systemd.services.demo = {{
            wantedBy = [ "multi-user.target" ];
            serviceConfig = {{ Type = "oneshot"; RemainAfterExit = true; }};
            script = "echo {text}";
          }};
        }}"#
    )
}

fn calls_of<'a>(calls: &'a [String], what: &str) -> Vec<&'a String> {
    calls.iter().filter(|call| call.contains(what)).collect()
}

#[test]
fn a_bare_cluster_is_configured_then_changed_then_left_alone_at_the_least_cost() {
    let lab = Lab::bare();
    let repo = Repo::new();
    for node in NODES {
        repo.configure(node, &demo(&format!("one {node}")));
    }
    let counters = Counters::new(&["nix", "nix-store", "ssh"]);
    let deploy = || Tool::deploy(&repo, &lab).env("PATH", counters.path());
    let logins = || NODES.map(|node| lab.logins(node));

    let before = logins();
    deploy().exits(0).shows("3 nodes as wanted");
    let after = logins();
    for (i, node) in NODES.iter().enumerate() {
        assert_eq!(
            after[i] - before[i],
            2,
            "{node}: one login, and one for the outcome"
        );
        assert_eq!(
            lab.root(node, "cat /etc/nixcfg-test"),
            format!("one {node}")
        );
        assert_eq!(lab.root(node, "systemctl is-active demo"), "active");
        let state = lab.state(node);
        let paths: Vec<&str> = state.lines().collect();
        assert_eq!(paths[0], paths[1], "{node} runs what it will boot");
        let noted = "journalctl --sync; journalctl -t sudo -o cat --no-pager";
        let noted = lab.root(node, noted);
        assert!(noted.contains("nixcfg-activate"), "{noted}");
        let longest = noted.lines().map(str::len).max().unwrap_or_default();
        assert!(longest < 600, "sudo notes no program of ours: {noted}");
        assert!(!noted.contains("command continued"), "{noted}");
    }
    let calls = counters.take();
    assert_eq!(calls_of(&calls, " copy ").len(), 3, "{calls:#?}");
    assert_eq!(calls_of(&calls, " path-info ").len(), 1, "{calls:#?}");
    assert_eq!(calls_of(&calls, "--realise").len(), 1, "{calls:#?}");

    repo.configure("birch", &demo("two birch"));
    let before = logins();
    deploy()
        .exits(0)
        .shows_of("birch", "switched")
        .shows_of("alder", "unchanged");
    let after = logins();
    assert_eq!([0, 1, 2].map(|i| after[i] - before[i]), [1, 2, 1]);
    assert_eq!(lab.root("birch", "cat /etc/nixcfg-test"), "two birch");
    let calls = counters.take();
    assert_eq!(
        calls_of(&calls, " copy ").len(),
        1,
        "nix copy is for the node that lacks something: {calls:#?}"
    );

    let before = logins();
    deploy().exits(0).shows("3 nodes as wanted");
    let after = logins();
    assert_eq!(
        [0, 1, 2].map(|i| after[i] - before[i]),
        [1, 1, 1],
        "one login a node"
    );
    let calls = counters.take();
    assert!(
        calls_of(&calls, " eval ").is_empty(),
        "an unchanged flake is not evaluated again: {calls:#?}"
    );
    assert_eq!(calls_of(&calls, "flake metadata").len(), 1);
    assert_eq!(calls.len(), 4, "one nix, three ssh: {calls:#?}");
}

#[test]
fn systems_are_evaluated_once_and_by_no_more_workers_than_cores() {
    let lab = Lab::get();
    let repo = Repo::new();
    let counters = Counters::new(&["nix"]);
    let ran = Tool::deploy(&repo, &lab)
        .forgetful()
        .env("PATH", counters.path())
        .env("NIXCFG_LOG", "nixcfg::nix::eval=debug")
        .arg("--plan")
        .exits(0);
    let calls = counters.take();
    let cores = std::thread::available_parallelism().unwrap().get();
    let workers = calls_of(&calls, "#nixosConfigurations").len();
    assert!(
        (1..=cores.min(NODES.len())).contains(&workers),
        "{calls:#?}\n{}",
        ran.err
    );
    assert_eq!(calls_of(&calls, "#clusters").len(), 1, "{calls:#?}");
    let evals = calls_of(&calls, " eval ");
    assert!(
        evals
            .iter()
            .all(|call| call.contains("--option eval-cache false")),
        "evaluators at once do not share Nix's cache: {calls:#?}"
    );
}

#[test]
fn a_plan_tells_what_would_be_done_and_changes_nothing() {
    let lab = Lab::with_bare(&["alder", "birch"]);
    let repo = Repo::new();
    let before = lab.states();
    let ran = Tool::deploy(&repo, &lab)
        .args(&["--plan", "alder", "birch"])
        .password(None)
        .run();
    let ran = ran
        .exits(0)
        .shows_of("alder", "copy ")
        .tells("comes last of them): servers one by one: alder, birch")
        .shows("planned only; nothing was changed");
    assert!(
        !ran.out.contains("cedar"),
        "only the nodes that were named: {}",
        ran.out
    );
    assert_eq!(lab.states(), before);
}

#[test]
fn boot_test_and_dry_activate_do_what_they_say_and_no_more() {
    let lab = Lab::with_bare(&["alder"]);
    let repo = Repo::new();
    repo.configure("alder", &demo("base"));
    Tool::deploy(&repo, &lab).arg("alder").exits(0);
    let base = lab.root("alder", "readlink -f /run/current-system");
    let current = || lab.root("alder", "readlink -f /run/current-system");
    let profile = || lab.root("alder", "readlink -f /nix/var/nix/profiles/system");

    repo.configure("alder", &demo("dry"));
    let ran = Tool::deploy(&repo, &lab)
        .args(&["alder", "--mode", "dry-activate"])
        .exits(0);
    assert!(
        ran.err.contains("demo.service"),
        "a dry run shows the unit it would touch: {}",
        ran.err
    );
    assert_eq!((current(), profile()), (base.clone(), base.clone()));

    repo.configure("alder", &demo("tested"));
    Tool::deploy(&repo, &lab)
        .args(&["alder", "--mode", "test"])
        .exits(0);
    assert_ne!(current(), base);
    assert_eq!(profile(), base);
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "tested");

    repo.configure("alder", &demo("booted"));
    let running = current();
    Tool::deploy(&repo, &lab)
        .args(&["alder", "--mode", "boot"])
        .exits(0);
    assert_eq!(current(), running);
    assert_ne!(profile(), base);
    lab.fault("alder", &["reboot"]);
    assert_eq!(
        lab.root("alder", "cat /etc/nixcfg-test"),
        "booted",
        "the node boots its profile's system"
    );
}

#[test]
fn a_unit_that_fails_is_named_and_mending_it_ends_well() {
    let lab = Lab::with_bare(&["birch"]);
    let repo = Repo::new();
    repo.configure(
        "birch",
        r#"{ systemd.services.broken = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "echo it is broken; exit 3"; }; }"#,
    );
    Tool::deploy(&repo, &lab)
        .exits(5)
        .shows("broken.service")
        .shows("2 of 3 nodes as wanted; not: birch");
    // The unit still fails, so the second run fails as well.
    Tool::deploy(&repo, &lab).exits(5).shows("broken.service");
    repo.configure("birch", "{ }");
    Tool::deploy(&repo, &lab).exits(0);
}

#[test]
fn a_switch_that_is_refused_leaves_the_exact_generation_that_was_there() {
    let lab = Lab::with_bare(&["cedar"]);
    let repo = Repo::new();
    repo.configure("cedar", &demo("good"));
    Tool::deploy(&repo, &lab).arg("cedar").exits(0);
    let before = lab.state("cedar");
    repo.configure(
        "cedar",
        r#"{ system.preSwitchChecks.no = "echo not today >&2; exit 1"; }"#,
    );
    Tool::deploy(&repo, &lab)
        .arg("cedar")
        .exits(5)
        .tells("not today")
        .shows("not switched: Pre-switch check 'no' failed");
    assert_eq!(lab.state("cedar"), before);
}

/// A module that makes switch-to-configuration fail with `code` after it has begun.
fn fails_half_way(code: u8) -> String {
    format!(
        r#"{{ lib, pkgs, ... }}: {{ system.systemBuilderCommands = lib.mkAfter ''
          mv $out/bin/switch-to-configuration $out/bin/.unharmed
          cat >$out/bin/switch-to-configuration <<'END'
          #!/bin/sh
          case $1 in switch | test) ;; *) exec "''${{0%/*}}/.unharmed" "$@" ;; esac
          echo "stopping the following units: held.service" >&2
          systemctl stop held.service
          echo "Error: Failed to reset failed units" >&2
          exit {code}
          END
          chmod +x $out/bin/switch-to-configuration
        ''; {held} }}"#,
        held = HELD
    )
}

/// A running unit, the same in all systems.
const HELD: &str = r#"systemd.services.held = { wantedBy = [ "multi-user.target" ]; script = "exec sleep infinity"; };"#;

#[test]
fn a_switch_that_fails_half_way_is_not_told_as_untouched_and_its_units_run_again() {
    let (lab, repo) = (Lab::with_bare(&["cedar"]), Repo::new());
    repo.configure("cedar", &format!("{{ {HELD} }}"));
    Tool::deploy(&repo, &lab).arg("cedar").exits(0);
    let before = lab.state("cedar");
    // A failed activation script also exits with 2, and ENOENT is 2.
    for (code, policy) in [(1, "rollback"), (2, "keep")] {
        repo.configure("cedar", &fails_half_way(code));
        Tool::deploy(&repo, &lab)
            .args(&["cedar", "--on-degraded", policy])
            .exits(5)
            .shows("rolled back")
            .shows("Failed to reset failed units");
        assert_eq!(lab.state("cedar"), before, "{code}");
        assert!(lab.holds("cedar", "systemctl is-active --quiet held.service"));
    }
}

#[test]
fn a_node_whose_nix_answers_root_alone_is_deployed_to() {
    let (lab, repo) = (Lab::with_bare(&["cedar"]), Repo::new());
    let only_root = r#"{ nix.settings.allowed-users = [ "root" ]; }"#;
    repo.configure("cedar", only_root);
    Tool::deploy(&repo, &lab).arg("cedar").exits(0);
    lab.root("cedar", "systemctl restart nix-daemon.service");
    assert!(
        !lab.holds(
            "cedar",
            "su alice -c 'nix-store --check-validity /run/current-system'"
        ),
        "the administrator may still ask"
    );
    repo.configure("cedar", &demo("asked by root"));
    Tool::deploy(&repo, &lab)
        .args(&["cedar", "--plan"])
        .password(None)
        .exits(3)
        .tells("allowed-users")
        .tells("SUDO_PASS");
    Tool::deploy(&repo, &lab)
        .args(&["cedar", "--plan"])
        .exits(0)
        .shows("copy ");
    Tool::deploy(&repo, &lab).arg("cedar").exits(0);
}

#[test]
fn a_held_lock_is_told_and_nothing_is_changed() {
    let lab = Lab::with_bare(&["alder"]);
    let repo = Repo::new();
    let before = lab.state("alder");
    lab.root(
        "alder",
        "mkdir -p /run/nixos; systemd-run --quiet --unit=holder flock /run/nixos/switch-to-configuration.lock \"$(command -v sleep)\" 120; sleep 0.5",
    );
    let ran = Tool::deploy(&repo, &lab).arg("alder").run();
    lab.root("alder", "systemctl stop holder");
    ran.exits(5).shows("another switch is going on");
    assert_eq!(lab.state("alder"), before);
    Tool::deploy(&repo, &lab).arg("alder").exits(0);
}

#[test]
fn a_switch_outlives_its_connection_and_its_outcome_is_read_over_a_new_one() {
    let lab = Lab::with_bare(&["alder"]);
    let repo = Repo::new();
    repo.configure("alder", &system("cut", &hold()));
    let run = held_in_switch(&lab, "alder", Tool::deploy(&repo, &lab).arg("alder"));
    // All connections are cut; the switch goes on.
    lab.root(
        "alder",
        "for p in $(pgrep -f '[s]shd.*alice'); do kill -9 $p; done; touch /run/go-on",
    );
    let ran = Ran::from(run.wait_with_output().unwrap());
    ran.exits(0).shows_of("alder", "switched");
}

#[test]
fn an_interrupted_run_can_be_run_again() {
    let lab = Lab::with_bare(&["alder"]);
    let repo = Repo::new();
    repo.configure(
        "alder",
        r#"{ system.activationScripts.slow.text = "touch /run/switching; sleep 2"; environment.etc."nixcfg-test".text = "whole"; }"#,
    );
    let mut child = Tool::deploy(&repo, &lab)
        .args(&["alder", "--confirm-timeout", "5"])
        .into_command()
        .spawn()
        .unwrap();
    lab.until("alder", "test -e /run/switching");
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody confirms the system, so the node waits and goes back.
    Tool::deploy(&repo, &lab)
        .arg("alder")
        .exits(0)
        .tells("waiting for the end of a change that nobody confirmed")
        .shows_of("alder", "switched");
}

#[test]
fn json_is_one_object_a_line_and_ends_with_a_summary() {
    let lab = Lab::get();
    let repo = Repo::new();
    let ran = Tool::deploy(&repo, &lab)
        .args(&["--plan", "--json"])
        .exits(0);
    let events: Vec<serde_json::Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events.iter().all(|event| event["event"].is_string()));
    assert_eq!(
        events
            .iter()
            .filter(|event| event["event"] == "plan")
            .count(),
        3
    );
    assert_eq!(events.last().unwrap()["event"], "summary");
    assert_eq!(ran.err, "");
}
