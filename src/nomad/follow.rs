//! Following a registered job until it runs, or until it is clear that it will not.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::job::{Job, escaped};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter};
use crate::uplink::api::{Api, Trouble};

/// How long Nomad may hold back an answer that has nothing new, in seconds.
const WAIT: u32 = 30;
/// How long a job without a deployment may take to run: Nomad's own default for one with a deployment.
const DEADLINE: Duration = Duration::from_secs(600);
/// How long to wait before asking again where Nomad cannot answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How often in a row that may happen: an election takes some seconds.
const TRIES: u32 = 30;

/// An attempt of the scheduler to place a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Evaluation {
    status: String,
    status_description: String,
    #[serde(rename = "DeploymentID")]
    deployment: String,
    #[serde(rename = "FailedTGAllocs")]
    unplaced: Option<Map<String, Value>>,
}

/// A service's change from one version to the next.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Deployment {
    status: String,
    status_description: String,
    task_groups: Option<std::collections::BTreeMap<String, Group>>,
}

/// How far a group has come.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Group {
    desired_total: u32,
    placed_allocs: u32,
    healthy_allocs: u32,
    unhealthy_allocs: u32,
    desired_canaries: u32,
    promoted: bool,
}

/// A group of tasks on a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Allocation {
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node it is on.
    pub node_name: String,
    /// Its name, with the group and a number.
    pub name: String,
    #[serde(rename = "EvalID")]
    evaluation: String,
    create_index: u64,
    desired_status: String,
    client_status: String,
    deployment_status: Option<Health>,
    task_states: Option<std::collections::BTreeMap<String, Task>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Health {
    healthy: Option<bool>,
}

/// What became of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Task {
    state: String,
    failed: bool,
    restarts: u64,
    events: Option<Vec<TaskEvent>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskEvent {
    r#type: String,
    display_message: String,
}

/// Follows the evaluation of a job to its end. An error has the failing
/// task's events and last words with it.
pub async fn follow(api: &Api, job: &Job, evaluation: &str, reporter: &Reporter) -> Result<()> {
    let follower = Follower { api, job, reporter };
    let evaluation = follower.evaluation(evaluation).await?;
    match evaluation.1.deployment.as_str() {
        "" => follower.allocations(&evaluation.0, &evaluation.1).await,
        deployment => follower.deployment(deployment).await,
    }
}

struct Follower<'a> {
    api: &'a Api,
    job: &'a Job,
    reporter: &'a Reporter,
}

impl Follower<'_> {
    fn say(&self, line: String) {
        self.reporter.emit(Event::Log { node: None, line });
    }

    /// Reads `path` once it is newer than `index`. While Nomad cannot be
    /// reached or elects a leader it is asked again, for some time: the job
    /// goes on without us.
    async fn watch<T: DeserializeOwned>(&self, path: &str, index: u64) -> Result<(T, u64)> {
        let query = format!("{path}?{}&index={index}&wait={WAIT}s", self.job.query());
        let mut tries = 0;
        loop {
            let answer = self.api.call(hyper::Method::GET, &query, Vec::new()).await;
            let passing = match &answer {
                Ok(answer) => answer.has_no_leader(),
                Err(trouble) => matches!(trouble, Trouble::Uplink(_)),
            };
            if passing && tries < TRIES {
                tries += 1;
                tracing::debug!(path, "asked again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let answer = answer?;
            // An index that goes back, or is 0, would be waited for in vain.
            let next = answer.index.filter(|new| *new >= index).unwrap_or(0).max(1);
            let body = self.api.ok(path, answer)?;
            return Ok((self.api.read(path, &body)?, next));
        }
    }

    async fn evaluation(&self, id: &str) -> Result<(String, Evaluation)> {
        let path = format!("/v1/evaluation/{}", escaped(id));
        let mut index = 0;
        loop {
            let (evaluation, next): (Evaluation, u64) = self.watch(&path, index).await?;
            match evaluation.status.as_str() {
                "complete" => {
                    for line in reasons(evaluation.unplaced.as_ref()) {
                        self.reporter
                            .warning(None, format!("{}: {line}", self.job.id));
                    }
                    return Ok((id.to_owned(), evaluation));
                }
                "failed" | "canceled" | "cancelled" => {
                    let (status, why) = (&evaluation.status, &evaluation.status_description);
                    return Err(self
                        .failed(format!("its evaluation is {status}"))
                        .saying(why));
                }
                _ => index = next,
            }
        }
    }

    async fn deployment(&self, id: &str) -> Result<()> {
        let path = format!("/v1/deployment/{}", escaped(id));
        let (mut index, mut said) = (0, String::new());
        loop {
            let (deployment, next): (Deployment, u64) = self.watch(&path, index).await?;
            let progress = progress(&deployment);
            if progress != said {
                self.say(format!("{}: {progress}", self.job.id));
                said = progress;
            }
            match deployment.status.as_str() {
                "successful" => return Ok(()),
                "failed" | "cancelled" => {
                    let path = format!("/v1/deployment/allocations/{}", escaped(id));
                    let (status, why) = (&deployment.status, &deployment.status_description);
                    let error = self.failed(format!("its deployment is {status}: {why}"));
                    return Err(self
                        .with_last_words(error, &path, |a| a.health() != Some(true))
                        .await);
                }
                "running" if waits_for_promotion(&deployment) => {
                    self.reporter.warning(
                        None,
                        format!(
                            "{}: its canaries are healthy and wait for your word: nomad deployment promote {id}",
                            self.job.id
                        ),
                    );
                    return Ok(());
                }
                _ => index = next,
            }
        }
    }

    /// Jobs without a deployment: system, batch, and services that ask for none.
    async fn allocations(&self, evaluation: &str, placed: &Evaluation) -> Result<()> {
        let path = format!("/v1/job/{}/allocations", escaped(&self.job.id));
        let began = Instant::now();
        let (mut index, mut said) = (0, String::new());
        loop {
            let (all, next): (Vec<Allocation>, u64) = self.watch(&path, index).await?;
            let own: Vec<&Allocation> = all
                .iter()
                .filter(|a| a.evaluation == evaluation && a.desired_status == "run")
                .collect();
            let running = own.iter().filter(|a| a.runs()).count();
            let progress = format!("{running} of {} run", own.len());
            if progress != said {
                self.say(format!("{}: {progress}", self.job.id));
                said = progress;
            }
            if own.iter().any(|a| a.failed()) {
                let error = self.failed("a task failed".into());
                return Err(self
                    .with_last_words(error, &path, |a| a.evaluation == evaluation && !a.runs())
                    .await);
            }
            if running == own.len() {
                return match placed.unplaced.as_ref().filter(|groups| !groups.is_empty()) {
                    None => Ok(()),
                    Some(groups) => Err(self
                        .failed("no node has room for a part of it".into())
                        .saying(reasons(Some(groups)).join("\n"))),
                };
            }
            if began.elapsed() > DEADLINE {
                let minutes = DEADLINE.as_secs() / 60;
                let error = self.failed(format!("it does not run within {minutes} minutes"));
                return Err(self
                    .with_last_words(error, &path, |a| a.evaluation == evaluation && !a.runs())
                    .await);
            }
            index = next;
        }
    }

    fn failed(&self, how: String) -> Error {
        Error::new(Exit::Partial, format!("{} is not healthy: {how}", self.job.id)).help(format!(
            "look closer, inside tlsproxy: nomad job status {}; the job stays registered, run again when it is mended",
            self.job.id
        ))
    }

    /// The error with the events and the last lines of the tasks of the newest bad allocations.
    async fn with_last_words(
        &self,
        error: Error,
        path: &str,
        is_bad: impl Fn(&Allocation) -> bool,
    ) -> Error {
        let query = format!("{path}?{}", self.job.query());
        let Ok(mut all) = self.api.get::<Vec<Allocation>>(&query).await else {
            return error;
        };
        all.retain(is_bad);
        all.sort_by_key(|a| std::cmp::Reverse(a.create_index));
        let mut said = Vec::new();
        for allocation in all.iter().take(2) {
            said.extend(self.last_words(allocation).await);
        }
        error.saying(said.join("\n"))
    }

    async fn last_words(&self, allocation: &Allocation) -> Vec<String> {
        let mut said = vec![format!("{} on {}", allocation.name, allocation.node_name)];
        let tasks = || allocation.task_states.iter().flatten();
        // Where all run, one of them does not become healthy.
        let all_run = !tasks().any(|(_, task)| task.is_bad());
        for (name, task) in tasks().filter(|(_, task)| all_run || task.is_bad()) {
            let events = task.events.iter().flatten().collect::<Vec<_>>();
            for event in events.iter().rev().take(5).rev() {
                said.push(format!(
                    "{name}: {}: {}",
                    event.r#type, event.display_message
                ));
            }
            for stream in ["stderr", "stdout"] {
                let lines = self.log(&allocation.id, name, stream).await;
                said.extend(lines.iter().map(|line| format!("{name} {stream}: {line}")));
            }
        }
        said
    }

    /// The last lines that a task wrote; none where its node does not tell.
    async fn log(&self, allocation: &str, task: &str, stream: &str) -> Vec<String> {
        let path = format!(
            "/v1/client/fs/logs/{}?task={}&type={stream}&plain=true&origin=end&offset=4000&{}",
            escaped(allocation),
            escaped(task),
            self.job.query()
        );
        let Ok(answer) = self.api.call(hyper::Method::GET, &path, Vec::new()).await else {
            return Vec::new();
        };
        let mut tail = crate::process::Tail::new(10);
        if answer.status.is_success() {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            text.lines().for_each(|line| tail.push(line));
        }
        tail.text().lines().map(str::to_owned).collect()
    }
}

impl Allocation {
    fn runs(&self) -> bool {
        matches!(self.client_status.as_str(), "running" | "complete")
    }

    fn failed(&self) -> bool {
        matches!(self.client_status.as_str(), "failed" | "lost")
    }

    /// What its deployment makes of it; none as long as that is open.
    fn health(&self) -> Option<bool> {
        self.deployment_status.as_ref()?.healthy
    }
}

impl Task {
    fn is_bad(&self) -> bool {
        self.failed || self.restarts > 0 || self.state != "running"
    }
}

fn progress(deployment: &Deployment) -> String {
    let groups: Vec<String> = deployment
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
    format!("{} ({})", groups.join("; "), deployment.status)
}

fn waits_for_promotion(deployment: &Deployment) -> bool {
    let groups = || {
        deployment
            .task_groups
            .iter()
            .flatten()
            .map(|(_, group)| group)
    };
    groups().any(|g| g.desired_canaries > 0 && !g.promoted)
        && groups().all(|g| {
            g.promoted || g.desired_canaries == 0 || g.healthy_allocs >= g.desired_canaries
        })
}

/// Why no node has room for some groups.
pub fn reasons(unplaced: Option<&Map<String, Value>>) -> Vec<String> {
    let counts = |metric: &Value, name: &str| -> Vec<String> {
        let all = metric[name].as_object().into_iter().flatten();
        all.map(|(what, n)| format!("{what} ({n} nodes)")).collect()
    };
    unplaced
        .into_iter()
        .flatten()
        .map(|(group, metric)| {
            let mut why = counts(metric, "ConstraintFiltered");
            why.extend(counts(metric, "DimensionExhausted"));
            if why.is_empty() {
                let n = metric["NodesEvaluated"].as_u64().unwrap_or_default();
                why.push(format!("{n} nodes are eligible"));
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
            progress(&deployment(0, 1, false)),
            "front 1 of 2 healthy, 1 placed (running)"
        );
    }

    #[test]
    fn only_healthy_canaries_wait_for_promotion() {
        assert!(waits_for_promotion(&deployment(1, 1, false)));
        assert!(!waits_for_promotion(&deployment(1, 0, false)));
        assert!(!waits_for_promotion(&deployment(1, 1, true)));
        assert!(!waits_for_promotion(&deployment(0, 1, false)));
    }

    #[test]
    fn the_reasons_of_a_full_cluster_are_told() {
        let unplaced = json!({"front": {"NodesEvaluated": 3, "DimensionExhausted": {"memory": 2},
            "ConstraintFiltered": {"missing drivers": 1}}});
        assert_eq!(
            reasons(unplaced.as_object()),
            ["no node has room for the group ‘front’: missing drivers (1 nodes), memory (2 nodes)"]
        );
    }
}
