//! What only genuine NixOS has: its users' script, firewall and `switch-to-configuration`. Run by
//! `checks/run --nixos genuine`.

use std::process::Child;
use std::time::{Duration, Instant};

use nixcfg::password::hash::{Hash, Password};
use nixcfg::secret::Secret;

use crate::support::pass::PassStore;
use crate::support::{
    HOLD, Lab, PASSWORD, Ran, Repo, Tool, genuine, held_in_switch, hold, other_kernel, system,
};

const NODE: &str = "alder";
const CLUSTER: &str = "cluster/prod/cluster.nix";
/// The line that begins bob's keys in the cluster's file.
const BOB: &str = "      bob.keys = [";

/// The lab and a repository; the node has a first system.
fn start() -> (Lab, Repo) {
    start_on(&[NODE])
}

/// The same, with other nodes bare.
fn start_on(nodes: &[&str]) -> (Lab, Repo) {
    assert!(
        genuine(),
        "these tests are for nodes of genuine NixOS: checks/run --nixos genuine"
    );
    let (lab, repo) = (Lab::with_bare(nodes), Repo::new());
    repo.configure(NODE, &system("one", ""));
    deploy(&repo, &lab).exits(0);
    (lab, repo)
}

fn deploy(repo: &Repo, lab: &Lab) -> Tool {
    Tool::deploy(repo, lab).args(&[NODE, "--confirm-timeout", "15"])
}

fn says(lab: &Lab) -> String {
    lab.root(NODE, "cat /etc/nixcfg-test")
}

fn shadow(lab: &Lab, user: &str) -> String {
    lab.root(NODE, &format!("getent shadow {user} | cut -d: -f2"))
}

/// A hash like those of `passwd`, with fewer rounds.
fn hash(password: &str) -> String {
    let password = Password::new(Secret::new(password.to_owned())).unwrap();
    let hash = Hash::sha512crypt(&password, 5000).unwrap();
    hash.expose().to_owned()
}

/// Writes a password file, like deploy-passwords.
fn password_file(lab: &Lab, user: &str, hash: &str) {
    let path = format!("/var/lib/nixcfg/passwords/{user}");
    lab.put(NODE, &path, "600", format!("{hash}\n").as_bytes());
}

/// The node's last event of a run with --json.
fn outcome(ran: &Ran) -> String {
    let mut events = ran
        .out
        .lines()
        .map(|line| -> serde_json::Value { serde_json::from_str(line).unwrap() });
    let done = events
        .rfind(|event| event["event"] == "done" && event["node"] == NODE)
        .unwrap();
    done.to_string()
}

#[test]
fn an_administrator_who_comes_back_has_his_uid_and_home_and_no_password_but_that_of_his_file() {
    let (lab, repo) = start();
    let of_bob = || lab.root(NODE, "id -u bob; stat -c %u /home/bob; cat /home/bob/kept");
    lab.root(NODE, "echo kept >/home/bob/kept");
    let before = of_bob();
    let names = |from: &str, to: &str| repo.replace(CLUSTER, from, to);

    // His successor gets another UID.
    names(BOB, "      carol.keys = [");
    deploy(&repo, &lab).exits(0);
    assert!(!lab.holds(NODE, "getent passwd bob || getent shadow bob"));
    let carol = lab.root(NODE, "id -u carol");
    assert_ne!(before.lines().next(), Some(carol.as_str()));

    names("      carol.keys = [", BOB);
    deploy(&repo, &lab).exits(0);
    assert_eq!(of_bob(), before);
    assert_eq!(shadow(&lab, "bob"), "!", "there was no file");

    names(BOB, "      carol.keys = [");
    deploy(&repo, &lab).exits(0);
    assert_eq!(lab.root(NODE, "id -u carol"), carol);
    names("      carol.keys = [", BOB);
    let wanted = hash("a walrus and a carpenter");
    password_file(&lab, "bob", &wanted);
    deploy(&repo, &lab).exits(0);
    assert_eq!(of_bob(), before);
    assert_eq!(shadow(&lab, "bob"), wanted);
}

#[test]
fn mutable_users_keep_what_was_set_on_the_node_and_immutable_ones_have_what_their_files_say() {
    let (lab, repo) = start();
    let (files, by_hand) = (hash("of the file"), "bob:set by hand");
    let chpasswd = || {
        lab.root(NODE, &format!("echo '{by_hand}' | chpasswd"));
        shadow(&lab, "bob")
    };
    password_file(&lab, "alice", &hash(PASSWORD));
    password_file(&lab, "bob", &files);
    lab.root(NODE, "useradd dora");
    let set = chpasswd();

    // Mutable users: the file applies to new accounts only.
    repo.configure(NODE, &system("mutable", ""));
    deploy(&repo, &lab).exits(0);
    lab.fault(NODE, &["reboot"]);
    assert_eq!(shadow(&lab, "bob"), set);
    assert!(lab.holds(NODE, "id dora"));

    // Immutable users: every activation applies the file and removes accounts that are not configured.
    repo.configure(NODE, &system("immutable", "cluster.mutableUsers = false;"));
    deploy(&repo, &lab).exits(0);
    assert_eq!(shadow(&lab, "bob"), files);
    assert!(!lab.holds(NODE, "id dora"));
    assert_ne!(chpasswd(), files);
    lab.fault(NODE, &["reboot"]);
    assert_eq!(shadow(&lab, "bob"), files);

    // An activation would lock an account without a file, so none begins.
    lab.root(NODE, "rm /var/lib/nixcfg/passwords/bob");
    repo.configure(NODE, &system("another", "cluster.mutableUsers = false;"));
    deploy(&repo, &lab)
        .exits(3)
        .tells("no password file of bob");
    assert_eq!(shadow(&lab, "bob"), files);
    let said = lab.root(NODE, "/run/current-system/activate 2>&1");
    assert!(said.contains("does not exist"), "{said}");
    assert_eq!(shadow(&lab, "bob"), "!");

    // deploy-passwords unlocks it permanently.
    let store = PassStore::plain();
    let wanted = hash("through the looking-glass");
    store.insert("example/cluster/prod/passwd/bob", &format!("{wanted}\n"));
    Tool::new(&repo, "deploy-passwords")
        .on(&lab)
        .args(&[NODE, "--user", "bob"])
        .store(&store)
        .exits(0)
        .shows("password set: bob");
    assert_eq!(shadow(&lab, "bob"), wanted);
    deploy(&repo, &lab).exits(0);
    assert_eq!(shadow(&lab, "bob"), wanted);
    assert_eq!(says(&lab), "another");
}

#[test]
fn failing_units_and_failing_snippets_are_told_apart_and_taken_back_or_kept() {
    let (lab, repo) = start();
    let failing = [
        (
            "unitsFailed",
            r#"systemd.services.broken = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "echo it is broken; exit 3"; };"#,
        ),
        (
            "activationScriptFailed",
            r#"system.activationScripts.broken.text = "echo it is broken >&2; false";"#,
        ),
    ];
    for (what, module) in failing {
        let before = lab.state(NODE);
        repo.configure(NODE, &system(what, module));
        let ran = deploy(&repo, &lab).exits(5).tells("it is broken");
        ran.shows("rolled back");
        assert_eq!(lab.state(NODE), before, "{what}");
        assert_eq!(says(&lab), "one");
        lab.at_rest(NODE);
        let kept = deploy(&repo, &lab).args(&["--on-degraded", "keep", "--json"]);
        let told = outcome(&kept.exits(5));
        assert!(told.contains(&format!(r#""outcome":"{what}""#)), "{told}");
        assert_eq!(says(&lab), what);
        lab.at_rest(NODE);
        repo.configure(NODE, &system("one", ""));
        deploy(&repo, &lab).exits(0);
    }
}

#[test]
fn a_boot_loader_that_fails_leaves_the_system_and_the_generation_that_were_there() {
    let (lab, repo) = start();
    let before = lab.state(NODE);
    let boots = lab.root(NODE, "cat /boot/default");
    let broken = r#"system.build.installBootLoader = lib.mkOverride 10 (pkgs.writeShellScript "broken" "echo no room for it >&2; exit 1");"#;
    repo.configure(NODE, &system("two", broken));
    deploy(&repo, &lab).exits(5).tells("no room for it");
    assert_eq!(lab.state(NODE), before);
    assert_eq!(lab.root(NODE, "cat /boot/default"), boots);
    assert_eq!(says(&lab), "one");
    lab.at_rest(NODE);
}

#[test]
fn a_firewall_that_shuts_ssh_out_is_taken_back_by_the_node_live_and_after_a_restart() {
    let (lab, repo) = start();
    let state = || {
        let rules = lab.root(NODE, "iptables -S nixos-fw");
        (lab.state(NODE), rules, says(&lab))
    };
    let (before, booted) = (state(), lab.boot_id(NODE));
    assert!(before.1.contains("--dport 22 "), "{before:?}");
    let closed = "services.openssh.openFirewall = false;";
    repo.configure(NODE, &system("two", closed));
    let is_taken_back = |mode: &[&str]| {
        deploy(&repo, &lab)
            .args(mode)
            .exits(5)
            .shows("rolled back")
            .shows("could not be confirmed");
        assert_eq!(state(), before);
        lab.at_rest(NODE);
    };
    is_taken_back(&[]);
    assert_eq!(lab.boot_id(NODE), booted, "without a restart");
    is_taken_back(&["--mode", "boot", "--reboot"]);
    assert_ne!(lab.boot_id(NODE), booted);
}

#[test]
fn a_system_for_the_next_boot_runs_from_there_on_and_only_then() {
    let (lab, repo) = start();
    let running = lab.root(NODE, "readlink -f /run/current-system");
    repo.configure(NODE, &system("two", other_kernel()));
    deploy(&repo, &lab)
        .args(&["--mode", "boot"])
        .exits(0)
        .shows("boots the new system from the next start on");
    assert_eq!(lab.root(NODE, "readlink -f /run/current-system"), running);
    assert_eq!(says(&lab), "one");
    let next = lab.root(NODE, "readlink -f /nix/var/nix/profiles/system");
    assert_eq!(lab.root(NODE, "cat /boot/default"), next);
    lab.fault(NODE, &["reboot"]);
    assert_eq!(
        lab.root(NODE, "readlink -f /run/current-system /run/booted-system"),
        format!("{next}\n{next}")
    );
    assert_eq!(says(&lab), "two");
    let booted = lab.boot_id(NODE);
    repo.configure(NODE, &system("three", ""));
    deploy(&repo, &lab)
        .args(&["--mode", "boot", "--reboot"])
        .exits(0)
        .shows("restarted with it");
    assert_eq!(says(&lab), "three");
    assert_ne!(lab.boot_id(NODE), booted);
    lab.at_rest(NODE);
}

/// Starts a run that waits in the switch to a system with [`HOLD`].
fn held(repo: &Repo, lab: &Lab, more: &str, args: &[&str]) -> Child {
    repo.configure(NODE, &system("two", more));
    held_in_switch(lab, NODE, deploy(repo, lab).args(args))
}

#[test]
fn what_a_node_goes_back_to_outlives_a_garbage_collection_in_the_midst_of_the_switch() {
    let (lab, repo) = start();
    repo.configure(NODE, &system("one and a half", ""));
    deploy(&repo, &lab).exits(0);
    let links = "readlink -f /run/current-system /nix/var/nix/profiles/system; readlink /nix/var/nix/profiles/system";
    let before = lab.root(NODE, links);
    // The new system runs, and neither the profile nor the boot keeps the old one from GC.
    let failing = format!(
        r#"systemd.services.failing = {{ wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "{HOLD}; exit 3"; }};"#
    );
    let child = held(&repo, &lab, &failing, &[]);
    assert_ne!(lab.root(NODE, links), before);
    lab.root(NODE, "nix-collect-garbage --delete-old; touch /run/go-on");
    Ran::from(child.wait_with_output().unwrap())
        .exits(5)
        .shows("rolled back");
    assert_eq!(lab.root(NODE, links), before);
    assert_eq!(says(&lab), "one and a half");
    lab.at_rest(NODE);
    lab.fault(NODE, &["reboot"]);
    assert_eq!(says(&lab), "one and a half");
}

#[test]
fn a_system_collected_before_its_turn_is_told_and_brought_again_by_the_next_run() {
    let (lab, repo) = start_on(&[NODE, "birch"]);
    repo.configure("birch", &system("two", ""));
    let before = lab.state("birch");
    // birch has its system copied ahead, and nothing there protects it from GC yet.
    let child = held(&repo, &lab, &hold(), &["birch", "--max-parallel", "1"]);
    let system = "ls -d /nix/store/*-nixos-system-birch-*/nixos-version";
    let end = Instant::now() + Duration::from_secs(120);
    let mut came = false;
    while !came || lab.holds("birch", system) {
        assert!(Instant::now() < end, "came: {came}");
        came = came || lab.holds("birch", system);
        if came {
            lab.root("birch", "nix-collect-garbage");
        }
    }
    lab.root(NODE, "touch /run/go-on");
    Ran::from(child.wait_with_output().unwrap())
        .exits(5)
        .shows_of("alder", "switched")
        .tells("not on this node");
    assert_eq!(lab.state("birch"), before);
    Tool::deploy(&repo, &lab).arg("birch").exits(0);
    assert_eq!(lab.root("birch", "cat /etc/nixcfg-test"), "two");
}

#[test]
fn a_switch_that_somebody_else_has_begun_is_told_and_nothing_is_changed() {
    let (lab, repo) = start();
    let before = lab.state(NODE);
    lab.root(
        NODE,
        "systemd-run --quiet --unit=holder flock /run/nixos/switch-to-configuration.lock \"$(command -v sleep)\" 600",
    );
    let held = "! flock --nonblock /run/nixos/switch-to-configuration.lock true";
    lab.until(NODE, held);
    repo.configure(NODE, &system("two", ""));
    let ran = deploy(&repo, &lab).run();
    lab.root(NODE, "systemctl stop holder");
    ran.exits(5).shows("another switch is going on");
    assert_eq!(lab.state(NODE), before);
    lab.at_rest(NODE);
}

/// Each line of doc/nixos-programs.md that a node can show.
#[test]
fn what_nixos_programs_print_and_return_is_what_is_relied_on() {
    let (lab, repo) = start();
    let running = || lab.root(NODE, "readlink -f /run/current-system");
    let good = running();
    let kept = |text: &str, more: &str| {
        repo.configure(NODE, &system(text, more));
        let tool = deploy(&repo, &lab).args(&["--on-degraded", "keep"]);
        tool.exits(5);
        running()
    };
    let units = kept(
        "units",
        r#"systemd.services.broken = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "exit 3"; };"#,
    );
    let snippet = kept(
        "snippet",
        r#"system.activationScripts.broken.text = "false";"#,
    );
    // The exit code is the first line.
    let switch = |system: &str, action: &str| {
        let program = format!("{system}/bin/switch-to-configuration");
        let said = format!("{program} {action} >/run/said 2>&1; echo \"code $?\"; cat /run/said");
        lab.root(NODE, &said)
    };
    for (system, action, code, words) in [
        (&good, "test", 0, "\nactivating the configuration"),
        (
            &units,
            "test",
            4,
            "\nwarning: the following units failed: broken.service",
        ),
        (&good, "test", 0, "\nactivating the configuration"),
        (&snippet, "test", 2, "\nactivating the configuration"),
        (
            &good,
            "dry-activate",
            0,
            "\nwould activate the configuration",
        ),
        (&good, "nonsense", 1, "\nUsage: "),
        (&good, "switch", 0, "\nactivating the configuration"),
    ] {
        let said = switch(system, action);
        assert!(
            said.starts_with(&format!("code {code}\n")),
            "{action}: {said}"
        );
        assert!(said.contains(words), "{action}: {said}");
    }
    assert_eq!(running(), good);
    assert_eq!(lab.root(NODE, "cat /boot/default"), good);
    for file in [
        "init-interface-version",
        "nixos-version",
        "systemd",
        "sw",
        "activate",
    ] {
        assert!(lab.holds(NODE, &format!("test -e {good}/{file}")), "{file}");
    }
    let link = lab.root(NODE, "readlink /nix/var/nix/profiles/system");
    let number = link
        .strip_prefix("system-")
        .and_then(|rest| rest.strip_suffix("-link"));
    assert!(
        number.is_some_and(|number| number.parse::<u32>().is_ok()),
        "{link}"
    );
    for file in ["declarative-users", "declarative-groups"] {
        let names = lab.root(NODE, &format!("cat /var/lib/nixos/{file}"));
        assert!(!names.is_empty(), "{file}");
    }
    assert!(lab.holds(NODE, "test -e /run/nixos/switch-to-configuration.lock"));
}
