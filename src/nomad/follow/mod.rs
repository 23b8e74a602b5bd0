//! Follows a registered job until it is healthy or has failed.

mod allocations;
pub(crate) mod answer;

use std::time::{Duration, Instant};

use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::job::{Job, escaped};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter};
use crate::uplink::api::Api;
use answer::{Allocation, Deployment, Evaluation, Registered};

pub use answer::reasons;

/// How long a blocking query waits for news, in seconds.
const WAIT: u32 = 30;

/// How far Nomad may exceed its own deadline.
const SLACK: Duration = Duration::from_secs(60);

/// The result of following a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All of it is healthy, or has ended successfully.
    Healthy,
    /// Its deployment waits for somebody to promote it.
    Waits,
}

/// A wait for a node with room. It begins anew when an allocation finds one.
struct Waiting {
    patience: Duration,
    since: Instant,
    said: Vec<String>,
}

impl Waiting {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: Instant::now(),
            said: Vec::new(),
        }
    }

    fn again(&mut self) {
        self.since = Instant::now();
    }

    fn left(&self) -> Duration {
        self.patience.saturating_sub(self.since.elapsed())
    }

    fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    const fn seconds(&self) -> u64 {
        self.patience.as_secs()
    }
}

/// Follows a job from the evaluation of its registration. An error includes the failing task's
/// events and last lines.
pub async fn follow(
    api: &Api,
    job: &Job,
    evaluation: &str,
    reporter: &Reporter,
) -> Result<Standing> {
    let follower = Follower { api, job, reporter };
    let evaluation = follower.evaluation(evaluation).await?;
    let registered = follower.registered().await?;
    match evaluation.deployment.as_str() {
        "" => {
            let version = Some(registered.version);
            follower.allocations(&registered, version).await?;
            Ok(Standing::Healthy)
        }
        deployment => follower.deployment(&registered, deployment).await,
    }
}

/// Checks a job that is registered as wanted: its latest deployment may have failed or be under
/// way, and its allocations may have failed. Follows what is under way. None if nothing was, and
/// everything is well.
pub async fn look(api: &Api, job: &Job, reporter: &Reporter) -> Result<Option<Standing>> {
    let follower = Follower { api, job, reporter };
    if job.is_only_called() {
        return Ok(None);
    }
    let path = format!("/v1/job/{}/evaluations", escaped(&job.id));
    let evaluations: Vec<Evaluation> = follower.get(&path).await?;
    for pending in evaluations.iter().filter(|e| e.status == "pending") {
        follower.evaluation(&pending.id).await?;
    }
    let registered = follower.registered().await?;
    let path = format!("/v1/job/{}/deployment", escaped(&job.id));
    let deployment: Option<Deployment> = follower.get(&path).await?;
    let own = deployment.filter(|deployment| deployment.job_version == registered.version);
    if let Some(deployment) = own
        && deployment.status != "successful"
    {
        let standing = follower.deployment(&registered, &deployment.id).await?;
        return Ok(Some(standing));
    }
    follower.allocations(&registered, None).await?;
    Ok(None)
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

    /// Reads `path` in the job's namespace.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(self.watch(path, 0, WAIT).await?.0)
    }

    /// Reads `path` once it is newer than `index`, or after `wait` seconds.
    async fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
        index: u64,
        wait: u32,
    ) -> Result<(T, u64)> {
        let query = format!("{path}?{}&index={index}&wait={wait}s", self.job.query());
        let answer = self.api.send(Method::GET, &query, Vec::new()).await?;
        // An index that went back starts again. With 0 a query would not block.
        let next = answer.index.filter(|new| *new >= index).unwrap_or(0).max(1);
        let body = self.api.ok(path, answer)?;
        Ok((self.api.read(path, &body)?, next))
    }

    /// The job in Nomad.
    async fn registered(&self) -> Result<Registered> {
        self.get(&format!("/v1/job/{}", escaped(&self.job.id)))
            .await
    }

    async fn evaluation(&self, id: &str) -> Result<Evaluation> {
        let path = format!("/v1/evaluation/{}", escaped(id));
        let waiting = Waiting::new(Registered::default().patience());
        let mut index = 0;
        loop {
            let (evaluation, next): (Evaluation, u64) = self.watch(&path, index, WAIT).await?;
            match evaluation.status.as_str() {
                "complete" => return Ok(evaluation),
                "failed" | "canceled" | "cancelled" => {
                    let (status, why) = (&evaluation.status, &evaluation.status_description);
                    return Err(self
                        .failed(format!("its evaluation is {status}"))
                        .saying(why));
                }
                status if waiting.is_over() => {
                    let seconds = waiting.seconds();
                    return Err(self.failed(format!(
                        "its evaluation is still {status} after {seconds} s"
                    )));
                }
                _ => index = next,
            }
        }
    }

    /// Groups that wait for a node with room; none if all have one.
    async fn unplaced(&self) -> Result<Option<Map<String, Value>>> {
        let path = format!("/v1/job/{}/evaluations", escaped(&self.job.id));
        let mut all: Vec<Evaluation> = self.get(&path).await?;
        all.sort_by_key(|evaluation| std::cmp::Reverse(evaluation.modify_index));
        let of = |groups: &Option<Map<String, Value>>| groups.clone().filter(|g| !g.is_empty());
        let newest = all.iter().find(|e| e.status == "complete");
        let blocked = all.iter().find(|e| e.status == "blocked");
        // System jobs have no blocked evaluation for full nodes.
        let told = newest.and_then(|e| of(&e.unplaced));
        Ok(match blocked {
            Some(blocked) => of(&blocked.unplaced)
                .or(told)
                .or_else(|| all.iter().find_map(|e| of(&e.unplaced))),
            None => told,
        })
    }

    /// Reports why the job waits for a node, each reason once.
    fn tell_unplaced(&self, waiting: &mut Waiting, unplaced: Option<&Map<String, Value>>) {
        let lines = reasons(unplaced);
        if lines == waiting.said {
            return;
        }
        for line in &lines {
            let left = waiting.left().as_secs();
            self.reporter.warning(
                None,
                format!("{}: {line}; waiting for up to {left} s", self.job.id),
            );
        }
        waiting.said = lines;
    }

    async fn deployment(&self, job: &Registered, id: &str) -> Result<Standing> {
        let path = format!("/v1/deployment/{}", escaped(id));
        let mut waiting = Waiting::new(job.patience());
        let (mut index, mut wait, mut said) = (0, WAIT, String::new());
        loop {
            let (deployment, next): (Deployment, u64) = self.watch(&path, index, wait).await?;
            let progress = deployment.progress();
            if progress != said {
                self.say(format!("{}: {progress}", self.job.id));
                said = progress;
                waiting.again();
            }
            match deployment.status.as_str() {
                "successful" => return Ok(Standing::Healthy),
                "failed" | "cancelled" => {
                    let path = format!("/v1/deployment/allocations/{}", escaped(id));
                    let (status, why) = (&deployment.status, &deployment.status_description);
                    let error = self.failed(format!("its deployment is {status}: {why}"));
                    return Err(self
                        .with_last_words(error, &path, |a| a.health() != Some(true))
                        .await);
                }
                "running" if deployment.waits_for_promotion() => {
                    self.waits(format!("its canaries are healthy and wait for your word: nomad deployment promote {id}"));
                    return Ok(Standing::Waits);
                }
                "paused" => {
                    self.waits(format!(
                        "its deployment is paused; it goes on after: nomad deployment resume {id}"
                    ));
                    return Ok(Standing::Waits);
                }
                _ => {}
            }
            // Nomad's own deadline begins with the first placement, so it never begins for a job
            // that no node has room for.
            let unplaced = self.unplaced().await?;
            self.tell_unplaced(&mut waiting, unplaced.as_ref());
            if let Some(groups) = &unplaced
                && waiting.is_over()
            {
                let seconds = waiting.seconds();
                return Err(self
                    .failed(format!(
                        "no node had room for a part of it within {seconds} s"
                    ))
                    .saying(reasons(Some(groups)).join("\n")));
            }
            if waiting.since.elapsed() > waiting.patience + SLACK {
                let seconds = waiting.since.elapsed().as_secs();
                let error = self.failed(format!("its deployment got no further for {seconds} s"));
                let path = format!("/v1/deployment/allocations/{}", escaped(id));
                return Err(self
                    .with_last_words(error, &path, |a| a.health() != Some(true))
                    .await);
            }
            let seconds = match unplaced {
                Some(_) => waiting.left().as_secs() + 1,
                None => u64::from(WAIT),
            };
            wait = u32::try_from(seconds).unwrap_or(WAIT).min(WAIT);
            index = next;
        }
    }

    fn waits(&self, why: String) {
        self.reporter
            .warning(None, format!("{}: {why}", self.job.id));
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
        // If all tasks run, one of them does not become healthy.
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
                let Some(lines) = self.log(&allocation.id, name, stream).await else {
                    said.push(format!(
                        "{name}: its output is not shown, as the token lacks read-logs"
                    ));
                    break;
                };
                said.extend(lines.iter().map(|line| format!("{name} {stream}: {line}")));
            }
        }
        said
    }

    /// The last lines of a task's output, no lines if its node does not answer. None if the token may
    /// not read them.
    async fn log(&self, allocation: &str, task: &str, stream: &str) -> Option<Vec<String>> {
        let path = format!(
            "/v1/client/fs/logs/{}?task={}&type={stream}&plain=true&origin=end&offset=4000&{}",
            escaped(allocation),
            escaped(task),
            self.job.query()
        );
        let Ok(answer) = self.api.call(hyper::Method::GET, &path, Vec::new()).await else {
            return Some(Vec::new());
        };
        if answer.is_refused() {
            return None;
        }
        let mut tail = crate::process::Tail::new(10);
        if answer.status.is_success() {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            text.lines().for_each(|line| tail.push(line));
        }
        Some(tail.text().lines().map(str::to_owned).collect())
    }
}
