//! Health of jobs without a deployment: system and batch jobs, and services without an update
//! block.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::answer::{Allocation, Registered, reasons};
use super::{Follower, WAIT, Waiting};
use crate::error::Result;
use crate::nomad::job::escaped;

/// The shortest pause between two looks at running allocations, in seconds.
const LOOK: u64 = 1;

/// The newest allocation of each place of a job.
struct Places<'a> {
    newest: Vec<&'a Allocation>,
}

impl<'a> Places<'a> {
    /// For a system job each node is a place, for others each name.
    fn new(all: &'a [Allocation], by_node: bool) -> Self {
        let mut places: BTreeMap<(&str, &str), &Allocation> = BTreeMap::new();
        for allocation in all {
            let node = if by_node { &*allocation.node_name } else { "" };
            let place = places.entry((&allocation.name, node)).or_insert(allocation);
            if allocation.create_index > place.create_index {
                *place = allocation;
            }
        }
        let newest = places.into_values();
        Self {
            newest: newest.filter(|a| a.desired_status == "run").collect(),
        }
    }
}

/// When each allocation was first seen running with its number of restarts, by ID.
#[derive(Default)]
struct Seen(BTreeMap<String, (u64, Instant)>);

impl Seen {
    /// How long an allocation has run, by its node's clock or as seen here, and whether it
    /// restarted since the last look.
    fn for_how_long(&mut self, allocation: &Allocation) -> (Duration, bool) {
        let restarts = allocation.restarts();
        let (before, since) = *self
            .0
            .entry(allocation.id.clone())
            .or_insert((restarts, Instant::now()));
        let restarted = restarts > before;
        let since = if restarted { Instant::now() } else { since };
        self.0.insert(allocation.id.clone(), (restarts, since));
        let told = allocation.started().and_then(age).unwrap_or_default();
        (told.max(since.elapsed()), restarted)
    }
}

/// The time since `started`, by this machine's clock.
fn age(started: &str) -> Option<Duration> {
    let started = OffsetDateTime::parse(started, &Rfc3339).ok()?;
    Duration::try_from(OffsetDateTime::now_utc() - started).ok()
}

impl Follower<'_> {
    /// Follows the allocations of the job's version `version`, or of any, until each has ended
    /// successfully or has run for the job's `min_healthy_time`.
    pub(super) async fn allocations(&self, job: &Registered, version: Option<u64>) -> Result<()> {
        let path = format!("/v1/job/{}/allocations", escaped(&self.job.id));
        let by_node = matches!(self.job.kind.as_str(), "system" | "sysbatch");
        let mut waiting = Waiting::new(job.patience());
        let (mut index, mut wait, mut seen, mut said) = (0, WAIT, Seen::default(), String::new());
        loop {
            let (mut all, next): (Vec<Allocation>, u64) = self.watch(&path, index, wait).await?;
            all.retain(|a| version.is_none_or(|version| a.job_version == version));
            let places = Places::new(&all, by_node).newest;
            let bad = |a: &Allocation| places.iter().any(|p| p.id == a.id) && !a.is_complete();
            if places.iter().any(|a| a.failed()) {
                let error = self.failed("a task failed".into());
                return Err(self
                    .with_last_words(error, &path, |a| bad(a) && a.failed())
                    .await);
            }
            // The time until the youngest has run long enough.
            let mut left = Duration::ZERO;
            for allocation in places.iter().filter(|a| a.runs()) {
                let (age, restarted) = seen.for_how_long(allocation);
                if restarted {
                    self.tell_restart(allocation);
                }
                left = left.max(job.min_healthy(&allocation.task_group).saturating_sub(age));
            }
            let there = places.iter().filter(|a| a.runs() || a.is_complete());
            let progress = format!("{} of {} run", there.count(), places.len());
            let all_there = places.iter().all(|a| a.runs() || a.is_complete());
            if progress != said {
                self.say(format!("{}: {progress}", self.job.id));
                said = progress;
            }
            let unplaced = self.unplaced().await?;
            if all_there && left.is_zero() && unplaced.is_none() {
                return Ok(());
            }
            self.tell_unplaced(&mut waiting, unplaced.as_ref());
            if waiting.is_over() {
                let how = match &unplaced {
                    Some(_) => "no node has room for a part of it".to_owned(),
                    None => format!("it does not run within {} s", waiting.seconds()),
                };
                let error = self.failed(how);
                return Err(match &unplaced {
                    Some(groups) => error.saying(reasons(Some(groups)).join("\n")),
                    None => self.with_last_words(error, &path, bad).await,
                });
            }
            // If only time is missing, wait no longer than that: no change will come.
            let seconds = if all_there && unplaced.is_none() {
                left.as_secs() + LOOK
            } else {
                waiting.left().as_secs() + LOOK
            };
            wait = u32::try_from(seconds).unwrap_or(WAIT).min(WAIT);
            index = next;
        }
    }

    fn tell_restart(&self, allocation: &Allocation) {
        for (name, task) in allocation.task_states.iter().flatten() {
            if let Some(why) = task.why_restarted() {
                self.reporter.warning(
                    None,
                    format!(
                        "{}: {name} of {} on {} was started again: {why}",
                        self.job.id, allocation.name, allocation.node_name
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn allocations(all: Value) -> Vec<Allocation> {
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn only_the_newest_allocation_of_a_place_counts() {
        let all = allocations(json!([
            {"ID": "1", "Name": "x.main[0]", "NodeName": "alder", "CreateIndex": 5, "DesiredStatus": "run"},
            {"ID": "2", "Name": "x.main[0]", "NodeName": "birch", "CreateIndex": 9, "DesiredStatus": "run"},
            {"ID": "3", "Name": "x.main[1]", "NodeName": "birch", "CreateIndex": 7, "DesiredStatus": "stop"},
        ]));
        let ids = |by_node| -> Vec<&str> {
            let places = Places::new(&all, by_node).newest;
            places.iter().map(|a| a.id.as_str()).collect()
        };
        assert_eq!(ids(false), ["2"]);
        assert_eq!(ids(true), ["1", "2"]);
    }

    #[test]
    fn a_restart_begins_the_time_anew() {
        let mut seen = Seen::default();
        let of = |restarts: u64| {
            let all = json!([{"ID": "1", "TaskStates": {"main": {"Restarts": restarts}}}]);
            allocations(all).remove(0)
        };
        assert!(!seen.for_how_long(&of(0)).1);
        assert!(seen.for_how_long(&of(1)).1);
        assert!(!seen.for_how_long(&of(1)).1);
    }

    #[test]
    fn the_age_of_a_task_is_read_from_what_its_node_says() {
        assert!(age("2020-01-01T00:00:00.123456789Z").unwrap().as_secs() > 86_400);
        assert_eq!(age("9999-01-01T00:00:00Z"), None);
        assert_eq!(age("never"), None);
    }
}
