//! The stand-in for Nomad beside a real one, the program that `NOMAD` names: the same requests to both,
//! and their answers compared by status, kinds of fields, errors and the order of events.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::agent::{Agents, Setup};
use crate::support::cluster::Cluster;
use crate::support::nomad;
use crate::support::stage::{SCHEDULER, Stage};

/// The kind of a field, which two answers must share.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// Notes where Nomad's answer lacks a field of the stand-in's, or has it of another kind.
fn disagreements(place: &str, standin: &Value, real: &Value, found: &mut Vec<String>) {
    match (standin, real) {
        (Value::Object(standin), Value::Object(real)) => {
            for (name, value) in standin {
                match real.get(name) {
                    // Fields of the stand-in that test how the tool treats unknown ones.
                    None if name.starts_with("Future") => {}
                    None => found.push(format!("{place}.{name}: Nomad has no such field")),
                    Some(real) => disagreements(&format!("{place}.{name}"), value, real, found),
                }
            }
        }
        (Value::Array(standin), Value::Array(real)) => {
            if let (Some(standin), Some(real)) = (standin.first(), real.first()) {
                disagreements(&format!("{place}[0]"), standin, real, found);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        _ if kind(standin) == kind(real) => {}
        _ => found.push(format!("{place}: {standin} here, {real} of Nomad")),
    }
}

/// One of the two, with the words that a request has in its place, such as the ID of its node.
struct Side {
    port: u16,
    words: BTreeMap<&'static str, String>,
}

/// The stand-in, a real Nomad, and what their answers differ in.
struct Pair<'a> {
    agents: &'a Agents,
    standin: Side,
    real: Side,
    found: Vec<String>,
    compared: usize,
}

impl<'a> Pair<'a> {
    /// The stand-in at a port, and the first of the agents.
    fn new(agents: &'a Agents, standin: u16) -> Self {
        let side = |port| Side {
            port,
            words: BTreeMap::new(),
        };
        Self {
            agents,
            standin: side(standin),
            real: side(agents.agents[0].port),
            found: Vec::new(),
            compared: 0,
        }
    }

    /// Sends a request to both, compares the answers, and returns the stand-in's and Nomad's.
    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> [Value; 2] {
        let call = |side: &Side| {
            let own = side
                .words
                .iter()
                .fold(path.to_owned(), |path, (word, own)| {
                    path.replace(&format!("<{word}>"), own)
                });
            self.agents.call_port(side.port, method, &own, body)
        };
        let (ours, theirs) = (call(&self.standin), call(&self.real));
        let place = format!("{method} {path}");
        if theirs.0 != ours.0 {
            self.found
                .push(format!("{place}: {ours:?} here, {theirs:?} of Nomad"));
        } else if theirs.0 >= 300 && theirs.0 != 429 {
            // IDs and numbers may differ.
            let text = |side: &Side, said: &Value| -> String {
                let said = side
                    .words
                    .iter()
                    .fold(said.to_string(), |said, (word, own)| {
                        said.replace(own, word)
                    });
                said.chars().filter(|c| !c.is_ascii_digit()).collect()
            };
            if text(&self.real, &theirs.1) != text(&self.standin, &ours.1) {
                self.found
                    .push(format!("{place}: {} here, {} of Nomad", ours.1, theirs.1));
            }
        } else {
            disagreements(&place, &ours.1, &theirs.1, &mut self.found);
        }
        self.compared += 1;
        [ours.1, theirs.1]
    }

    fn get(&mut self, path: &str) -> [Value; 2] {
        self.ask("GET", path, None)
    }

    fn put(&mut self, path: &str, body: &Value) -> [Value; 2] {
        self.ask("PUT", path, Some(body))
    }

    /// Keeps a text of both answers as a word of later requests.
    fn keep(&mut self, word: &'static str, told: [&Value; 2]) {
        for (side, told) in [&mut self.standin, &mut self.real].into_iter().zip(told) {
            match told.as_str() {
                Some(told) => _ = side.words.insert(word, told.to_owned()),
                None => self.found.push(format!("{word}: {told}")),
            }
        }
    }

    /// Waits until both have an answer like this.
    #[track_caller]
    fn wait(&self, path: &str, holds: impl Fn(&Value) -> bool) {
        for side in [&self.standin, &self.real] {
            let own = side
                .words
                .iter()
                .fold(path.to_owned(), |path, (word, own)| {
                    path.replace(&format!("<{word}>"), own)
                });
            for _ in 0..300 {
                if holds(&self.agents.call_port(side.port, "GET", &own, None).1) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            let last = self.agents.call_port(side.port, "GET", &own, None).1;
            assert!(holds(&last), "{own}: {last}");
        }
    }

    /// Asserts that nothing differed.
    fn end(self) {
        println!("{} answers compared", self.compared);
        assert!(self.found.is_empty(), "{}", self.found.join("\n"));
    }
}

const UNKNOWN: &str = "11111111-2222-3333-4444-555555555555";

#[test]
fn the_stand_in_answers_as_nomad_does() {
    let stage = Stage::new();
    let standin = nomad::Nomad::new();
    let endpoint = nomad::endpoint(&stage.cluster, &standin);
    let own = standin.add_node("alder");
    // An older Nomad has fewer settings.
    let known = stage.agents.ask(SCHEDULER)["SchedulerConfig"].clone();
    let preemption = "PreemptionConfig";
    standin.set(|state| {
        let is = |of: &Value, name: &str| !of[name].is_null();
        state.scheduler.retain(|name, _| is(&known, name));
        if let Some(Value::Object(kinds)) = state.scheduler.get_mut(preemption) {
            kinds.retain(|name, _| is(&known[preemption], name));
        }
    });
    let node = stage.agents.ask("/v1/nodes")[0]["ID"].clone();
    let mut pair = Pair::new(&stage.agents, endpoint.port);
    pair.keep("node", [&json!(own), &node]);
    for path in [
        "/v1/status/leader",
        "/v1/status/peers",
        "/v1/status/peers?stale",
        "/v1/operator/autopilot/health",
        SCHEDULER,
    ] {
        pair.get(path);
    }
    settings(&mut pair);
    nodes(&mut pair);
    jobs(&mut pair);
    drains(&mut pair);
    pair.end();
}

/// The scheduler's settings: a write that comes too late, an unknown setting, no JSON.
fn settings(pair: &mut Pair<'_>) {
    let spread = json!({"SchedulerAlgorithm": "spread"});
    pair.put(&format!("{SCHEDULER}?cas=1"), &spread);
    pair.put(
        SCHEDULER,
        &json!({"SchedulerAlgorithm": "spread", "NoSuchSetting": 1}),
    );
    pair.get(SCHEDULER);
    pair.put(SCHEDULER, &json!({"SchedulerAlgorithm": "none"}));
    pair.put(SCHEDULER, &json!("settings"));
}

fn nodes(pair: &mut Pair<'_>) {
    for path in [
        "/v1/nodes",
        "/v1/node/<node>",
        "/v1/node/malformed",
        "/v1/node/<node>/allocations",
    ] {
        pair.get(path);
    }
    pair.get(&format!("/v1/node/{UNKNOWN}"));
    let drain = json!({"DrainSpec": {"Deadline": 60_000_000_000_u64, "IgnoreSystemJobs": false}});
    pair.put(&format!("/v1/node/{UNKNOWN}/drain"), &drain);
    let eligible = json!({"Eligibility": "eligible"});
    pair.put(&format!("/v1/node/{UNKNOWN}/eligibility"), &eligible);
    pair.put("/v1/node/<node>/eligibility", &eligible);
    pair.put(
        "/v1/node/<node>/eligibility",
        &json!({"Eligibility": "never"}),
    );
}

fn job(priority: u32) -> Value {
    let update = json!({"MaxParallel": 1, "MinHealthyTime": 100_000_000, "HealthyDeadline": 5_000_000_000_u64,
        "ProgressDeadline": 10_000_000_000_u64, "HealthCheck": "checks"});
    json!({"ID": "web", "Name": "web", "Type": "service", "Priority": priority, "Datacenters": ["lyon"], "Namespace": "default",
        "TaskGroups": [{"Name": "main", "Count": 1, "Update": update, "Tasks": [{"Name": "main", "Driver": "raw_exec",
            "Config": {"command": "/bin/sleep", "args": ["600"]}, "Resources": {"CPU": 20, "MemoryMB": 16}}]}]})
}

/// Registers a job, changes it, and looks at all that comes of it.
fn jobs(pair: &mut Pair<'_>) {
    let of_job = [
        "/v1/job/web",
        "/v1/job/web/allocations",
        "/v1/job/web/evaluations",
        "/v1/job/web/deployment",
    ];
    for path in of_job {
        pair.get(path);
    }
    for kind in ["evaluation", "deployment", "deployment/allocations"] {
        pair.get(&format!("/v1/{kind}/{UNKNOWN}"));
    }
    pair.get(&format!(
        "/v1/client/fs/logs/{UNKNOWN}?task=main&type=stderr&plain=true&origin=end&offset=4000"
    ));
    let plan = |priority| json!({"Job": job(priority), "Diff": true});
    let register = |priority, index: u64| json!({"Job": job(priority), "EnforceIndex": true, "JobModifyIndex": index});
    pair.put("/v1/job/web/plan", &plan(50));
    pair.put("/v1/job/other/plan", &plan(50));
    pair.put("/v1/job/web/plan", &json!({"Diff": true}));
    pair.put("/v1/jobs", &json!({}));
    pair.put("/v1/jobs", &register(50, 77));
    let [ours, theirs] = pair.put("/v1/jobs", &register(50, 0));
    pair.keep("evaluation", [&ours["EvalID"], &theirs["EvalID"]]);
    pair.get("/v1/job/web");
    pair.put("/v1/job/web/plan", &plan(50));
    pair.put("/v1/job/web/plan", &plan(60));
    pair.put("/v1/jobs", &register(60, 1));
    // The job's events, in order.
    pair.wait("/v1/job/web/deployment", |deployment| {
        deployment["Status"] == "successful"
    });
    pair.get("/v1/evaluation/<evaluation>");
    let [ours, theirs] = pair.get("/v1/job/web/deployment");
    pair.keep("deployment", [&ours["ID"], &theirs["ID"]]);
    let [ours, theirs] = pair.get("/v1/job/web/allocations");
    pair.keep("allocation", [&ours[0]["ID"], &theirs[0]["ID"]]);
    for path in [
        "/v1/job/web/evaluations",
        "/v1/deployment/<deployment>",
        "/v1/deployment/allocations/<deployment>",
        "/v1/node/<node>/allocations",
        "/v1/client/fs/logs/<allocation>?task=main&type=stderr&plain=true&origin=end&offset=4000",
        "/v1/client/fs/logs/<allocation>?task=none&type=stderr&plain=true&origin=end&offset=4000",
    ] {
        pair.get(path);
    }
}

/// Drains the node, where eligibility waits for the drain's end.
fn drains(pair: &mut Pair<'_>) {
    let spec = json!({"Deadline": 60_000_000_000_u64, "IgnoreSystemJobs": false});
    let drain =
        json!({"DrainSpec": spec, "MarkEligible": false, "Meta": {"message": "for a test"}});
    pair.put("/v1/node/<node>/drain", &drain);
    pair.put(
        "/v1/node/<node>/eligibility",
        &json!({"Eligibility": "eligible"}),
    );
    pair.wait("/v1/node/<node>", |node| node["DrainStrategy"].is_null());
    pair.get("/v1/node/<node>");
    pair.put(
        "/v1/node/<node>/drain",
        &json!({"DrainSpec": null, "MarkEligible": true}),
    );
    pair.wait("/v1/node/<node>", |node| {
        node["SchedulingEligibility"] == "eligible"
    });
}

/// With ACLs on, and no token, a wrong one, or one without rights.
#[test]
fn the_stand_in_refuses_tokens_as_nomad_does() {
    let mut stage = Stage::of(
        Cluster::new(),
        &Setup {
            acl: true,
            ..Setup::default()
        },
    );
    let standin = nomad::Nomad::new();
    let endpoint = nomad::endpoint(&stage.cluster, &standin);
    let own = standin.add_node("alder");
    standin.set(|state| state.token = stage.agents.token.clone());
    let node = stage.agents.ask("/v1/nodes")[0]["ID"].clone();
    for token in [None, Some(UNKNOWN), Some("no token")] {
        stage.agents.token = token.map(str::to_owned);
        let mut pair = Pair::new(&stage.agents, endpoint.port);
        pair.keep("node", [&json!(own), &node]);
        for path in [
            "/v1/status/leader",
            "/v1/status/peers",
            "/v1/operator/autopilot/health",
            SCHEDULER,
            "/v1/nodes",
            "/v1/node/<node>",
            "/v1/node/<node>/allocations",
            "/v1/job/web",
            "/v1/job/web/evaluations",
        ] {
            pair.get(path);
        }
        pair.put(SCHEDULER, &json!({"SchedulerAlgorithm": "spread"}));
        pair.put("/v1/job/web/plan", &json!({"Job": job(50), "Diff": true}));
        pair.put("/v1/jobs", &json!({"Job": job(50)}));
        pair.put(
            "/v1/node/<node>/eligibility",
            &json!({"Eligibility": "eligible"}),
        );
        pair.end();
    }
}
