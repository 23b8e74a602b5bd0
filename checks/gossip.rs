//! `rotate-gossip` with a real Consul of three agents and a real Nomad of two servers on loopback: their
//! keyrings, and whether they still see each other.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::agent;
use crate::support::gossip::Gossip;
use crate::support::pass::{self, ended};

const KEY: &str = "example/cluster/prod/secrets/consul-gossip";

/// A complete rotation, then one killed at each of its steps.
fn rotates(service: &str) {
    let mut stage = Gossip::start(service);
    let rotate = |stage: &Gossip| stage.command().output().unwrap();
    let mut last = stage.key();
    let ended_well = |stage: &mut Gossip, last: &mut String| {
        let new = stage.key();
        assert_ne!(new, *last);
        for (agent, keys) in stage.keyrings() {
            assert!(keys == [new.clone()], "{agent} has other keys");
        }
        assert_eq!(stage.entries(), [format!("{service}-gossip")]);
        stage.all_alive();
        *last = new;
    };
    let output = rotate(&stage);
    ended(&output, 0, &["with the new key alone"]);
    let said = pass::said(&output);
    assert!(
        !said.contains(&last) && !said.contains(&stage.key()),
        "{said}"
    );
    ended_well(&mut stage, &mut last);
    let steps = [
        "having every agent use",
        "giving the new key",
        "taking the old key",
    ];
    // A normal run tries one step; runs with given programs and soak runs try all.
    let given = ["NOMAD", "CONSUL", "NIXCFG_FAULT_RUNS"].map(std::env::var_os);
    let steps = if given.iter().any(Option::is_some) {
        &steps[..]
    } else {
        &steps[..1]
    };
    for step in steps {
        let mut child = stage
            .command()
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reached = lines.map_while(Result::ok).any(|line| line.contains(step));
        assert!(reached, "it never comes to {step:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        stage.all_alive();
        ended(&rotate(&stage), 0, &["that was begun before goes on"]);
        ended_well(&mut stage, &mut last);
    }
    // An agent that restarts, with or without its keyring, rejoins.
    for forgets in [false, true] {
        stage.restart("cedar", forgets);
        stage.all_alive();
    }
    assert_eq!(stage.store().uncommitted(&stage.store().root()), "");
}

#[test]
fn consuls_key_is_replaced_while_it_runs_however_often_that_is_cut_off() {
    rotates("consul");
}

#[test]
fn nomads_key_is_replaced_while_it_runs_however_often_that_is_cut_off() {
    match agent::program() {
        Some(_) => rotates("nomad"),
        None => println!("left out without NOMAD=<binary>: 1 tests"),
    }
}

#[test]
fn what_does_not_fit_the_store_and_an_agent_that_is_away_change_nothing() {
    let mut stage = Gossip::start("consul");
    let (key, rings) = (stage.key(), stage.keyrings());
    let refused = |stage: &Gossip, code, told| {
        ended(&stage.command().output().unwrap(), code, &[told]);
        assert!(stage.keyrings() == rings);
        assert_eq!(stage.entries(), ["consul-gossip"]);
    };
    let foreign = "A".repeat(43) + "=";
    stage.store().insert(KEY, &foreign);
    refused(&stage, 2, "not every agent has the key of");
    stage.store().insert(KEY, &key);

    stage.ask("POST", &format!(r#"{{"Key": "{foreign}"}}"#));
    let told = "an agent has a key that the store does not know";
    ended(&stage.command().output().unwrap(), 2, &[told]);
    assert_eq!(stage.entries(), ["consul-gossip"]);
    stage.ask("DELETE", &format!(r#"{{"Key": "{foreign}"}}"#));

    stage.kill("birch");
    refused(&stage, 5, "2 of the 3 agents take part");
    stage.restart("birch", false);
    stage.all_alive();
    ended(&stage.command().output().unwrap(), 0, &["new key alone"]);
}
