//! Changes that cannot strand a node: leases, confirmation, going back.

use std::process::Child;

use crate::support::{
    Lab, Ran, Repo, Tool, deaf, held_in_switch, hold, mute, other_kernel, sudo, system,
};

/// The lab and a repository; alder has a first system.
fn start() -> (Lab, Repo) {
    start_with(&system("one", ""), &["alder"])
}

fn start_with(first: &str, nodes: &[&str]) -> (Lab, Repo) {
    let (lab, repo) = (Lab::with_bare(nodes), Repo::new());
    repo.configure("alder", first);
    deploy(&repo, &lab).exits(0);
    (lab, repo)
}

fn deploy(repo: &Repo, lab: &Lab) -> Tool {
    Tool::deploy(repo, lab).args(&["alder", "--confirm-timeout", "8"])
}

/// Starts a run that waits in the switch of alder to a system.
fn held(repo: &Repo, lab: &Lab, name: &str, args: &[&str]) -> Child {
    repo.configure("alder", &system(name, &hold()));
    held_in_switch(lab, "alder", deploy(repo, lab).args(args))
}

#[test]
fn a_second_operator_is_told_who_holds_the_node_and_can_take_it_only_by_force() {
    let (lab, repo) = start();
    let child = held(&repo, &lab, "two", &[]);
    deploy(&repo, &lab)
        .env("USER", "mallory")
        .exits(3)
        .tells("is held by")
        .tells("for deploy-nixos")
        .tells("--steal");
    lab.root("alder", "touch /run/go-on");
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.exits(0).shows_of("alder", "switched");
    lab.at_rest("alder");
}

#[test]
fn a_lease_that_too_few_nodes_gave_is_told_with_each_ones_reason() {
    let (lab, repo) = (Lab::with_bare(&["alder", "birch", "cedar"]), Repo::new());
    repo.configure("alder", &system("one", ""));
    lab.fault("birch", &["kill"]);
    lab.root("cedar", &format!("chmod u-s {}", sudo()));
    let ran = deploy(&repo, &lab).run();
    lab.root("cedar", &format!("chmod u+s {}", sudo()));
    ran.exits(0)
        .tells("the lease on the cluster is not held: 1 of the 3 nodes that keep it gave it")
        .tells("birch: cannot be reached")
        .tells("cedar: sudo");
}

#[test]
fn a_run_that_was_robbed_of_its_leases_changes_nothing_more() {
    let (lab, repo) = start_with(&system("one", ""), &["alder", "birch"]);
    // While one operator's run changes alder, before birch …
    repo.configure("birch", &system("two", ""));
    let robbed = held(&repo, &lab, "two", &["birch", "--max-parallel", "1"]);
    // … another operator takes birch.
    repo.configure("birch", &system("three", ""));
    let thief = || {
        Tool::deploy(&repo, &lab)
            .args(&["birch", "--confirm-timeout", "8"])
            .env("USER", "mallory")
    };
    thief().exits(3).tells("is held by");
    thief().arg("--steal").exits(0);
    let state = lab.state("birch");
    lab.root("alder", "touch /run/go-on");
    let ran = Ran::from(robbed.wait_with_output().unwrap());
    ran.exits(5)
        .tells("birch: the switch could not be started; nothing was changed")
        .tells("the lease on this node was lost to mallory@");
    assert_eq!(lab.state("birch"), state);
    assert_eq!(lab.root("birch", "cat /etc/nixcfg-test"), "three");
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "two");
    for node in ["alder", "birch"] {
        lab.at_rest(node);
    }
}

#[test]
fn a_local_account_holds_neither_a_deployment_nor_the_way_back() {
    let (lab, repo) = start();
    // All locks that an ordinary user can open, including those of earlier versions.
    lab.root(
        "alder",
        "mkdir -p /run/nixcfg; touch /run/nixcfg/lease.lock /run/nixcfg/rollback.lock /run/nixcfg-install.lock; \
         for file in /run/nixcfg/*.lock /run/nixcfg/locks/* /run/nixcfg-install.lock /run/nixos/switch-to-configuration.lock; do \
           [ ! -e $file ] || setsid runuser -u nobody -- flock $file sleep 300 >/dev/null 2>&1 & \
         done; sleep 1",
    );
    repo.configure("alder", &system("two", ""));
    Tool::deploy(&repo, &lab).args(&["alder"]).exits(0);
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "two");
    lab.at_rest("alder");
    // … and while the node runs an unconfirmed system.
    let child = held(&repo, &lab, "three", &[]);
    lab.root(
        "alder",
        "for file in /run/nixcfg/*.lock /run/nixcfg/locks/* /run/nixos/switch-to-configuration.lock; do \
           [ ! -e $file ] || setsid runuser -u nobody -- flock $file sleep 300 >/dev/null 2>&1 & \
         done; sleep 1",
    );
    lab.fault("alder", &["cut"]);
    lab.root("alder", "touch /run/go-on");
    lab.until("alder", "! ls /var/lib/nixcfg/rollback/pending");
    lab.fault("alder", &["join"]);
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "two");
    let _ = child.wait_with_output().unwrap();
    lab.root("alder", "pkill -u nobody flock; rm -f /run/nixcfg/*.lock");
    lab.at_rest("alder");
}

#[test]
fn the_lock_of_a_switch_is_judged_by_who_holds_it_and_not_by_who_took_it() {
    let (lab, repo) = start();
    let lock = "/run/nixos/switch-to-configuration.lock";
    // flock(1) takes the lock and ends; the shell or its child keeps it.
    let takes = |who: &str, then: &str| {
        lab.root(
            "alder",
            &format!(
                "mkdir -p /run/nixos; touch {lock}; chmod 644 {lock}; rm -f /run/taken; \
                 setsid {who} sh -c 'exec 9<{lock}; flock 9; {then}' >/dev/null 2>&1 & \
                 until ! flock --nonblock {lock} true; do sleep 0.1; done; sleep 1"
            ),
        )
    };
    takes("runuser -u nobody --", "sleep 300 & exit");
    assert!(lab.holds("alder", "! pgrep -u nobody flock && pgrep -u nobody sleep"));
    repo.configure("alder", &system("two", ""));
    deploy(&repo, &lab).exits(0);
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "two");
    lab.root("alder", "pkill -u nobody sleep");
    lab.at_rest("alder");
    // A root shell with that lock counts as a switch in progress.
    takes("", "sleep 301");
    repo.configure("alder", &system("three", ""));
    let ran = deploy(&repo, &lab).exits(5);
    assert!(
        ran.out.contains("another switch") || ran.err.contains("another switch"),
        "{ran:?}"
    );
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "two");
    lab.root("alder", "pkill -f '[s]leep 301'");
    deploy(&repo, &lab).exits(0);
    lab.at_rest("alder");
}

#[test]
fn a_lease_does_not_outlive_a_restart() {
    let (lab, repo) = start();
    let child = held(&repo, &lab, "two", &[]);
    assert!(lab.holds("alder", "test -e /run/nixcfg/node.lease"));
    lab.fault("alder", &["kill"]);
    lab.fault("alder", &["start"]);
    assert!(!lab.holds("alder", "ls /run/nixcfg/*.lease"));
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.exits(5).shows("rolled back");
    lab.at_rest("alder");
}

#[test]
fn a_lease_ends_with_a_silent_holder_and_not_before() {
    let (lab, repo) = start();
    let child = held(&repo, &lab, "two", &[]);
    // The process is stopped: its connections stay open but silent.
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let held = lab.root("alder", "cat /run/nixcfg/node.lease");
    assert!(held.contains("for deploy-nixos"), "{held}");
    lab.until("alder", "! ls /run/nixcfg/*.lease");
    lab.root("alder", "touch /run/go-on");
    lab.until("alder", "! ls /var/lib/nixcfg/rollback/pending");
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "one");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.exits(5).shows("rolled back");
    lab.at_rest("alder");
}

#[test]
fn what_breaks_the_login_or_sudo_is_taken_back_by_the_node_itself() {
    let (lab, repo) = start();
    let before = lab.state("alder");
    let broken = [
        ("sshd", deaf()),
        ("network", mute()),
        (
            "sudo",
            "security.sudo.extraRules = lib.mkForce [ ]; security.sudo.extraConfig = lib.mkForce \"alice ALL=(ALL) !ALL\"; security.sudo.wheelNeedsPassword = lib.mkForce true;".into(),
        ),
        (
            "account",
            "users.users.alice.openssh.authorizedKeys.keys = lib.mkForce [ ]; services.openssh.authorizedKeysFiles = lib.mkForce [ \"/nowhere\" ];".into(),
        ),
    ];
    for (what, module) in broken {
        repo.configure("alder", &format!("{{ lib, pkgs, ... }}: {{ {module} }}"));
        let ran = deploy(&repo, &lab).run();
        eprintln!("{what}: {}", ran.out);
        ran.exits(5)
            .shows("rolled back")
            .shows("could not be confirmed");
        assert_eq!(lab.state("alder"), before, "{what}");
        assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "one", "{what}");
        let journal = lab.root(
            "alder",
            "journalctl --sync; journalctl -t nixcfg -o cat | tail -n 1",
        );
        assert!(
            journal.contains("outcome=returned (unconfirmed)"),
            "{what}: {journal}"
        );
        lab.at_rest("alder");
    }
}

#[test]
fn a_node_that_restarts_before_its_confirmation_runs_the_old_system() {
    let (lab, repo) = start();
    let before = lab.state("alder");
    // During the switch, when profile and boot loader have the new system.
    let child = held(&repo, &lab, "two", &[]);
    lab.fault("alder", &["kill"]);
    lab.fault("alder", &["start"]);
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.exits(5)
        .shows("rolled back")
        .shows("restarted before it was confirmed");
    assert_eq!(lab.state("alder"), before);
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "one");
    lab.at_rest("alder");
}

#[test]
fn a_changed_port_is_followed() {
    let (lab, repo) = start();
    repo.configure("alder", "{ cluster.nodes.alder.ssh.port = 2222; }");
    deploy(&repo, &lab)
        .exits(0)
        .shows_of("alder", "switched")
        .tells("bring ssh_config in line");
    lab.at_rest("alder");
}

#[test]
fn failing_units_take_the_system_back_or_not_as_the_operator_says() {
    let (lab, repo) = start();
    let before = lab.state("alder");
    let failing = r#"{ systemd.services.broken = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "echo the reason; exit 3"; }; }"#;
    repo.configure("alder", failing);
    deploy(&repo, &lab)
        .exits(5)
        .shows("rolled back")
        .shows("broken.service")
        .tells("the reason");
    assert_eq!(lab.state("alder"), before);
    deploy(&repo, &lab)
        .args(&["--on-degraded", "keep"])
        .exits(5)
        .shows("switched, but failed: broken.service");
    assert_ne!(lab.state("alder"), before);
    lab.at_rest("alder");
}

#[test]
fn accounts_that_a_failed_system_took_over_or_made_are_as_before() {
    let (lab, repo) = start();
    lab.root(
        "alder",
        "useradd --create-home carol && echo 'carol:by hand' | chpasswd",
    );
    let accounts = || {
        lab.root(
            "alder",
            "id -Gn carol; getent passwd carol; getent shadow carol; getent passwd dave || echo no dave",
        )
    };
    let before = accounts();
    assert!(before.ends_with("no dave"), "{before}");
    repo.configure(
        "alder",
        r#"{ users.users = { carol = { isNormalUser = true; extraGroups = [ "wheel" ]; }; dave = { isNormalUser = true; }; }; systemd.services.broken = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "id -Gn carol | grep -w wheel && id dave && echo both are there; exit 3"; }; }"#,
    );
    deploy(&repo, &lab)
        .exits(5)
        .shows("rolled back")
        .tells("both are there");
    assert_eq!(accounts(), before);
    lab.at_rest("alder");
    // The activation of the former system does not remove them either.
    lab.fault("alder", &["reboot"]);
    assert_eq!(accounts(), before);
}

/// A system whose unit makes accounts like userborn (nixos/modules/services/system/userborn.nix, 26.05):
/// it opens the files, changes them and, if users are immutable, closes each by a bind mount on itself.
fn by_userborn(immutable: bool, change: &str, more: &str) -> String {
    let shut = if immutable {
        "mount --bind -o ro /etc/$file /etc/$file"
    } else {
        "true"
    };
    format!(
        r#"{{ lib, ... }}: {{
          system.activationScripts.users = lib.mkForce "";
          systemd.services.userborn = {{
            wantedBy = [ "multi-user.target" ];
            serviceConfig = {{ Type = "oneshot"; RemainAfterExit = true; }};
            script = ''
              export PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin
              for file in passwd group shadow; do umount /etc/$file || true; done
              {change}
              for file in passwd group shadow; do {shut}; done
            '';
          }};
          {more}
        }}"#
    )
}

#[test]
fn accounts_that_userborn_made_and_shut_are_as_before_and_shut_again() {
    let (lab, repo) = start();
    for immutable in [false, true] {
        let shut = || lab.holds("alder", "mountpoint -q /etc/passwd");
        repo.configure("alder", &by_userborn(immutable, "", ""));
        deploy(&repo, &lab).exits(0);
        assert_eq!(shut(), immutable);
        let before = lab.root("alder", "cat /etc/passwd /etc/group /etc/shadow");
        let broken = r#"systemd.services.broken = { after = [ "userborn.service" ]; wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "id dave && echo he is there; exit 3"; };"#;
        let change = "id dave || useradd dave";
        repo.configure("alder", &by_userborn(immutable, change, broken));
        deploy(&repo, &lab)
            .exits(5)
            .shows("rolled back")
            .tells("he is there");
        let after = lab.root("alder", "cat /etc/passwd /etc/group /etc/shadow");
        assert_eq!(after, before);
        assert_eq!(shut(), immutable);
        lab.at_rest("alder");
    }
    // A system that makes accounts in its activation can still change the files.
    repo.configure("alder", &by_userborn(true, "", ""));
    deploy(&repo, &lab).exits(0);
    lab.root(
        "alder",
        "systemctl stop userborn; for file in passwd group shadow; do umount /etc/$file; done",
    );
    repo.configure("alder", &system("two", ""));
    deploy(&repo, &lab).exits(0);
    repo.configure(
        "alder",
        &by_userborn(true, "useradd dave", r#"systemd.services.broken = { after = [ "userborn.service" ]; wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "exit 3"; };"#),
    );
    deploy(&repo, &lab).exits(5).shows("rolled back");
    assert!(!lab.holds("alder", "mountpoint -q /etc/passwd || id dave"));
    lab.at_rest("alder");
}

#[test]
fn every_change_is_in_the_nodes_journal_with_who_what_and_outcome() {
    let (lab, repo) = start();
    repo.configure("alder", &system("two", ""));
    deploy(&repo, &lab).env("USER", "carol").exits(0);
    let journal = lab.root(
        "alder",
        "journalctl --sync; journalctl -t nixcfg -o cat | tail -n 1",
    );
    let system = lab.root("alder", "readlink -f /run/current-system");
    assert!(journal.starts_with("deploy-nixos: who=carol@"), "{journal}");
    assert!(
        journal.contains(&format!("to={system} outcome=confirmed")),
        "{journal}"
    );
}

#[test]
fn a_check_that_fails_takes_the_system_back_with_what_it_said() {
    let (lab, repo) = start();
    let before = lab.state("alder");
    let check = |text: &str| {
        format!(
            r#"{{ environment.etc."nixcfg-test".text = "two"; cluster.nodes.alder.checks.web = {text}; }}"#
        )
    };
    repo.configure(
        "alder",
        &check(r#"{ command = [ "sh" "-c" "echo out of order; exit 1" ]; attempts = 1; }"#),
    );
    deploy(&repo, &lab)
        .exits(5)
        .shows("rolled back")
        .shows("check web (out of order)");
    assert_eq!(lab.state("alder"), before);
    repo.configure("alder", &check(r#"{ tcp = "127.0.0.1:22"; }"#));
    deploy(&repo, &lab).exits(0);
    lab.at_rest("alder");
}

#[test]
fn a_node_goes_back_to_a_generation_that_is_listed_and_no_further() {
    let (lab, repo) = start();
    let one = lab.root("alder", "readlink -f /run/current-system");
    for text in ["two", "three"] {
        repo.configure("alder", &system(text, ""));
        deploy(&repo, &lab).exits(0);
    }
    let three = lab.root("alder", "readlink /nix/var/nix/profiles/system");
    let tool = |operation: &str| Tool::new(&repo, operation).on(&lab).arg("alder");
    let listed = tool("generations").exits(0).shows("running").out;
    tool("rollback").exits(0).shows("1 node as wanted");
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "two");
    tool("rollback").exits(0);
    assert_eq!(
        lab.root(
            "alder",
            "readlink -f /run/current-system /nix/var/nix/profiles/system"
        ),
        format!("{one}\n{one}")
    );
    let newest = three
        .trim_start_matches("system-")
        .trim_end_matches("-link")
        .to_owned();
    tool("rollback").args(&["--to", &newest]).exits(0);
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "three");
    assert_eq!(
        tool("generations").exits(0).out.lines().count(),
        listed.lines().count(),
        "no generation was made"
    );
    tool("rollback")
        .args(&["--to", "99"])
        .exits(2)
        .tells("has no generation 99");
    lab.at_rest("alder");
}

#[test]
fn status_tells_by_its_exit_code_whether_nodes_are_well_over_one_login_each() {
    let (lab, repo) = start_with(
        &format!("{{ pkgs, ... }}: {{ {} }}", other_kernel()),
        &["alder"],
    );
    let status = || {
        Tool::new(&repo, "status")
            .on(&lab)
            .args(&["alder", "--free", "0"])
    };
    // The running system has not been booted yet.
    status()
        .exits(5)
        .shows("needs a reboot for its kernel")
        // It has no certificates or secrets yet.
        .shows("consul.service waits for /var/lib/")
        .shows("nomad.service waits for /var/lib/");
    repo.replace(
        "cluster/prod/cluster.nix",
        "wireguard.enable = true;",
        "wireguard.enable = false; consul.enable = false; nomad.enable = false;",
    );
    deploy(&repo, &lab).exits(0);
    lab.fault("alder", &["reboot"]);
    let logins = lab.logins("alder");
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    status()
        .arg("--html")
        .arg(&page)
        .exits(0)
        .shows("1 of 1 nodes well");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("<h3>alder</h3>"), "{text}");
    let mode = std::fs::metadata(&page).unwrap().permissions();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode);
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(lab.logins("alder") - logins, 1);
    lab.root(
        "alder",
        "systemd-run --quiet --unit=broken false; sleep 0.5",
    );
    status().exits(5).shows("failed: broken.service");
    lab.root("alder", "systemctl reset-failed");
    // Nobody can repair a unit that the system no longer has.
    lab.root(
        "alder",
        "unit=/run/systemd/system/gone.service; printf '[Service]\\nExecStart=/bin/false\\n' >$unit; systemctl daemon-reload; \
            systemctl start gone; sleep 0.5; rm $unit; systemctl daemon-reload; systemctl is-failed gone",
    );
    status().exits(0);
    deploy(&repo, &lab).exits(0).shows("unchanged");
    repo.configure("alder", &system("another", ""));
    status()
        .exits(5)
        .shows("runs another system than the flake says");
    status().arg("--no-drift").exits(0);
    let ran = status().args(&["--json", "--no-drift"]).exits(0);
    let first: serde_json::Value = serde_json::from_str(
        ran.out
            .lines()
            .find(|line| line.contains("\"done\""))
            .unwrap(),
    )
    .unwrap();
    assert!(
        first["state"]["running"]
            .as_str()
            .unwrap()
            .starts_with("/nix/store/")
    );
    lab.fault("alder", &["kill"]);
    let ran = status().run();
    lab.fault("alder", &["start"]);
    ran.exits(3).tells("cannot be reached");
}

#[test]
fn a_command_runs_on_nodes_by_its_words_and_as_root_where_asked() {
    let (lab, repo) = start();
    let exec = |words: &[&str]| {
        Tool::new(&repo, "exec")
            .on(&lab)
            .args(&["alder"])
            .args(words)
            .run()
    };
    exec(&["--", "echo", "a  b; id $(id)"])
        .exits(0)
        .shows("alder: a  b; id $(id)");
    exec(&["--", "id", "-un"]).exits(0).shows("alder: alice");
    exec(&["--sudo", "--", "id", "-un"])
        .exits(0)
        .shows("alder: root");
    exec(&["--", "sh", "-c", "echo bad >&2; exit 7"])
        .exits(5)
        .tells("exit code 7")
        .tells("alder: bad");
    let ssh = Tool::new(&repo, "ssh")
        .on(&lab)
        .args(&["alder", "--", "exit", "9"]);
    ssh.exits(9);
}
