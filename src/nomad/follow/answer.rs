//! Nomad's data on a job's evaluations, deployments and allocations.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::event::count;

/// `min_healthy_time` of a job that sets none: Nomad's own default.
const MIN_HEALTHY: Duration = Duration::from_secs(10);
/// `progress_deadline` of a job that sets none: Nomad's own default.
const PROGRESS: Duration = Duration::from_secs(600);

/// A job in Nomad, with Nomad's defaults filled in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Registered {
    /// The number of its specification.
    pub version: u64,
    task_groups: Option<Vec<TaskGroup>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskGroup {
    name: String,
    update: Option<Update>,
}

/// Times in nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Update {
    min_healthy_time: u64,
    progress_deadline: u64,
}

impl Registered {
    /// How long an allocation of a group has to run before it counts as healthy.
    pub fn min_healthy(&self, group: &str) -> Duration {
        self.task_groups
            .iter()
            .flatten()
            .find(|g| g.name == group)
            .and_then(|g| g.update.as_ref())
            .map_or(MIN_HEALTHY, |u| Duration::from_nanos(u.min_healthy_time))
    }

    /// How long the job may wait for a node with room: its longest progress deadline. Nomad itself
    /// counts that from the first placement.
    pub fn patience(&self) -> Duration {
        self.task_groups
            .iter()
            .flatten()
            .filter_map(|g| g.update.as_ref())
            .map(|u| Duration::from_nanos(u.progress_deadline))
            .filter(|deadline| !deadline.is_zero())
            .max()
            .unwrap_or(PROGRESS)
    }
}

/// An attempt of the scheduler to place a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Evaluation {
    #[serde(rename = "ID")]
    pub id: String,
    /// `pending`, `complete`, `failed`, `canceled` or `blocked`.
    pub status: String,
    /// Why it failed.
    pub status_description: String,
    /// Its deployment; empty if there is none.
    #[serde(rename = "DeploymentID")]
    pub deployment: String,
    /// Groups that no node has room for, by name.
    #[serde(rename = "FailedTGAllocs")]
    pub unplaced: Option<Map<String, Value>>,
    /// Grows with each change.
    pub modify_index: u64,
}

/// The rollout of a job's version.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Deployment {
    #[serde(rename = "ID")]
    pub id: String,
    /// The version of the job that it rolls out.
    pub job_version: u64,
    /// `running`, `paused`, `successful`, `failed`, `cancelled` and others.
    pub status: String,
    /// The reason of the status.
    pub status_description: String,
    /// The progress of each group.
    pub task_groups: Option<BTreeMap<String, Group>>,
}

/// The progress of a group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Group {
    /// Wanted allocations.
    pub desired_total: u32,
    /// Allocations that have a node.
    pub placed_allocs: u32,
    /// Healthy allocations.
    pub healthy_allocs: u32,
    /// Allocations that have failed.
    pub unhealthy_allocs: u32,
    /// Wanted canaries.
    pub desired_canaries: u32,
    /// Whether the canaries were promoted.
    pub promoted: bool,
}

impl Deployment {
    /// The progress as a line.
    pub fn progress(&self) -> String {
        let groups: Vec<String> = self
            .task_groups
            .iter()
            .flatten()
            .map(|(name, group)| {
                let bad = match group.unhealthy_allocs {
                    0 => String::new(),
                    n => format!(", {n} unhealthy"),
                };
                format!(
                    "{name} {} of {} healthy, {} placed{bad}",
                    group.healthy_allocs, group.desired_total, group.placed_allocs
                )
            })
            .collect();
        format!("{} ({})", groups.join("; "), self.status)
    }

    /// Whether healthy canaries wait for somebody to promote them.
    pub fn waits_for_promotion(&self) -> bool {
        let groups = || self.task_groups.iter().flatten().map(|(_, group)| group);
        groups().any(|g| g.desired_canaries > 0 && !g.promoted)
            && groups().all(|g| {
                g.promoted || g.desired_canaries == 0 || g.healthy_allocs >= g.desired_canaries
            })
    }
}

/// A group of tasks on a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Allocation {
    #[serde(rename = "ID")]
    pub id: String,
    /// The name of its node.
    pub node_name: String,
    /// Its name, with the group and a number.
    pub name: String,
    pub task_group: String,
    /// The version of the job that it runs.
    pub job_version: u64,
    /// Grows with each new allocation.
    pub create_index: u64,
    /// `run`, `stop` or `evict`.
    pub desired_status: String,
    /// `pending`, `running`, `complete`, `failed`, `lost` or `unknown`.
    pub client_status: String,
    deployment_status: Option<Health>,
    /// Its tasks, by name.
    pub task_states: Option<BTreeMap<String, Task>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Health {
    healthy: Option<bool>,
}

impl Allocation {
    /// Whether it ended successfully.
    pub fn is_complete(&self) -> bool {
        self.client_status == "complete"
    }

    pub fn runs(&self) -> bool {
        self.client_status == "running"
    }

    /// Whether it will not run any more.
    pub fn failed(&self) -> bool {
        matches!(self.client_status.as_str(), "failed" | "lost")
    }

    /// Its health in its deployment; none while that is undecided.
    pub fn health(&self) -> Option<bool> {
        self.deployment_status.as_ref()?.healthy
    }

    /// The number of restarts of its tasks.
    pub fn restarts(&self) -> u64 {
        let tasks = self.task_states.iter().flatten();
        tasks.map(|(_, task)| task.restarts).sum()
    }

    /// The start of its task that started last (RFC 3339).
    pub fn started(&self) -> Option<&str> {
        let tasks = self.task_states.iter().flatten();
        tasks
            .filter_map(|(_, task)| task.started_at.as_deref())
            .max()
    }
}

/// The state of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// `pending`, `running` or `dead`.
    pub state: String,
    /// Whether it failed.
    pub failed: bool,
    /// The number of its restarts.
    pub restarts: u64,
    started_at: Option<String>,
    /// Its events, the oldest first.
    pub events: Option<Vec<TaskEvent>>,
}

impl Task {
    /// Whether it failed or was restarted.
    pub fn is_bad(&self) -> bool {
        self.failed || self.restarts > 0 || self.state != "running"
    }

    /// The reason of its last restart.
    pub fn why_restarted(&self) -> Option<&str> {
        let events = self.events.iter().flatten().rev();
        let mut ends = events.filter(|e| {
            matches!(
                e.r#type.as_str(),
                "Terminated" | "Driver Failure" | "Restart Signaled"
            )
        });
        ends.next().map(|event| event.display_message.as_str())
    }
}

/// An event of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskEvent {
    /// Its kind, such as `Terminated`.
    pub r#type: String,
    /// Its text.
    pub display_message: String,
}

/// Why no node has room for some groups, as lines.
pub fn reasons(unplaced: Option<&Map<String, Value>>) -> Vec<String> {
    let counts = |metric: &Value, name: &str| -> Vec<String> {
        let all = metric[name].as_object().into_iter().flatten();
        all.map(|(what, n)| format!("{what} ({})", count(n.as_u64().unwrap_or_default(), "node")))
            .collect()
    };
    unplaced
        .into_iter()
        .flatten()
        .map(|(group, metric)| {
            let mut why = counts(metric, "ConstraintFiltered");
            why.extend(counts(metric, "DimensionExhausted"));
            if why.is_empty() {
                let n = metric["NodesEvaluated"].as_u64().unwrap_or_default();
                why.push(format!("none of {} evaluated", count(n, "node")));
            }
            format!(
                "no node has room for the group ‘{group}’: {}",
                why.join(", ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(canaries: u32, healthy: u32, promoted: bool) -> Deployment {
        serde_json::from_value(json!({"Status": "running", "TaskGroups": {"front": {
            "DesiredTotal": 2, "PlacedAllocs": 1, "HealthyAllocs": healthy,
            "DesiredCanaries": canaries, "Promoted": promoted}}}))
        .unwrap()
    }

    #[test]
    fn progress_counts_each_group() {
        assert_eq!(
            deployment(0, 1, false).progress(),
            "front 1 of 2 healthy, 1 placed (running)"
        );
    }

    #[test]
    fn only_healthy_canaries_wait_for_promotion() {
        assert!(deployment(1, 1, false).waits_for_promotion());
        assert!(!deployment(1, 0, false).waits_for_promotion());
        assert!(!deployment(1, 1, true).waits_for_promotion());
        assert!(!deployment(0, 1, false).waits_for_promotion());
    }

    #[test]
    fn the_times_of_a_job_are_its_own_or_nomads() {
        let job: Registered = serde_json::from_value(json!({"TaskGroups": [
            {"Name": "a", "Update": {"MinHealthyTime": 3_000_000_000_u64, "ProgressDeadline": 9_000_000_000_u64}},
            {"Name": "b", "Update": null}]}))
        .unwrap();
        assert_eq!(job.min_healthy("a").as_secs(), 3);
        assert_eq!(job.min_healthy("b").as_secs(), 10);
        assert_eq!(job.patience().as_secs(), 9);
        assert_eq!(Registered::default().patience().as_secs(), 600);
    }

    #[test]
    fn the_reasons_of_a_full_cluster_are_told() {
        let unplaced = json!({"front": {"NodesEvaluated": 3, "DimensionExhausted": {"memory": 2},
            "ConstraintFiltered": {"missing drivers": 1}}});
        assert_eq!(
            reasons(unplaced.as_object()),
            ["no node has room for the group ‘front’: missing drivers (1 node), memory (2 nodes)"]
        );
    }
}
