//! `deploy-apps`: plans, registers and follows each app's jobs, in order.

use serde_json::json;

use crate::apps::{self, in_order, jobs, present};
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, width};
use crate::nomad::api;
use crate::nomad::diff;
use crate::nomad::follow::{Standing, follow, look, reasons};
use crate::nomad::job::{Job, Plan};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::uplink::api::Api;
use crate::uplink::reach::Reach;

/// The arguments of `deploy-apps`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    reach: Reach,

    /// The apps: folders below cluster/CLUSTER/app/ [default: all]
    #[arg(value_name = "APP")]
    apps: Vec<Name>,

    /// Show what would change, then stop
    #[arg(long)]
    plan: bool,

    /// Do not wait until the jobs are healthy
    #[arg(long)]
    detach: bool,
}

/// The result of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unchanged,
    Planned,
    Registered,
    Healthy,
    Waits,
}

impl From<Standing> for Outcome {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Healthy => Outcome::Healthy,
            Standing::Waits => Outcome::Waits,
        }
    }
}

impl Outcome {
    const fn text(self) -> &'static str {
        match self {
            Outcome::Unchanged => "unchanged",
            Outcome::Planned => "would change",
            Outcome::Registered => "registered",
            Outcome::Healthy => "healthy",
            Outcome::Waits => "waits for its promotion",
        }
    }
}

/// Runs `deploy-apps`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start(&args.cluster, invocation).await?;
    let cluster = &operation.cluster;
    let apps = in_order(&present(&cluster.name)?, &cluster.apps.order, &args.apps)?;
    if apps.is_empty() {
        let folder = apps::folder(&cluster.name);
        return Err(Error::usage(format!(
            "there are no apps in {}",
            folder.display()
        )));
    }
    // All jobs are read before the first one is registered, so a mistake in any of them changes
    // nothing.
    reporter.phase("reading the jobs");
    let mut read = Vec::new();
    for app in &apps {
        for file in jobs(&cluster.name, app)? {
            read.push((app, Job::read(&file).await?));
        }
    }
    distinct(&read)?;
    let api = api(&operation, &args.reach)?;
    if api.leader().await?.is_none() {
        return Err(
            Error::new(Exit::Probe, "Nomad has no leader; nothing was changed")
                .help("are enough of its servers up? look at their logs: journalctl -u nomad"),
        );
    }
    // All jobs are planned before the first one is registered, as Nomad finds mistakes that its
    // parser does not.
    reporter.phase("planning the jobs");
    let mut planned = Vec::new();
    for (app, job) in &read {
        planned.push((*app, job, job.plan(&api).await?));
    }
    let mut done: Vec<(&Job, Outcome)> = Vec::new();
    for (app, job, plan) in &planned {
        match one(args, &api, app, job, plan, &reporter).await {
            Ok(outcome) => done.push((job, outcome)),
            Err(error) => {
                let left: Vec<&str> = read[done.len() + 1..]
                    .iter()
                    .map(|(_, job)| job.id.as_str())
                    .collect();
                if !left.is_empty() {
                    reporter.warning(None, format!("not looked at: {}", left.join(", ")));
                }
                return Err(error);
            }
        }
    }
    summary(&reporter, &done);
    Ok(())
}

/// Registers a job as planned, and follows it. An unchanged job is checked, as an earlier run may
/// have failed or been stopped.
async fn one(
    args: &Args,
    api: &Api,
    app: &Name,
    job: &Job,
    plan: &Plan,
    reporter: &Reporter,
) -> Result<Outcome> {
    reporter.phase(format!("{app}: {}", job.id));
    if diff::is_empty(&plan.diff) {
        if args.plan || args.detach {
            return Ok(Outcome::Unchanged);
        }
        let standing = look(api, job, reporter).await?;
        return Ok(standing.map_or(Outcome::Unchanged, Outcome::from));
    }
    show(reporter, app, job, plan);
    if args.plan {
        return Ok(Outcome::Planned);
    }
    let Some(registered) = job.register(api, plan).await? else {
        let standing = look(api, job, reporter).await?;
        return Ok(standing.map_or(Outcome::Healthy, Outcome::from));
    };
    // Warnings of the plan come again here.
    let known = plan.warnings.as_deref().unwrap_or_default();
    let new: Vec<&str> = registered
        .warnings
        .iter()
        .flat_map(|warnings| warnings.lines())
        .filter(|line| !known.lines().any(|other| other == *line))
        .collect();
    warn(reporter, job, &new.join("\n"));
    if args.detach || registered.evaluation.is_empty() {
        return Ok(Outcome::Registered);
    }
    let standing = follow(api, job, &registered.evaluation, reporter).await?;
    Ok(standing.into())
}

fn show(reporter: &Reporter, app: &Name, job: &Job, plan: &Plan) {
    let lines = diff::lines(&plan.diff);
    reporter.emit(Event::Summary {
        text: lines.join("\n"),
        data: json!({ "app": app.as_str(), "job": job.id, "diff": plan.diff }),
    });
    warn(reporter, job, plan.warnings.as_deref().unwrap_or_default());
    for line in reasons(plan.unplaced.as_ref()) {
        reporter.warning(None, format!("{}: {line}", job.id));
    }
}

fn warn(reporter: &Reporter, job: &Job, warnings: &str) {
    for line in warnings.lines() {
        reporter.warning(None, format!("{}: {line}", job.id));
    }
}

/// Refuses two files for one job: each would undo the other at every run.
fn distinct(read: &[(&Name, Job)]) -> Result<()> {
    for (number, (_, job)) in read.iter().enumerate() {
        let same = |other: &Job| other.id == job.id && other.namespace == job.namespace;
        if let Some((_, other)) = read[..number].iter().find(|(_, other)| same(other)) {
            return Err(Error::usage(format!(
                "the job ‘{}’ is in two files: {} and {}",
                job.id,
                other.file.display(),
                job.file.display()
            )));
        }
    }
    Ok(())
}

fn summary(reporter: &Reporter, done: &[(&Job, Outcome)]) {
    let width = width(done.iter().map(|(job, _)| &job.id));
    let lines: Vec<String> = done
        .iter()
        .map(|(job, outcome)| format!("{:<width$}  {}", job.id, outcome.text()))
        .collect();
    let data: Vec<_> = done
        .iter()
        .map(|(job, outcome)| json!({"job": job.id, "outcome": outcome.text()}))
        .collect();
    reporter.emit(Event::Summary {
        text: lines.join("\n"),
        data: json!({ "jobs": data }),
    });
}
