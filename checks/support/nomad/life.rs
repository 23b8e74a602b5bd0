//! The life of a registered job in the stand-in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::State;

pub(super) fn put(state: &mut State, name: &str, mut value: Value) {
    state.index += 1;
    // Nomad omits the field if all groups have a node.
    if value["FailedTGAllocs"].is_null() {
        value.as_object_mut().unwrap().remove("FailedTGAllocs");
    }
    value["ModifyIndex"] = json!(state.index);
    state.things.insert(name.to_owned(), value);
}

/// A version of a job, and its fate.
pub(super) struct Run {
    pub(super) id: String,
    pub(super) version: u64,
    pub(super) evaluation: String,
    pub(super) deployed: bool,
    pub(super) outcome: String,
}

impl Run {
    /// The life of a registered job, in steps.
    pub(super) async fn live(self, shared: Arc<Mutex<State>>) {
        let Self {
            id,
            version,
            evaluation,
            deployed,
            outcome,
        } = self;
        let step = || tokio::time::sleep(Duration::from_millis(150));
        let deployment = if deployed {
            format!("deploy-of-{evaluation}")
        } else {
            String::new()
        };
        let allocation = format!("alloc-of-{evaluation}");
        let allocated = |status: &str, healthy: Option<bool>, task: Value| {
            json!({"ID": allocation, "Name": format!("{id}.main[0]"), "NodeName": "alder", "JobID": id, "JobVersion": version,
            "TaskGroup": "main", "CreateIndex": version, "EvalID": evaluation, "DeploymentID": deployment, "DesiredStatus": "run", "ClientStatus": status,
            "DeploymentStatus": {"Healthy": healthy}, "TaskStates": {"main": task}})
        };
        let placed = u32::from(outcome != "unplaced");
        let deploying = |status: &str, healthy: u32, unhealthy: u32| {
            let description = match (status, outcome.as_str()) {
                ("failed", "stuck") => "Failed due to progress deadline".to_owned(),
                _ => format!("Deployment is {status}"),
            };
            json!({"ID": deployment, "JobID": id, "JobVersion": version, "Status": status, "StatusDescription": description,
            "TaskGroups": {"main": {"DesiredTotal": 1, "PlacedAllocs": placed, "HealthyAllocs": healthy,
                "UnhealthyAllocs": unhealthy, "DesiredCanaries": 0, "Promoted": false}}})
        };
        let keep = |name: &str, value: Value| put(&mut shared.lock().unwrap(), name, value);
        step().await;
        if placed > 0 {
            keep(
                &format!("allocation {allocation}"),
                allocated("pending", None, json!({"State": "pending"})),
            );
        }
        if deployed {
            keep(
                &format!("deployment {deployment}"),
                deploying("running", 0, 0),
            );
        }
        let unplaced = match placed {
            0 => json!({"main": {"NodesEvaluated": 1, "DimensionExhausted": {"memory": 1}}}),
            _ => Value::Null,
        };
        keep(
            &format!("evaluation {evaluation}"),
            json!({"ID": evaluation, "Status": "complete", "DeploymentID": deployment, "JobID": id, "FailedTGAllocs": unplaced}),
        );
        if placed == 0 {
            let blocked = format!("{evaluation}-blocked");
            keep(
                &format!("evaluation {blocked}"),
                json!({"ID": blocked, "Status": "blocked", "JobID": id, "FailedTGAllocs": null}),
            );
            // The progress deadline begins with the first placement, so this never ends.
            return;
        }
        step().await;
        while shared.lock().unwrap().held {
            step().await;
        }
        let (status, healthy, task, end) = match outcome.as_str() {
            "never" => return,
            "failing" => (
                "failed",
                Some(false),
                json!({"State": "dead", "Failed": true, "Restarts": 2, "Events": [
                {"Type": "Driver Failure", "DisplayMessage": "failed to pull image"},
                {"Type": "Not Restarting", "DisplayMessage": "Exceeded allowed attempts 2"}]}),
                "failed",
            ),
            // Health checks fail; the allocation's health stays unknown until the deployment ends.
            "stuck" => (
                "running",
                None,
                json!({"State": "running", "Failed": false, "Restarts": 0, "Events": [
                {"Type": "Started", "DisplayMessage": "Task started by client"},
                {"Type": "Alloc Unhealthy", "DisplayMessage": "Task not running for min_healthy_time of 10s by healthy_deadline of 5m0s"}]}),
                "failed",
            ),
            _ => (
                "running",
                Some(true),
                json!({"State": "running", "Events": []}),
                "successful",
            ),
        };
        keep(
            &format!("allocation {allocation}"),
            allocated(status, healthy, task),
        );
        if deployed {
            step().await;
            let good = u32::from(end == "successful");
            keep(
                &format!("deployment {deployment}"),
                deploying(end, good, 1 - good),
            );
        }
    }
}
