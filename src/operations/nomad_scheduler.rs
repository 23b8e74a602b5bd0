//! `nomad-scheduler`: sets Nomad's scheduler as cluster.nix says.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cluster::services::Scheduler;
use crate::error::{Error, Exit, Kind, Result};
use crate::event::{Event, Reporter};
use crate::nomad::api;
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::uplink::reach::Reach;

/// The API's path of the settings.
const PATH: &str = "/v1/operator/scheduler/configuration";
/// How often to retry when someone else changes the settings meanwhile.
const TRIES: usize = 3;

/// The arguments of `nomad-scheduler`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    reach: Reach,

    /// Change nothing; exit with 5 if the settings are not as wanted
    #[arg(long)]
    check: bool,
}

/// A setting that is not as wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its name, such as `PreemptionConfig.BatchSchedulerEnabled`.
    pub setting: String,
    /// Nomad's value; none if Nomad does not have the setting.
    pub from: Option<Value>,
    /// The wanted value.
    pub to: Value,
}

/// The wanted values, by their paths in Nomad's settings.
fn wanted(scheduler: &Scheduler) -> [(&'static [&'static str], Value); 6] {
    let preemption = &scheduler.preemption;
    [
        (&["SchedulerAlgorithm"], json!(scheduler.algorithm)),
        (
            &["MemoryOversubscriptionEnabled"],
            json!(scheduler.memory_oversubscription),
        ),
        (
            &["PreemptionConfig", "BatchSchedulerEnabled"],
            json!(preemption.batch),
        ),
        (
            &["PreemptionConfig", "ServiceSchedulerEnabled"],
            json!(preemption.service),
        ),
        (
            &["PreemptionConfig", "SysBatchSchedulerEnabled"],
            json!(preemption.sysbatch),
        ),
        (
            &["PreemptionConfig", "SystemSchedulerEnabled"],
            json!(preemption.system),
        ),
    ]
}

/// The settings with the wanted values, everything else unchanged, and the list of changes.
pub fn plan(
    current: &Map<String, Value>,
    scheduler: &Scheduler,
) -> (Map<String, Value>, Vec<Change>) {
    let mut settings = current.clone();
    let mut changes = Vec::new();
    for (place, to) in wanted(scheduler) {
        let Some((last, outer)) = place.split_last() else {
            continue;
        };
        let Some(inside) = block(&mut settings, outer) else {
            continue;
        };
        let from = inside.insert((*last).to_owned(), to.clone());
        if from.as_ref() != Some(&to) {
            changes.push(Change {
                setting: place.join("."),
                from,
                to,
            });
        }
    }
    (settings, changes)
}

/// The block at `place`, created if missing.
fn block<'a>(
    settings: &'a mut Map<String, Value>,
    place: &[&str],
) -> Option<&'a mut Map<String, Value>> {
    let Some((name, rest)) = place.split_first() else {
        return Some(settings);
    };
    let value = settings.entry(*name).or_insert(Value::Null);
    if !value.is_object() {
        *value = json!({});
    }
    block(value.as_object_mut()?, rest)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    scheduler_config: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    updated: bool,
}

/// Runs `nomad-scheduler`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start(&args.cluster, invocation).await?;
    let api = api(&operation, &args.reach)?;
    let scheduler = &operation.cluster.nomad.scheduler;
    reporter.phase("reading Nomad's scheduler settings");
    for _ in 0..TRIES {
        let answered: Answered = api.get(PATH).await?;
        let (settings, changes) = plan(&answered.scheduler_config, scheduler);
        show(&reporter, &changes, args.check);
        if changes.is_empty() {
            return Ok(());
        }
        if args.check {
            return Err(Error::new(
                Exit::Partial,
                "Nomad's scheduler settings are not as wanted",
            )
            .help("leave out --check to change them"));
        }
        let index = answered.scheduler_config.get("ModifyIndex");
        let index = index.and_then(Value::as_u64).ok_or_else(|| {
            Error::unexpected("Nomad does not say which version its scheduler settings are of")
        })?;
        let written: Written = api.put(&format!("{PATH}?cas={index}"), &settings).await?;
        if written.updated {
            let there: Answered = api.get(PATH).await?;
            let (_, left) = plan(&there.scheduler_config, scheduler);
            if !left.is_empty() {
                return Err(not_taken(&left));
            }
            let data = json!({ "changed": changes.len() });
            reporter.emit(Event::Summary {
                text: "Nomad's scheduler settings are as wanted".into(),
                data,
            });
            return Ok(());
        }
        reporter.warning(
            None,
            "someone else changed them at the same time; reading them again",
        );
    }
    Err(Error::new(
        Exit::Partial,
        "Nomad's scheduler settings were changed by someone else each time",
    )
    .help("nothing was changed here; run again"))
}

/// The error of settings that Nomad dropped. Nomad reports success even for settings that it does
/// not know.
fn not_taken(left: &[Change]) -> Error {
    let names: Vec<&str> = left.iter().map(|change| change.setting.as_str()).collect();
    Error::new(
        Kind::NotAsWanted,
        format!("Nomad does not take over {}", names.join(", ")),
    )
    .help("this version of Nomad does not know it, or somebody else has changed it since; all other settings are as wanted")
}

fn show(reporter: &Reporter, changes: &[Change], check: bool) {
    let value = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let lines: Vec<String> = changes
        .iter()
        .map(|change| {
            let from = change.from.as_ref().map_or("not set".to_owned(), value);
            format!("  {}: {from} → {}", change.setting, value(&change.to))
        })
        .collect();
    let text = match (changes.is_empty(), check) {
        (true, _) => "Nomad's scheduler settings are as wanted already".to_owned(),
        (false, true) => format!("would change:\n{}", lines.join("\n")),
        (false, false) => format!("changes:\n{}", lines.join("\n")),
    };
    let data: Vec<Value> = changes
        .iter()
        .map(|c| json!({"setting": c.setting, "from": c.from, "to": c.to}))
        .collect();
    reporter.emit(Event::Summary {
        text,
        data: json!({ "changes": data }),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(preemption: bool) -> Map<String, Value> {
        let settings = json!({
            "CreateIndex": 5, "ModifyIndex": 399_239, "PauseEvalBroker": false,
            "MemoryOversubscriptionEnabled": true, "SchedulerAlgorithm": "binpack",
            "RejectJobRegistration": false, "FutureSetting": {"deep": [1]},
            "PreemptionConfig": {"BatchSchedulerEnabled": preemption, "ServiceSchedulerEnabled": true,
                "SysBatchSchedulerEnabled": true, "SystemSchedulerEnabled": true, "FutureScheduler": 7},
        });
        settings.as_object().unwrap().clone()
    }

    #[test]
    fn settings_that_are_as_wanted_change_nothing() {
        let (settings, changes) = plan(&current(true), &Scheduler::default());
        assert_eq!(changes, []);
        assert_eq!(settings, current(true));
    }

    #[test]
    fn one_setting_changes_and_all_others_are_sent_back_as_they_were() {
        let (settings, changes) = plan(&current(false), &Scheduler::default());
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].setting, "PreemptionConfig.BatchSchedulerEnabled");
        assert_eq!(changes[0].from, Some(json!(false)));
        assert_eq!(settings, current(true));
    }

    #[test]
    fn settings_that_an_older_nomad_leaves_out_are_added() {
        let (settings, changes) = plan(&Map::new(), &Scheduler::default());
        assert_eq!(changes.len(), 6);
        assert_eq!(settings["PreemptionConfig"]["SystemSchedulerEnabled"], true);
        assert!(changes.iter().all(|change| change.from.is_none()));
    }
}
