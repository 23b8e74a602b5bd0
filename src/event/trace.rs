//! Where the time of a run goes: its commands, logins and scripts as a picture. `NIXCFG_TRACE`
//! names the file, in the trace event format of Chromium (JSON), which Perfetto and speedscope
//! open.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::cluster::Name;

/// What the diagnostics of steps have as their target.
const TARGET: &str = "nixcfg::trace";
/// The most steps that are kept; later ones are left out.
const MOST: usize = 100_000;
/// The lane of steps on the operator's machine.
const HERE: &str = "this machine";

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A step that takes time. It ends when this is dropped.
#[derive(Debug)]
pub struct Step {
    node: Option<Name>,
    what: String,
    began: u64,
}

impl Step {
    /// Begins a step, on a node or on this machine.
    pub fn begin(node: Option<&Name>, what: impl Into<String>) -> Self {
        Self {
            node: node.cloned(),
            what: what.into(),
            began: now(),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let on = self.node.as_ref().map_or(HERE, Name::as_str);
        let took = now().saturating_sub(self.began);
        tracing::trace!(target: TARGET, on, what = self.what, began = self.began, took);
    }
}

/// A step that has ended; times in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ended {
    on: String,
    what: String,
    began: u64,
    took: u64,
}

impl Ended {
    fn end(&self) -> u64 {
        self.began + self.took
    }
}

impl Visit for Ended {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "on" => value.clone_into(&mut self.on),
            "what" => value.clone_into(&mut self.what),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "began" => self.began = value,
            "took" => self.took = value,
            _ => {}
        }
    }
}

/// Collects the steps of a run.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<Ended>>>);

impl Trace {
    /// Whether a diagnostic tells of a step.
    pub fn concerns(metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of: BTreeMap<&str, Vec<&Ended>> = BTreeMap::new();
        for step in steps.iter() {
            of.entry(&step.on).or_default().push(step);
        }
        // This machine first, then the nodes by name.
        let mut of: Vec<_> = of.into_iter().collect();
        of.sort_by_key(|(on, _)| *on != HERE);
        let mut events = Vec::new();
        let mut number = 0;
        for (on, steps) in of {
            for lane in lanes(steps) {
                number += 1;
                events.push(json!({
                    "ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": on},
                }));
                events.extend(lane.iter().map(|step| event(step, number)));
            }
        }
        format!(
            "{}\n",
            json!({ "traceEvents": events, "displayTimeUnit": "ms" })
        )
    }
}

fn event(step: &Ended, lane: usize) -> Value {
    json!({
        "ph": "X", "name": step.what, "ts": step.began, "dur": step.took, "pid": 1, "tid": lane,
    })
}

/// Distributes steps to lanes. In a lane, a step is within the one before it or begins after its
/// end, as the format wants.
fn lanes(mut steps: Vec<&Ended>) -> Vec<Vec<&Ended>> {
    steps.sort_by_key(|step| (step.began, std::cmp::Reverse(step.end())));
    let mut lanes: Vec<(Vec<&Ended>, Vec<u64>)> = Vec::new();
    for step in steps {
        let free = lanes.iter().position(|(_, open)| {
            let around = open.iter().rev().find(|end| **end > step.began);
            around.is_none_or(|end| step.end() <= *end)
        });
        let at = free.unwrap_or_else(|| {
            lanes.push((Vec::new(), Vec::new()));
            lanes.len() - 1
        });
        let (lane, open) = &mut lanes[at];
        open.retain(|end| *end > step.began);
        open.push(step.end());
        lane.push(step);
    }
    lanes.into_iter().map(|(lane, _)| lane).collect()
}

impl<S: Subscriber> Layer<S> for Trace {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut ended = Ended::default();
        event.record(&mut ended);
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() < MOST {
            steps.push(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::prelude::*;

    use super::*;

    #[test]
    fn steps_become_events_of_their_node_and_nothing_else_does() {
        let trace = Trace::default();
        let layer = trace.clone().with_filter(filter_fn(Trace::concerns));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let alder = "alder".parse().unwrap();
            drop(Step::begin(Some(&alder), "log in"));
            drop(Step::begin(None, "nix eval"));
            tracing::debug!("something else");
        });
        let read: Value = serde_json::from_str(&trace.text()).unwrap();
        let events = read["traceEvents"].as_array().unwrap();
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                (
                    &event["ph"],
                    &event["name"],
                    &event["tid"],
                    &event["args"]["name"],
                )
            })
            .map(|(ph, name, lane, on)| format!("{ph} {name} {lane} {on}"))
            .collect();
        assert_eq!(
            told,
            [
                r#""M" "thread_name" 1 "this machine""#,
                r#""X" "nix eval" 1 null"#,
                r#""M" "thread_name" 2 "alder""#,
                r#""X" "log in" 2 null"#,
            ]
        );
    }

    #[test]
    fn steps_that_overlap_without_being_nested_are_in_lanes_of_their_own() {
        let step = |began, end| Ended {
            began,
            took: end - began,
            ..Ended::default()
        };
        let steps = [
            step(0, 10),
            step(2, 5),
            step(4, 6),
            step(5, 10),
            step(8, 12),
            step(12, 13),
        ];
        let of = |lane: &Vec<&Ended>| -> Vec<_> {
            lane.iter().map(|step| (step.began, step.end())).collect()
        };
        let lanes: Vec<_> = lanes(steps.iter().collect()).iter().map(of).collect();
        assert_eq!(
            lanes,
            [
                vec![(0, 10), (2, 5), (5, 10), (12, 13)],
                vec![(4, 6), (8, 12)]
            ]
        );
    }
}
