//! `doctor`, on the lab's nodes and with a real store: what is well is told as that, what is not with what to do, and nothing is changed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::pass::{PassStore, said};
use crate::support::{Lab, NODES, Repo, Tool};

const FOLDER: &str = "example/cluster/prod";

/// A cluster that a bare node is as wanted by, but for its system.
fn repo() -> Repo {
    Repo::with("    wireguard.enable = false; consul.enable = false; nomad.enable = false;\n")
}

/// A store with all of that cluster's entries, shared through another repository.
fn store() -> PassStore {
    let store = PassStore::git();
    for name in ["alice", "bob"] {
        store.insert(&format!("{FOLDER}/passwd/{name}"), "a hash");
    }
    let shared = store.scratch().join("shared.git");
    let git = |args: &[&str]| store.git_in(&store.root(), args);
    git(&["init", "-q", "--bare", shared.to_str().unwrap()]);
    git(&["remote", "add", "origin", shared.to_str().unwrap()]);
    git(&["push", "-q", "--set-upstream", "origin", "HEAD"]);
    store
}

fn doctor(repo: &Repo, store: &PassStore, lab: &Lab) -> Tool {
    Tool::new(repo, "doctor").on(lab).store(store)
}

#[test]
fn a_cluster_with_nothing_wrong_is_told_so_with_and_without_a_password() {
    let (lab, repo, store) = (Lab::bare(), repo(), store());
    let before = untouched(&lab);
    let ran = doctor(&repo, &store, &lab).exits(0);
    for line in [
        "ok     files: Nix sees all",
        "ok     flake: prod, 3 nodes, with changes",
        "ok     lock: nixpkgs of ",
        "ok     decryption: passwd/alice can be read",
        "ok     key: tester, without end",
        "ok     readers: what is stored is for the 1 key",
        "ok     history: as origin/",
        "ok     entries: the store has all",
        "ok     clock: ",
        "ok     alder: ssh: at ",
        "ok     alder: login: as alice",
        "ok     alder: system: ",
        "ok     alder: sudo: the password is right",
        "ok     alder: clock: right",
        "ok     alder: disk: ",
        "takes paths from root",
        "nothing wrong in ",
    ] {
        assert!(ran.out.contains(line), "{line}\n{}{}", ran.out, ran.err);
    }
    assert!(!ran.out.contains("unseen"), "{}", ran.out);
    let ran = doctor(&repo, &store, &lab).password(None).exits(0);
    let ran = ran.shows("unseen alder: sudo: asks for a password");
    ran.shows("nothing wrong in ").shows(" not seen");
    assert_eq!(untouched(&lab), before);
}

/// What a run that changes nothing leaves as it is on the nodes: their files, and when each was written.
fn untouched(lab: &Lab) -> Vec<String> {
    let find = "find /etc /var/lib/nixcfg /run/nixcfg /nix/var/nix/profiles /nix/var/nix/gcroots -printf '%p %T@ %l\\n' 2>/dev/null | sort";
    NODES.iter().map(|node| lab.root(node, find)).collect()
}

#[test]
fn each_thing_that_is_wrong_is_told_with_what_to_do_and_the_others_are_looked_at() {
    let (lab, repo, store) = (Lab::bare(), repo(), store());
    let node = repo.path().join("cluster/prod/node");
    let text = fs::read_to_string(node.join("birch.nix")).unwrap();
    fs::write(node.join("delta-1.nix"), text.replace("birch", "delta-1")).unwrap();
    // Bob alone reads all of it, with a key that is not the operator's.
    let _bob = store.reader("bob");
    store.pass(&["init", "-p", FOLDER, "bob"]);
    lab.fault("birch", &["kill"]);
    let plain = doctor(&repo, &store, &lab).run();
    let json = doctor(&repo, &store, &lab).arg("--json").run();
    lab.fault("birch", &["start"]);
    let ran = plain
        .exits(5)
        .shows("wrong  files: cluster/prod/node/delta-1.nix is not tracked by Git")
        .shows("→ git add cluster/prod\n")
        .shows("wrong  decryption: passwd/alice is not encrypted for a key that you have")
        .shows("ok     key: bob, without end")
        .shows("wrong  history: 2 commits not pushed to origin/")
        .shows("→ pass git push")
        .shows("wrong  birch: login: ")
        .shows("unseen birch: rest: ")
        .shows("ok     cedar: login: as alice")
        .tells("checks found something wrong");
    assert!(!ran.out.contains("wrong  alder"), "{}", ran.out);
    // Told once, by the check.
    assert!(!ran.err.contains("not tracked"), "{}", ran.err);
    let json = json.exits(5);
    let events: Vec<Value> = json
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |node: &str, check: &str| {
        let mut events = events.iter().filter(|event| event["event"] == "check");
        let found = events.find(|event| event["node"] == node && event["check"] == check);
        found
            .unwrap_or_else(|| panic!("{node} {check}: {}", json.out))
            .clone()
    };
    assert_eq!(of("birch", "login")["verdict"], "wrong");
    assert!(of("birch", "login")["help"].is_string());
    assert_eq!(of("alder", "disk")["verdict"], "ok");
    let summary = events.iter().find(|event| event["event"] == "summary");
    assert_eq!(summary.unwrap()["wrong"], 4, "{}", json.out);
}

#[test]
fn what_is_local_is_told_though_the_flake_cannot_be_read() {
    let (lab, repo, store) = (Lab::get(), repo(), store());
    fs::write(repo.path().join("cluster/prod/node/birch.nix"), "{ = }\n").unwrap();
    fs::remove_file(repo.path().join("flake.lock")).unwrap();
    let tool = doctor(&repo, &store, &lab).env("PATH", without("pass", &store));
    tool.exits(5)
        .shows("ok     nix: 2.")
        .shows("wrong  pass: is not on PATH")
        .shows("wrong  lock: there is no flake.lock")
        .shows("wrong  flake: ")
        .shows("syntax error")
        .shows("unseen rest: without the cluster");
}

/// A folder with all programs that are on PATH but one.
fn without(program: &str, store: &PassStore) -> PathBuf {
    let folder = store.scratch().join("programs");
    fs::create_dir(&folder).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for file in std::env::split_paths(&path)
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
    {
        if file.file_name() != program {
            let _ = std::os::unix::fs::symlink(file.path(), folder.join(file.file_name()));
        }
    }
    folder
}

#[test]
fn a_clock_that_is_off_is_told_where_it_is_off() {
    let (lab, repo, store) = (Lab::get(), repo(), store());
    let preload = Command::new("faketime");
    let preload = { preload }
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .unwrap();
    let later = |node: &[&str]| {
        let tool = doctor(&repo, &store, &lab).args(node);
        let tool = tool
            .env("LD_PRELOAD", said(&preload).trim())
            .env("FAKETIME", "+3h");
        tool.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").exits(5)
    };
    let ran = later(&["alder"]).shows("wrong  alder: clock: 3 h behind");
    ran.shows("certificates made now do not count there yet");
    // Where all nodes agree, it is this machine's.
    let ran = later(&[]).shows("wrong  clock: this machine’s clock is 3 h ahead");
    ran.shows("ok     alder: clock: ");
}
