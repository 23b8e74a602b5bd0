//! `doctor`: what would stop an operation, before one is begun. Each check is a function from facts to a
//! verdict; here the facts are gathered.

pub(crate) mod check;
pub(crate) mod machine;
pub(crate) mod node;
mod store;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use time::OffsetDateTime;

use crate::cluster::{Cluster, Name};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter, Verdict, count};
use crate::nix::source::Flake;
use crate::nix::untracked::Untracked;
use crate::node::probe;
use crate::node::ssh::{MINUTE, Script};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::operations::next::steps::few;
use crate::operations::{next, status};
use check::Check;
use node::{Nix, Offset, Seen};

const DOCTOR: Script = Script {
    name: "nixcfg-doctor",
    text: &[include_str!("doctor.sh")],
    seconds: MINUTE,
};

/// The arguments of `doctor`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Each line says ok, wrong and what to do, or unseen and why. Changes nothing, and asks for nothing:
without SUDO_PASS, what only root sees is unseen. Exits with 0 if nothing is wrong, else with 5.")]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

/// Where checks are told, and counted by what they found.
struct Findings {
    reporter: Reporter,
    wrong: AtomicUsize,
    unseen: AtomicUsize,
    all: AtomicUsize,
}

impl Findings {
    fn tell(&self, checks: impl IntoIterator<Item = Check>) {
        for check in checks {
            self.all.fetch_add(1, Ordering::Relaxed);
            match check.verdict {
                Verdict::Ok => 0,
                Verdict::Wrong => self.wrong.fetch_add(1, Ordering::Relaxed),
                Verdict::Unseen => self.unseen.fetch_add(1, Ordering::Relaxed),
            };
            self.reporter.emit(check.into());
        }
    }
}

/// Runs `doctor`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let findings = Findings {
        reporter: invocation.reporter.clone(),
        wrong: AtomicUsize::new(0),
        unseen: AtomicUsize::new(0),
        all: AtomicUsize::new(0),
    };
    look(args, invocation, &findings).await?;
    let number = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    let (all, wrong, unseen) = (
        number(&findings.all),
        number(&findings.wrong),
        number(&findings.unseen),
    );
    let not = match unseen {
        0 => String::new(),
        unseen => format!(", {unseen} not seen"),
    };
    let text = match wrong {
        0 => format!("nothing wrong in {}{not}", count(all, "check")),
        wrong => format!("{wrong} of {} wrong{not}", count(all, "check")),
    };
    findings.reporter.emit(Event::Summary {
        text,
        data: serde_json::json!({"checks": all, "wrong": wrong, "unseen": unseen}),
    });
    match wrong {
        0 => Ok(()),
        wrong => Err(Error::new(
            Exit::Partial,
            format!("{wrong} of {all} checks found something wrong"),
        )),
    }
}

/// Looks at everything, from this machine to the nodes: what stands on something wrong is left out.
async fn look(args: &Args, invocation: Invocation, findings: &Findings) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let cwd = std::env::current_dir()
        .map_err(|e| Error::usage(format!("there is no working directory: {e}")))?;
    findings.tell(machine::tools().await?);
    let described = &args.cluster.described;
    let flake = match Flake::locate(&invocation.flake, &cwd) {
        Ok(flake) => flake,
        Err(error) => {
            findings.tell([Check::failed("flake", &error), blind("the flake")]);
            return Ok(());
        }
    };
    if flake.is_folder() {
        findings.tell([machine::lock(&machine::Lock::of(&flake).await?, now)]);
        let untracked = Untracked::of(&flake, described.cluster.as_str()).await;
        findings.tell([tracked(&untracked)]);
    }
    let operation = match Operation::quietly(&args.cluster, invocation).await {
        Ok(operation) => operation,
        Err(error) => {
            findings.tell([Check::failed("flake", &error), blind("the cluster")]);
            return Ok(());
        }
    };
    findings.tell([described_by(&operation)]);
    let nodes = operation.select(&args.nodes)?;
    findings.tell(stored(&operation.cluster, now).await);
    let looking = format!("looking at {}", count(nodes.len(), "node"));
    operation.reporter.phase(looking);
    let looks = nodes.iter().map(|node| reach(&operation, node));
    let seen: BTreeMap<&Name, Result<Seen>> = nodes.iter().zip(join_all(looks).await).collect();
    let clocks = seen.values().flatten().filter_map(|seen| seen.clock);
    let clocks: Vec<Offset> = clocks.collect();
    let own = node::own_offset(&clocks);
    findings.tell([node::own_clock(own)]);
    for (name, seen) in &seen {
        findings.tell([known(&operation, name, seen.is_ok()).await.on(name)]);
        findings.tell(match seen {
            Ok(seen) => node::checks(name, seen, own, &operation.cluster),
            Err(error) => node::unreached(name, error),
        });
    }
    Ok(())
}

/// What stands on something that cannot be read is not seen.
fn blind(what: &str) -> Check {
    Check::unseen(
        "rest",
        format!("without {what}, neither its store nor its nodes are known"),
    )
}

/// Whether Nix sees all of the cluster's files.
fn tracked(untracked: &Untracked) -> Check {
    match untracked.told() {
        None => Check::ok("files", "Nix sees all of the cluster’s"),
        Some((told, help)) => Check::wrong("files", told, help),
    }
}

/// The cluster that the flake describes.
fn described_by(operation: &Operation) -> Check {
    let nodes = count(operation.cluster.nodes.len(), "node");
    let of = match &operation.source.revision {
        Some(revision) => format!("revision {revision}"),
        None => "with changes that are not committed".to_owned(),
    };
    Check::ok(
        "flake",
        format!("{}, {nodes}, {of}", operation.cluster.name),
    )
}

/// The store, and whether it has all that the cluster is to have.
async fn stored(cluster: &Cluster, now: OffsetDateTime) -> Vec<Check> {
    let health = async { crate::store::open(cluster)?.health().await };
    let health = match health.await {
        Ok(health) => health,
        Err(error) => return vec![Check::failed("store", &error)],
    };
    let mut checks = store::checks(&health, now);
    let has = |name: &str| health.entries.iter().any(|entry| entry.as_str() == name);
    checks.push(match next::lacking(cluster, &has) {
        Ok(steps) => complete(&steps),
        Err(error) => Check::failed("entries", &error),
    });
    checks
}

/// Whether the store has all that the cluster is to have; `steps` make what it lacks.
fn complete(steps: &[next::steps::Step]) -> Check {
    let Some(first) = steps.first() else {
        return Check::ok("entries", "the store has all of the cluster’s");
    };
    let why: Vec<String> = steps.iter().map(|step| step.why.clone()).collect();
    Check::wrong("entries", few(&why), first.command.clone())
}

/// Where ssh would go for a node.
async fn known(operation: &Operation, name: &Name, reached: bool) -> Check {
    match operation.access.known(name).await {
        Ok(known) => node::known(name, &known, reached),
        Err(error) => Check::failed("ssh", &error),
    }
}

/// Logs in to a node and looks at it. Changes nothing there.
async fn reach(operation: &Operation, name: &Name) -> Result<Seen> {
    let password = operation.passwords.of(name.as_str());
    let probed = probe::probe(&operation.access, name, password).await?;
    let state = status::one(&operation.cluster, name, &probed).await?;
    let before = OffsetDateTime::now_utc().unix_timestamp();
    let told = probed.connection.ask(DOCTOR, &[]).await?;
    let after = OffsetDateTime::now_utc().unix_timestamp();
    Ok(Seen {
        clock: Offset::read(before, &told, after),
        nix: Nix::read(&told),
        state,
        facts: probed.facts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nix_does_not_see_is_wrong() {
        let none = Untracked::read(b"", "cluster/prod".into());
        assert_eq!(tracked(&none).verdict, Verdict::Ok);
        let one = Untracked::read(b"cluster/prod/node/delta.nix\0", "cluster/prod".into());
        let check = tracked(&one);
        assert_eq!(check.verdict, Verdict::Wrong);
        assert!(check.told.contains("delta.nix is not tracked"), "{check:?}");
        assert_eq!(check.help.as_deref(), Some("git add cluster/prod"));
    }

    #[test]
    fn what_the_store_lacks_is_told_with_the_command_that_makes_it() {
        let cluster = crate::secrets::tests::cluster();
        let lacking = |has: bool| complete(&next::lacking(&cluster, &|_| has).unwrap());
        assert_eq!(lacking(true).verdict, Verdict::Ok);
        let check = lacking(false);
        assert!(check.told.contains("lacks secrets"), "{check:?}");
        let help = check.help.unwrap();
        assert!(help.starts_with("nix run .#gen-secrets -- "), "{help}");
    }
}
