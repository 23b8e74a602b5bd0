//! Mistakes of operators and faults of nodes: each gives a clear error and the right exit code, and
//! changes nothing.

use std::fs;

use crate::support::{self, Lab, NODES, PASSWORD, Ran, Repo, Tool, which};

/// Runs `run` and asserts that it changed no node.
fn unchanged(lab: &Lab, run: impl FnOnce() -> Ran) -> Ran {
    let before = lab.states();
    let ran = run();
    assert_eq!(lab.states(), before, "{}{}", ran.out, ran.err);
    ran
}

#[test]
fn an_unknown_cluster_is_told_with_a_near_miss() {
    let lab = Lab::get();
    let repo = Repo::new();
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nixcfg"));
        command
            .args([
                "deploy-nixos",
                "prdo",
                "--override-input",
                "nixpkgs",
                &support::nixpkgs(),
            ])
            .current_dir(repo.path())
            .env("NIX_CONFIG", support::NIX_CONFIG);
        Ran::from(command.output().unwrap())
    };
    unchanged(&lab, run)
        .exits(2)
        .tells("there is no cluster ‘prdo’")
        .tells("did you mean ‘prod’?");
}

#[test]
fn an_unknown_node_is_told_with_a_near_miss() {
    let lab = Lab::get();
    let repo = Repo::new();
    unchanged(&lab, || Tool::deploy(&repo, &lab).arg("adler").run())
        .exits(2)
        .tells("no node ‘adler’")
        .tells("did you mean ‘alder’?");
}

#[test]
fn a_file_that_git_does_not_track_is_named_before_nix_misses_it() {
    let lab = Lab::get();
    let repo = Repo::new();
    let node = repo.path().join("cluster/prod/node");
    let text = fs::read_to_string(node.join("birch.nix")).unwrap();
    fs::write(node.join("delta-1.nix"), text.replace("birch", "delta-1")).unwrap();
    unchanged(&lab, || Tool::deploy(&repo, &lab).arg("delta-1").run())
        .exits(2)
        .tells("delta-1.nix is not tracked by Git, so Nix does not see it: git add cluster/prod")
        .tells("no node ‘delta-1’")
        .tells("git add cluster/prod/node/delta-1.nix");
}

#[test]
fn a_missing_site_is_told_with_the_node_that_names_it() {
    let lab = Lab::get();
    let repo = Repo::new();
    repo.replace("cluster/prod/node/alder.nix", "\"lyon\"", "\"lyonn\"");
    unchanged(&lab, || Tool::deploy(&repo, &lab).run())
        .exits(2)
        .tells("alder")
        .tells("lyonn");
}

#[test]
fn a_syntax_error_is_told_in_nix_own_words_with_file_and_line_and_no_trace() {
    let lab = Lab::get();
    let repo = Repo::new();
    repo.write(
        "cluster/prod/node/birch.nix",
        "{\n  cluster.nodes.birch = = { };\n}\n",
    );
    let ran = unchanged(&lab, || Tool::deploy(&repo, &lab).run())
        .exits(2)
        .tells("syntax error")
        .tells("birch.nix:2:25");
    assert!(ran.err.lines().count() < 20, "{}", ran.err);
    assert!(!ran.err.contains("while calling"), "{}", ran.err);
}

#[test]
fn a_wrong_type_in_the_cluster_and_in_nixos_is_told_with_its_option_and_file() {
    let lab = Lab::get();
    let repo = Repo::new();
    repo.replace(
        "cluster/prod/node/alder.nix",
        "role = \"server\"",
        "role = \"boss\"",
    );
    unchanged(&lab, || Tool::deploy(&repo, &lab).run())
        .exits(2)
        .tells("role")
        .tells("alder.nix");

    let repo = Repo::new();
    repo.configure("birch", r#"{ services.openssh.enable = "yes"; }"#);
    unchanged(&lab, || Tool::deploy(&repo, &lab).run())
        .exits(4)
        .tells("error: birch:")
        .tells("services.openssh.enable")
        .tells("nothing was changed");
}

#[test]
fn an_unknown_option_is_told_for_every_node_that_sets_it() {
    let lab = Lab::get();
    let repo = Repo::new();
    for node in ["alder", "cedar"] {
        repo.configure(node, r#"{ services.opensssh.enable = true; }"#);
    }
    unchanged(&lab, || Tool::deploy(&repo, &lab).run())
        .exits(4)
        .tells("error: alder:")
        .tells("error: cedar:")
        .tells("services.opensssh");
}

#[test]
fn an_unreachable_node_stops_the_run_and_is_the_only_one_named() {
    let lab = Lab::get();
    let repo = Repo::new();
    lab.fault("birch", &["kill"]);
    let ran = Tool::deploy(&repo, &lab).run();
    // What is proposed works as it stands.
    let without = Tool::deploy(&repo, &lab).args(&["!birch", "--plan"]).run();
    let all = Tool::deploy(&repo, &lab).arg("birch").run();
    lab.fault("birch", &["start"]);
    let ran = ran
        .exits(3)
        .tells("error: birch:")
        .tells("1 of 3 nodes cannot be used; nothing was changed")
        .tells("to go on without: '!birch'");
    assert!(!ran.err.contains("error: alder"), "{}", ran.err);
    without.exits(0).shows("alder").shows("cedar");
    // Without it nothing would be left.
    let all = all.exits(3).tells("error: birch:");
    assert!(!all.err.contains("go on without"), "{}", all.err);
}

#[test]
fn a_cut_and_a_frozen_node_are_given_up_in_bounded_time() {
    let lab = Lab::get();
    let repo = Repo::new();
    for (fault, mend) in [("cut", "join"), ("freeze", "thaw")] {
        lab.fault("cedar", &[fault]);
        let ran = Tool::deploy(&repo, &lab).run();
        lab.fault("cedar", &[mend]);
        ran.exits(3).tells("error: cedar:");
    }
}

#[test]
fn a_slow_login_is_told_with_its_limit_which_is_an_option() {
    let lab = Lab::get();
    let repo = Repo::new();
    // The node accepts the key, then sends nothing.
    lab.root(
        "cedar",
        "echo 'session optional pam_exec.so /bin/sleep 14' >>/etc/pam.d/sshd",
    );
    let deploy = |seconds: &str| {
        let tool = Tool::deploy(&repo, &lab).args(&["cedar", "--plan", "--login-timeout", seconds]);
        tool.run()
    };
    let (short, long) = (deploy("8"), deploy("120"));
    lab.root("cedar", "sed -i /pam_exec/d /etc/pam.d/sshd");
    short
        .exits(3)
        .tells("error: cedar:")
        .tells("for 8 seconds")
        .tells("--login-timeout");
    long.exits(0);
}

#[test]
fn a_wrong_password_is_tried_once_on_each_node() {
    let lab = Lab::get();
    let repo = Repo::new();
    let failures = |node: &str| -> usize {
        let count = lab.root(
            node,
            "journalctl --sync; journalctl -o cat --no-pager | grep -c 'pam_unix(sudo:auth): authentication failure' || true",
        );
        count.parse().unwrap()
    };
    let before = NODES.map(failures);
    let ran = unchanged(&lab, || {
        Tool::deploy(&repo, &lab).password(Some("wrong")).run()
    })
    .exits(3)
    .tells("error: alder, birch, cedar: the sudo password of alice is wrong");
    assert!(!ran.err.contains("nixcfg asks"), "{}", ran.err);
    let after = NODES.map(failures);
    assert_eq!([0, 1, 2].map(|i| after[i] - before[i]), [1, 1, 1]);
}

#[test]
fn no_password_and_no_terminal_is_told_at_once() {
    let lab = Lab::get();
    let repo = Repo::new();
    let mut command = Tool::deploy(&repo, &lab).password(None).into_command();
    let mut without_terminal = std::process::Command::new("setsid");
    without_terminal
        .arg("--wait")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(repo.path())
        .env("NIX_CONFIG", support::NIX_CONFIG)
        .env_remove("SUDO_PASS")
        .stdin(std::process::Stdio::null());
    command.stdin(std::process::Stdio::null());
    let ran = unchanged(&lab, || Ran::from(without_terminal.output().unwrap()));
    ran.exits(2).tells("no terminal").tells("SUDO_PASS");
}

#[test]
fn a_changed_and_an_unknown_host_key_are_told_apart() {
    let lab = Lab::get();
    let repo = Repo::new();
    let dir = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(lab.ssh_config()).unwrap();
    let hosts = dir.path().join("known_hosts");
    let file = dir.path().join("ssh_config");
    fs::write(
        &file,
        config.replace(lab.known_hosts().to_str().unwrap(), hosts.to_str().unwrap()),
    )
    .unwrap();

    // known_hosts has cedar's key for alder, birch's own, and none for cedar.
    let known = fs::read_to_string(lab.known_hosts()).unwrap();
    let lines: Vec<(&str, &str)> = known
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    fs::write(
        &hosts,
        format!(
            "{} {}\n{} {}\n",
            lines[0].0, lines[2].1, lines[1].0, lines[1].1
        ),
    )
    .unwrap();
    let run = || {
        Tool::new(&repo, "deploy-nixos")
            .arg("--ssh-config")
            .arg(&file)
            .run()
    };
    let ran = unchanged(&lab, run)
        .exits(3)
        .tells("alder: presents another host key")
        .tells("cedar: has a host key that is not known");
    assert!(!ran.err.contains("error: birch"), "{}", ran.err);
}

#[test]
fn a_full_disk_is_found_before_anything_is_copied() {
    let lab = Lab::with_bare(&["alder", "birch"]);
    let repo = Repo::new();
    lab.fault("birch", &["fill-disk"]);
    let ran = Tool::deploy(&repo, &lab).run();
    lab.fault("birch", &["free-disk"]);
    ran.exits(3)
        .tells("error: birch: has ")
        .tells("nothing was changed");
    assert!(
        lab.state("alder").contains(support::bare_system()),
        "no other node was changed either"
    );
}

#[test]
fn a_node_of_another_architecture_is_refused_before_anything_is_built() {
    let lab = Lab::get();
    let repo = Repo::new();
    repo.replace(
        "cluster/prod/node/cedar.nix",
        "role = ",
        "system = \"aarch64-linux\";\n    role = ",
    );
    let ran = unchanged(&lab, || Tool::deploy(&repo, &lab).run())
        .exits(3)
        .tells("cedar: is x86_64-linux, but its configuration is for aarch64-linux");
    assert!(!ran.err.contains("building"), "{}", ran.err);
}

#[test]
fn a_build_that_fails_is_told_by_its_own_log_and_the_other_nodes_go_on() {
    let lab = Lab::with_bare(&["alder", "birch"]);
    let repo = Repo::new();
    repo.configure(
        "birch",
        r#"{ pkgs, ... }: { environment.etc."broken".source = pkgs.runCommand "broken" { } "echo the compiler is unhappy; exit 1"; }"#,
    );
    Tool::deploy(&repo, &lab)
        .exits(5)
        .tells("error: birch: its system does not build: broken failed")
        .tells("the compiler is unhappy")
        .shows_of("alder", "switched")
        .shows("2 of 3 nodes as wanted; not: birch");
    assert!(lab.state("birch").contains(support::bare_system()));
}

#[test]
fn a_machine_without_nix_is_told_so() {
    let lab = Lab::get();
    let repo = Repo::new();
    let dir = tempfile::tempdir().unwrap();
    for program in ["ssh", "git", "sh"] {
        std::os::unix::fs::symlink(which(program), dir.path().join(program)).unwrap();
    }
    unchanged(&lab, || {
        Tool::deploy(&repo, &lab).env("PATH", dir.path()).run()
    })
    .exits(2)
    .tells("nix is not on PATH");
}

#[test]
fn a_folder_without_a_flake_is_told_so() {
    let lab = Lab::get();
    let repo = Repo::new();
    let empty = tempfile::tempdir().unwrap();
    let mut command = Tool::deploy(&repo, &lab).into_command();
    command.current_dir(empty.path());
    Ran::from(command.output().unwrap())
        .exits(2)
        .tells("no flake.nix");
}

#[test]
fn an_ssh_config_that_is_not_there_is_told() {
    let repo = Repo::new();
    Tool::new(&repo, "deploy-nixos")
        .args(&["--ssh-config", "/nonexistent/ssh_config"])
        .password(Some(PASSWORD))
        .exits(2)
        .tells("no ssh_config at /nonexistent/ssh_config");
}
