//! A stand-in for Nomad's servers, whose program is in no package registry.
//!
//! It answers as Nomad 1.6.10 does where the tool uses it; `checks/nomad.rs` compares the two. It drops
//! unknown settings, reads an omitted field as zero, honours check-and-set and enforced indexes, blocks
//! queries with an index, answers 429 with a body for an unhealthy autopilot, refuses `file()` in jobs,
//! and reports an election in several ways. It runs nothing, and a drain is over after a moment. A job's
//! `Meta.outcome` decides its fate: `healthy` (or none), `failing`, `stuck` until the progress
//! deadline, `unplaced`, `never`.

mod life;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Request};
use serde_json::{Map, Value, json};

use super::endpoint::{Answer, Endpoint, Handler, answer};
use life::{Run, put};

/// The stand-in's state, for a test to read and change.
#[derive(Default)]
pub struct State {
    pub index: u64,
    pub scheduler: Map<String, Value>,
    pub jobs: BTreeMap<String, Value>,
    pub things: BTreeMap<String, Value>,
    /// The path of every write.
    pub writes: Vec<String>,
    pub leaderless: bool,
    /// The number of requests that find no leader after each registration, as in an election.
    pub election: usize,
    electing: usize,
    pub unhealthy: bool,
    pub token: Option<String>,
    /// The number of scheduler writes that lose against another operator's.
    pub overtaken: usize,
    /// Whether another operator registers each job between its plan and its registration.
    pub meddled: bool,
    /// The client nodes, by their IDs.
    pub nodes: BTreeMap<String, Value>,
    /// Whether allocations never leave a node.
    pub drains_forever: bool,
    /// The number of requests for a deployment.
    pub watched: usize,
    /// Whether tasks do not start for now.
    pub held: bool,
    /// The log of every task.
    pub log: String,
}

/// The time that tasks take to stop after a drain is over.
const STOPPING: Duration = Duration::from_millis(1500);
/// A server's answers in the seconds after it lost its leader, in turn.
const ELECTION: [&str; 5] = [
    "rpc error: EOF",
    "rpc error: failed to get conn: dial tcp 192.0.2.11:4647: connect: connection refused",
    "rpc error: failed to get conn: rpc error: lead thread didn't get connection",
    "node is not the leader",
    "No cluster leader",
];

/// A running stand-in with its state.
pub struct Nomad {
    pub state: Arc<Mutex<State>>,
    handler: Handler,
}

impl Nomad {
    pub fn new() -> Self {
        let state = Arc::new(Mutex::new(State {
            index: 10,
            scheduler: json!({
                "CreateIndex": 5, "ModifyIndex": 7, "SchedulerAlgorithm": "binpack",
                "MemoryOversubscriptionEnabled": false, "RejectJobRegistration": false,
                "PauseEvalBroker": false, "FutureSetting": {"kept": true},
                "PreemptionConfig": {"SystemSchedulerEnabled": true, "SysBatchSchedulerEnabled": false,
                    "BatchSchedulerEnabled": false, "ServiceSchedulerEnabled": false, "FutureKind": 3},
            })
            .as_object()
            .unwrap()
            .clone(),
            ..State::default()
        }));
        let shared = state.clone();
        let handler: Handler = Arc::new(move |request| {
            let state = shared.clone();
            Box::pin(async move { respond(request, state).await })
        });
        Self { state, handler }
    }

    pub fn handler(&self) -> Handler {
        self.handler.clone()
    }

    /// Adds a client node that is up, and returns its ID.
    pub fn add_node(&self, name: &str) -> String {
        let number = self.state.lock().unwrap().nodes.len();
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let node = json!({"ID": id, "Name": name, "Status": "ready", "SchedulingEligibility": "eligible", "DrainStrategy": null});
        self.set(|state| _ = state.nodes.insert(id.clone(), node));
        id
    }

    /// Adds an allocation that runs on a client node until the node is drained.
    pub fn run_on(&self, node: &str, name: &str) {
        let allocation = json!({"ID": "00000000-0000-4000-8000-00000000a110", "Name": name, "NodeID": node, "JobID": "web",
            "ClientStatus": "running", "DesiredStatus": "run", "ModifyIndex": 1});
        self.set(|state| {
            _ = state
                .things
                .insert(format!("allocation {name}"), allocation)
        });
    }

    /// Whether nothing runs on a client node.
    pub fn is_empty(&self, node: &str) -> bool {
        let state = self.state.lock().unwrap();
        let mut there = state
            .things
            .values()
            .filter(|thing| thing["NodeID"] == node);
        there.all(|thing| thing["ClientStatus"] != "running")
    }

    /// A client node's scheduling eligibility.
    pub fn eligibility(&self, id: &str) -> String {
        let state = self.state.lock().unwrap();
        let said = &state.nodes[id]["SchedulingEligibility"];
        said.as_str().unwrap().to_owned()
    }

    pub fn writes(&self) -> Vec<String> {
        self.state.lock().unwrap().writes.clone()
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }
}

/// An endpoint of the cluster's that speaks as Nomad.
pub fn endpoint(cluster: &super::cluster::Cluster, nomad: &Nomad) -> Endpoint {
    let ca = cluster.authority("nomad").pem();
    Endpoint::start(&cluster.server("nomad"), &ca, nomad.handler())
}

fn json_answer(value: &Value, index: u64) -> Answer {
    let mut answer = answer(200, value.to_string());
    let headers = answer.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("x-nomad-index", index.into());
    headers.insert("x-nomad-knownleader", "true".parse().unwrap());
    answer
}

async fn respond(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let token = request.headers().get("x-nomad-token");
    let token = token.map(|t| t.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    {
        let mut state = state.lock().unwrap();
        if state.electing > 0 {
            let said = ELECTION[state.electing % ELECTION.len()];
            state.electing -= 1;
            return answer(500, said);
        }
        if state.leaderless {
            return answer(500, "No cluster leader");
        }
        if path == "/v1/status/leader" {
            return json_answer(&json!("192.0.2.11:4647"), state.index);
        }
        if path == "/v1/status/peers" {
            return json_answer(&json!(["192.0.2.11:4647"]), state.index);
        }
        if state.token.is_some() && state.token != token {
            return answer(403, "Permission denied");
        }
    }
    if method == Method::GET {
        return read(&path, &query, &state).await;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return answer(400, "failed to decode request body");
    };
    if path == "/v1/operator/scheduler/configuration" {
        let refused = match (&body, &body["SchedulerAlgorithm"]) {
            (Value::String(_), _) => "Error parsing scheduler config: json: cannot unmarshal string into Go value of type api.SchedulerConfiguration".to_owned(),
            (_, Value::String(name)) if !["", "binpack", "spread"].contains(&name.as_str()) => {
                format!("invalid scheduler algorithm: {name}")
            }
            _ => String::new(),
        };
        if !refused.is_empty() {
            return answer(400, refused);
        }
    }
    write(&path, &query, body, &state)
}

/// A read that waits for something newer than the query's index.
async fn read(path: &str, query: &BTreeMap<String, String>, state: &Arc<Mutex<State>>) -> Answer {
    let newer_than: u64 = query.get("index").map_or(0, |index| index.parse().unwrap());
    let seconds = query
        .get("wait")
        .map_or(300.0, |wait| wait.trim_end_matches('s').parse().unwrap());
    let deadline = std::time::Instant::now() + Duration::from_secs_f64(seconds);
    if path.starts_with("/v1/deployment/") {
        state.lock().unwrap().watched += 1;
    }
    loop {
        {
            let state = state.lock().unwrap();
            if let Some(id) = path.strip_prefix("/v1/node/")
                && id.split('/').next().is_some_and(|id| id.len() != 36)
            {
                let why = "index error: UUID must be 36 characters";
                return answer(500, format!("node lookup failed: {why}"));
            }
            let Some((value, index)) = look_up(path, &state) else {
                if let Some(id) = path.strip_prefix("/v1/client/fs/logs/") {
                    return answer(404, format!("Unknown allocation \"{id}\""));
                }
                let what = path.split('/').nth(2).unwrap_or_default();
                let what = what.replace("evaluation", "eval");
                return answer(404, format!("{what} not found"));
            };
            if path.starts_with("/v1/client/fs/logs/") {
                let task = query.get("task").map_or("", String::as_str);
                if value["TaskStates"][task].is_null() {
                    return answer(400, format!("unknown task name \"{task}\""));
                }
                return answer(200, state.log.clone());
            }
            if path == "/v1/operator/autopilot/health" && state.unhealthy {
                return answer(429, value.to_string());
            }
            if newer_than == 0 || index > newer_than || std::time::Instant::now() > deadline {
                return json_answer(&value, index);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn look_up(path: &str, state: &State) -> Option<(Value, u64)> {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let thing = |name: String| {
        let value = state.things.get(&name)?.clone();
        let index = value["ModifyIndex"].as_u64().unwrap();
        Some((value, index))
    };
    let allocations = |field: &str, id: &str| {
        let all: Vec<Value> = state
            .things
            .values()
            .filter(|t| t[field] == id && t.get("ClientStatus").is_some())
            .map(|allocation| {
                let mut short = allocation.clone();
                short.as_object_mut().unwrap().remove("DeploymentID");
                short
            })
            .collect();
        let index = all.iter().filter_map(|a| a["ModifyIndex"].as_u64()).max();
        Some((json!(all), index.unwrap_or(1)))
    };
    let of_job = |kind: &str, id: &str| -> Vec<Value> {
        let things = state
            .things
            .iter()
            .filter(|(name, _)| name.starts_with(kind));
        let own = things.filter(|(_, thing)| thing["JobID"] == id);
        own.map(|(_, thing)| thing.clone()).collect()
    };
    match parts.as_slice() {
        ["operator", "scheduler", "configuration"] => Some((
            json!({"SchedulerConfig": state.scheduler, "KnownLeader": true}),
            state.scheduler["ModifyIndex"].as_u64().unwrap(),
        )),
        ["operator", "autopilot", "health"] => Some((
            json!({"Healthy": !state.unhealthy, "FailureTolerance": 0, "Servers": [{"Name": "alder.prod",
                "Address": "192.0.2.11:4647", "Leader": true, "Healthy": !state.unhealthy, "Voter": true}]}),
            state.index,
        )),
        ["nodes"] => {
            let short = |node: &Value| {
                let mut node = node.clone();
                node.as_object_mut().unwrap().remove("DrainStrategy");
                node
            };
            let all: Vec<Value> = state.nodes.values().map(short).collect();
            Some((json!(all), state.index))
        }
        ["node", id] => state.nodes.get(*id).map(|n| (n.clone(), state.index)),
        ["job", id] => state
            .jobs
            .get(*id)
            .map(|job| (registered(id, job), state.index)),
        ["job", id, "evaluations"] => Some((json!(of_job("evaluation ", id)), state.index)),
        ["job", id, "deployment"] => {
            let mut all = of_job("deployment ", id);
            all.sort_by_key(|d| d["JobVersion"].as_u64());
            Some((json!(all.pop()), state.index))
        }
        ["node", id, "allocations"] => allocations("NodeID", id),
        ["job", id, "allocations"] => allocations("JobID", id),
        ["deployment", "allocations", id] => allocations("DeploymentID", id),
        ["evaluation", id] => thing(format!("evaluation {id}")),
        ["deployment", id] => thing(format!("deployment {id}")),
        ["client", "fs", "logs", id] => thing(format!("allocation {id}")),
        _ => None,
    }
}

/// A job as Nomad stores it, with defaults; times are in nanoseconds.
fn registered(id: &str, job: &Value) -> Value {
    let update = json!({"MinHealthyTime": 100_000_000, "ProgressDeadline": 2_000_000_000_u64});
    json!({"ID": id, "Version": job["Version"], "JobModifyIndex": job["JobModifyIndex"],
        "TaskGroups": [{"Name": "main", "Update": update}]})
}

/// Settings as Nomad stores them: the known ones, zero if omitted.
fn known(there: &Map<String, Value>, written: &Value) -> Map<String, Value> {
    let zero = |value: &Value| match value {
        Value::Bool(_) => json!(false),
        Value::Number(_) => json!(0),
        Value::String(_) => json!(""),
        _ => Value::Null,
    };
    let one = |(name, value): (&String, &Value)| {
        let new = match (value, &written[name]) {
            (Value::Object(there), new) => Value::Object(known(there, new)),
            (value, Value::Null) => zero(value),
            (_, new) => new.clone(),
        };
        (name.clone(), new)
    };
    there.iter().map(one).collect()
}

fn write(
    path: &str,
    query: &BTreeMap<String, String>,
    body: Value,
    state: &Arc<Mutex<State>>,
) -> Answer {
    let shared = state.clone();
    let mut state = state.lock().unwrap();
    match path {
        "/v1/operator/scheduler/configuration" => {
            state.writes.push(path.to_owned());
            if state.overtaken > 0 {
                state.overtaken -= 1;
                state.index += 1;
                let index = state.index;
                state.scheduler.insert("ModifyIndex".into(), json!(index));
            }
            let now = state.scheduler["ModifyIndex"].clone();
            let cas = query
                .get("cas")
                .map(|cas| json!(cas.parse::<u64>().unwrap()));
            let updated = cas.is_none() || cas == Some(now);
            if updated {
                state.index += 1;
                let mut settings = known(&state.scheduler, &body);
                settings.insert("ModifyIndex".into(), json!(state.index));
                state.scheduler = settings;
            }
            json_answer(
                &json!({"Updated": updated, "Index": state.index}),
                state.index,
            )
        }
        "/v1/jobs/parse" => {
            if body["JobHCL"].as_str().unwrap().contains("file(") {
                answer(500, "function \"file\" is not allowed")
            } else {
                answer(501, "the stand-in reads no HCL")
            }
        }
        "/v1/jobs" => register(body, &mut state, shared),
        _ if path.starts_with("/v1/node/") => {
            state.writes.push(path.to_owned());
            let parts: Vec<&str> = path["/v1/node/".len()..].split('/').collect();
            match parts.as_slice() {
                [id, "drain"] => drain(id, &body, &mut state, shared),
                [id, "eligibility"] => set_eligibility(id, &body, &mut state),
                _ => answer(404, "not found"),
            }
        }
        _ if path.starts_with("/v1/job/") && path.ends_with("/plan") => {
            let id = path["/v1/job/".len()..path.len() - "/plan".len()].to_owned();
            plan(&id, &body, &mut state)
        }
        _ => answer(404, "not found"),
    }
}

fn drain(id: &str, body: &Value, state: &mut State, shared: Arc<Mutex<State>>) -> Answer {
    state.index += 1;
    let index = state.index;
    let Some(node) = state.nodes.get_mut(id) else {
        return answer(500, "node not found");
    };
    if body["DrainSpec"].is_null() {
        node["DrainStrategy"] = Value::Null;
        if body["MarkEligible"] == true {
            node["SchedulingEligibility"] = json!("eligible");
        }
    } else {
        node["DrainStrategy"] = body["DrainSpec"].clone();
        node["SchedulingEligibility"] = json!("ineligible");
        let id = id.to_owned();
        if !state.drains_forever {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                shared.lock().unwrap().nodes.get_mut(&id).unwrap()["DrainStrategy"] = Value::Null;
                // The task is told to stop, and runs on for its kill_timeout.
                tokio::time::sleep(STOPPING).await;
                for thing in shared.lock().unwrap().things.values_mut() {
                    if thing["NodeID"] == id.as_str() {
                        thing["ClientStatus"] = json!("complete");
                    }
                }
            });
        }
    }
    json_answer(
        &json!({"NodeModifyIndex": index, "EvalIDs": null, "Index": index}),
        index,
    )
}

fn set_eligibility(id: &str, body: &Value, state: &mut State) -> Answer {
    state.index += 1;
    let index = state.index;
    let Some(node) = state.nodes.get_mut(id) else {
        return answer(500, "node not found");
    };
    let wanted = &body["Eligibility"];
    if wanted != "eligible" && wanted != "ineligible" {
        return answer(500, format!("invalid scheduling eligibility {wanted}"));
    }
    if body["Eligibility"] == "eligible" && !node["DrainStrategy"].is_null() {
        return answer(
            500,
            "can not set node's scheduling eligibility to eligible while it is draining",
        );
    }
    node["SchedulingEligibility"] = body["Eligibility"].clone();
    json_answer(&json!({"NodeModifyIndex": index, "Index": index}), index)
}

fn plan(id: &str, body: &Value, state: &mut State) -> Answer {
    let Some(new) = body["Job"].as_object() else {
        return answer(400, "Job must be specified");
    };
    if body["Job"]["ID"] != id {
        return answer(400, "Job ID does not match");
    }
    let (kind, fields, index) = match state.jobs.get(id) {
        None => ("Added", Vec::new(), 0),
        Some(old) => {
            let index = old["JobModifyIndex"].as_u64().unwrap();
            let spec = old["Spec"].as_object().unwrap();
            let text = |value: Option<&Value>| value.map_or(String::new(), Value::to_string);
            let names: std::collections::BTreeSet<&String> =
                new.keys().chain(spec.keys()).collect();
            let fields: Vec<Value> = names
                .into_iter()
                .filter(|name| new.get(*name) != spec.get(*name))
                .map(|name| json!({"Type": "Edited", "Name": name, "Old": text(spec.get(name)), "New": text(new.get(name))}))
                .collect();
            let kind = if fields.is_empty() { "None" } else { "Edited" };
            (kind, fields, index)
        }
    };
    if state.meddled {
        state.index += 1;
        let index = state.index;
        state
            .jobs
            .insert(id.to_owned(), json!({"Spec": {}, "JobModifyIndex": index}));
    }
    let diff =
        json!({"Type": kind, "ID": id, "Fields": fields, "Objects": null, "TaskGroups": null});
    json_answer(
        &json!({"JobModifyIndex": index, "Diff": diff, "FailedTGAllocs": null, "Warnings": "", "Index": state.index}),
        state.index,
    )
}

fn register(body: Value, state: &mut State, shared: Arc<Mutex<State>>) -> Answer {
    let job = &body["Job"];
    if job.is_null() {
        return answer(400, "Job must be specified");
    }
    let id = job["ID"].as_str().unwrap().to_owned();
    state.writes.push(format!("/v1/jobs {id}"));
    if body["EnforceIndex"] == true {
        let wanted = body["JobModifyIndex"].as_u64().unwrap();
        let there = state
            .jobs
            .get(&id)
            .map_or(0, |job| job["JobModifyIndex"].as_u64().unwrap());
        if wanted != there {
            let why = match there {
                0 => "job does not exist".to_owned(),
                there => format!("job exists with conflicting job modify index: {there}"),
            };
            return answer(500, format!("Enforcing job modify index {wanted}: {why}"));
        }
    }
    state.electing = state.election;
    state.index += 1;
    let index = state.index;
    state.jobs.insert(
        id.clone(),
        json!({"Spec": job, "JobModifyIndex": index, "Version": index}),
    );
    let evaluation = format!("eval-{index}");
    let outcome = job["Meta"]["outcome"]
        .as_str()
        .unwrap_or("healthy")
        .to_owned();
    let deployed = !matches!(job["Type"].as_str(), Some("system" | "batch" | "sysbatch"));
    put(
        state,
        &format!("evaluation {evaluation}"),
        json!({"ID": evaluation, "Status": "pending", "JobID": id}),
    );
    let run = Run {
        id,
        version: index,
        evaluation: evaluation.clone(),
        deployed,
        outcome,
    };
    tokio::spawn(run.live(shared));
    json_answer(
        &json!({"EvalID": evaluation, "JobModifyIndex": index, "Warnings": "", "Index": index}),
        index,
    )
}
