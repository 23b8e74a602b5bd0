//! How much an operation does: its commands, logins and scripts, counted in its trace.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Lab, Repo, Tool, system};

/// The steps of a trace, by where they ran: what they were, and how often.
fn counted(file: &PathBuf) -> BTreeMap<String, BTreeMap<String, usize>> {
    let read: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let mut lanes = BTreeMap::new();
    let mut counted: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for event in read["traceEvents"].as_array().unwrap() {
        let lane = event["tid"].as_u64().unwrap();
        if event["ph"] == "M" {
            lanes.insert(lane, event["args"]["name"].as_str().unwrap().to_owned());
        } else {
            let what = event["name"].as_str().unwrap().to_owned();
            *counted
                .entry(lanes[&lane].clone())
                .or_default()
                .entry(what)
                .or_default() += 1;
        }
    }
    counted
}

#[test]
fn a_change_of_one_file_takes_these_steps_on_each_node_and_none_takes_a_look() {
    let (lab, repo) = (Lab::with_bare(&["alder", "birch"]), Repo::new());
    let file = repo.path().join("trace.json");
    let deploy = |name: &str| {
        for node in ["alder", "birch"] {
            repo.configure(node, &system(name, ""));
        }
        let tool = Tool::deploy(&repo, &lab).args(&["alder", "birch"]);
        tool.env("NIXCFG_TRACE", file.to_str().unwrap()).exits(0);
        counted(&file)
    };
    deploy("one");
    let change = deploy("two");
    let of = |steps: &[(&str, usize)]| -> BTreeMap<String, usize> {
        let steps = steps.iter();
        steps
            .map(|(what, often)| ((*what).to_owned(), *often))
            .collect()
    };
    let changed = of(&[
        // The second login confirms that the node can be reached.
        ("log in", 2),
        ("start", 3),
        ("sudo", 7),
        ("nixcfg-probe", 1),
        ("nixcfg-lease", 1),
        ("nixcfg-daemons", 1),
        ("nixcfg-member", 1),
        ("nixcfg-activate", 1),
        ("nixcfg-outcome", 1),
        ("nixcfg-confirm", 1),
        // What comes next is told from this.
        ("nixcfg-status", 1),
    ]);
    assert_eq!((&change["alder"], &change["birch"]), (&changed, &changed));
    assert_eq!(change["this machine"]["nix copy"], 2);
    let keeps = of(&[
        ("log in", 1),
        ("start", 1),
        ("sudo", 2),
        ("nixcfg-probe", 1),
        ("nixcfg-lease", 1),
    ]);
    assert_eq!(change["cedar"], keeps, "it keeps the lease on the cluster");
    let unchanged = deploy("two");
    let looks = of(&[
        ("log in", 1),
        ("start", 1),
        ("sudo", 1),
        ("nixcfg-probe", 1),
    ]);
    assert_eq!((&unchanged["alder"], &unchanged["birch"]), (&looks, &looks));
    assert!(!unchanged.contains_key("cedar"), "{unchanged:#?}");
}
