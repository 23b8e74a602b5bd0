//! The first steps of a new user: cluster files by `init` and `add-node`, then a deployment.

mod original;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::keys::Agent;
use crate::support::{self, Lab, Ran, Repo, fed, programs_by_hand};

/// The addresses of the lab's nodes.
fn addresses(lab: &Lab) -> BTreeMap<String, String> {
    let text = fs::read_to_string(lab.ssh_config()).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .windows(4)
        .filter(|four| four[0] == "Host" && four[2] == "HostName")
        .map(|four| (four[1].to_owned(), four[3].to_owned()))
        .collect()
}

/// Runs nixcfg with an SSH agent that has the lab's key, and types `answers`.
fn nixcfg(agent: &Agent, folder: &Path, args: &[&str], answers: &str) -> Ran {
    let mut nixcfg = Command::new(env!("CARGO_BIN_EXE_nixcfg"));
    nixcfg
        .args(args)
        .current_dir(folder)
        .env("NIX_CONFIG", support::NIX_CONFIG)
        .env("SSH_AUTH_SOCK", agent.socket())
        .env("SSH_USER", "alice")
        .env("SUDO_PASS", support::PASSWORD);
    fed(&mut nixcfg, answers).wait_with_output().unwrap().into()
}

/// What Nix makes of an attribute of a repository's flake, or what it says.
fn evaluated(repo: &Repo, attribute: &str) -> Result<Value, String> {
    let nixpkgs = support::nixpkgs();
    let done = Command::new("nix")
        .args(["eval", "--json", "--no-write-lock-file"])
        .args(["--override-input", "nixpkgs", &nixpkgs])
        .arg(format!(".#{attribute}"))
        .current_dir(repo.path())
        .env("NIX_CONFIG", support::NIX_CONFIG)
        .output()
        .unwrap();
    if done.status.success() {
        Ok(serde_json::from_slice(&done.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

#[test]
fn a_new_cluster_is_written_and_deployed() {
    let lab = Lab::bare();
    let (agent, repo, nodes) = (Agent::start(&lab), Repo::new(), addresses(&lab));
    let key = format!("{}.pub", agent.key);
    // The nodes lack the real program. The test needs only that its output becomes a file.
    let found = r#"{ boot.initrd.availableKernelModules = [ "nvme" ]; fileSystems."/" = { device = "/dev/sda1"; fsType = "ext4"; }; }"#;
    lab.root("cedar", "touch /etc/NIXOS");
    lab.put(
        "cedar",
        &format!("{}/nixos-generate-config", programs_by_hand()),
        "755",
        format!("#!/bin/sh\necho '{found}'\n").as_bytes(),
    );
    // The proposed domain and folder; then the nodes, whose keys are confirmed.
    let answers = format!(
        "\n\nalder={}\nbirch={}\ncedar={}\n\nyes\nyes\nyes\n",
        nodes["alder"], nodes["birch"], nodes["cedar"]
    );
    nixcfg(
        &agent,
        repo.path(),
        &[
            "init", "fresh", "--admin", "alice", "--key", &key, "--site", "lyon",
        ],
        &answers,
    )
    .exits(0)
    .tells("shows the host key SHA256:")
    .tells("birch: it has no nixos-generate-config");
    let read =
        |file: &str| fs::read_to_string(repo.path().join("cluster/fresh").join(file)).unwrap();
    assert!(read("hardware/cedar.nix").contains("availableKernelModules"));
    assert!(read("hardware/birch.nix").contains("by-label"));
    assert_eq!(read("known_hosts").lines().count(), 3);

    nixcfg(
        &agent,
        repo.path(),
        &[
            "deploy-nixos",
            "fresh",
            "--override-input",
            "nixpkgs",
            &support::nixpkgs(),
        ],
        "",
    )
    .exits(0)
    .shows("3 nodes as wanted");
    assert_eq!(lab.root("alder", "cat /etc/hostname"), "alder");
}

#[test]
fn a_node_is_added_and_the_cluster_still_evaluates() {
    let lab = Lab::get();
    let (agent, repo, nodes) = (Agent::start(&lab), Repo::new(), addresses(&lab));
    let key = format!("{}.pub", agent.key);
    let alder = format!("alder={}", nodes["alder"]);
    nixcfg(
        &agent,
        repo.path(),
        &[
            "init", "fresh", "--admin", "alice", "--key", &key, "--site", "lyon", "--node", &alder,
            "--yes",
        ],
        "",
    )
    .exits(0);
    let add = |args: &[&str], answers: &str| {
        let birch = nodes["birch"].clone();
        let mut all = vec!["add-node", "fresh", "birch", "--address", &birch];
        all.extend(args);
        nixcfg(&agent, repo.path(), &all, answers)
    };
    let before = fs::read_to_string(repo.path().join("cluster/fresh/ssh_config")).unwrap();
    add(&["--site", "lyom"], "yes\n").exits(2).tells("lyon");
    add(&["--site", "lyon"], "no\n")
        .exits(2)
        .tells("was not accepted");
    assert_eq!(
        fs::read_to_string(repo.path().join("cluster/fresh/ssh_config")).unwrap(),
        before
    );
    add(&["--site", "brest", "--new-site"], "yes\n").exits(0);
    add(&["--site", "brest"], "yes\n").exits(2).tells("already");
    let cluster = evaluated(&repo, "clusters.fresh").unwrap();
    assert_eq!(cluster["nodes"]["birch"]["site"], "brest");
    assert_eq!(cluster["nodes"]["birch"]["role"], "client");
    assert_eq!(cluster["nodes"]["alder"]["role"], "server");
}

#[test]
fn a_slip_is_asked_for_again_and_the_answers_before_it_stay() {
    let lab = Lab::get();
    let (agent, repo) = (Agent::start(&lab), Repo::new());
    let key = format!("{}.pub", agent.key);
    // The proposed domain and folder; then a wrong administrator, key, site and node, and a node twice.
    let answers = format!(
        "\n\nAlice\nal\n{}\n{key}\nLyon\nlyon\nalder\nalder=192.0.2.11\nbirch=192.0.2.11\nbirch=192.0.2.12\n\n",
        agent.key
    );
    let args = ["init", "fresh", "--offline"];
    let ran = nixcfg(&agent, repo.path(), &args, &answers).exits(0);
    for slip in [
        "‘Alice’",
        "no public SSH key",
        "‘Lyon’",
        "‘alder’ is no NAME=ADDRESS",
        "two nodes have the address 192.0.2.11",
    ] {
        assert!(ran.err.contains(slip), "{slip}: {}", ran.err);
    }
    // The next commands are printed, for the user that SSH_USER names.
    let tell = ran
        .tells("git add cluster/fresh")
        .tells("nix run .#gen-pki -- fresh");
    tell.tells("nix run .#deploy-nixos -- fresh --ssh-user alice");
    let cluster = repo.path().join("cluster/fresh/cluster.nix");
    assert!(
        fs::read_to_string(cluster)
            .unwrap()
            .contains("admins.al.keys")
    );
}

#[test]
fn what_is_wrong_is_said_before_anything_is_written() {
    let lab = Lab::get();
    let (agent, repo) = (Agent::start(&lab), Repo::new());
    let key = format!("{}.pub", agent.key);
    let init = |args: &[&str], answers: &str| {
        let mut all = vec!["init"];
        all.extend(args);
        nixcfg(&agent, repo.path(), &all, answers)
    };
    init(&["prod"], "")
        .exits(2)
        .tells("there is a cluster ‘prod’ already");
    init(&["Fresh"], "").exits(2).tells("‘Fresh’");
    let rest = ["--admin", "alice", "--site", "lyon", "--yes"];
    let with = |more: &[&'static str], key: &str| {
        let mut all = vec!["fresh", "--key", key];
        all.extend(rest);
        all.extend(more);
        init(&all, "")
    };
    with(&["--node", "alder=192.0.2.11"], &agent.key)
        .exits(2)
        .tells("no public SSH key");
    with(&[], &key).exits(2).tells("at least one node");
    with(
        &["--node", "alder=192.0.2.11", "--node", "birch=192.0.2.11"],
        &key,
    )
    .exits(2)
    .tells("two nodes have the address 192.0.2.11");
    // A broadcast address of loopback: nothing answers, and no packet leaves the machine.
    with(&["--node", "alder=127.255.255.255"], &key)
        .exits(3)
        .tells("alder: no SSH server shows");
    init(&["fresh", "--key", &key], "")
        .exits(2)
        .tells("standard input ended");
    assert!(!repo.path().join("cluster/fresh").exists());
}
