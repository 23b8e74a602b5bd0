//! `status`: shows the state of nodes, over one connection each.

pub(super) mod daemons;
mod page;
mod report;
mod table;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use futures_util::StreamExt;
use serde::Serialize;
use time::OffsetDateTime;

use crate::cluster::{Cluster, Daemon, Name};
use crate::deployment::Evaluation;
use crate::error::{Error, Result};
use crate::event::count;
use crate::nix::parts::PARTS;
use crate::nix::store::StorePath;
use crate::node::each::{ALL, each};
use crate::node::probe::{Holder, Probed};
use crate::node::ssh::answer::Answer;
use crate::node::ssh::{Connection, MINUTE, Script, named};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::pki::x509::Certificate;
use daemons::Agent;
use report::{Look, Report};

const STATUS: Script = Script {
    name: "nixcfg-status",
    text: &[include_str!("status.sh")],
    seconds: MINUTE,
};
const CERTIFICATES: Script = Script {
    name: "nixcfg-certificates",
    text: &[include_str!("certificates.sh")],
    seconds: MINUTE,
};

/// The arguments of `status`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exits with 0 if all nodes are well and run what the flake says, with 5 if some do not, with 3 if
some cannot be reached. Certificates, leaders and servers are shown if the sudo password is given
or not needed.

With --watch, a table on a terminal is kept fresh; elsewhere, and with --json, each look is printed
after the one before, and --html writes its page anew. The connections are kept, and a node that
does not answer holds up no other. The flake is that of the beginning.")]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,

    /// Do not evaluate the flake or compare with what nodes should run
    #[arg(long)]
    no_drift: bool,

    /// A certificate with fewer days left is trouble
    #[arg(long, value_name = "DAYS", default_value_t = Limits::USUAL.certificate_days)]
    certificate_days: i64,

    /// A disk with less free space is trouble, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = Limits::USUAL.free, value_parser = clap::value_parser!(u8).range(0..=100))]
    free: u8,

    /// Also write a page for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Look again and again, every 5 seconds or as often as said, until ^C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "5", value_parser = clap::value_parser!(u64).range(2..=3600))]
    watch: Option<u64>,
}

impl Args {
    /// Whether it goes on until a signal.
    pub fn watches(&self) -> bool {
        self.watch.is_some()
    }

    fn limits(&self) -> Limits {
        Limits {
            certificate_days: self.certificate_days,
            free: self.free,
        }
    }
}

/// The state of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The system it runs.
    pub running: Option<StorePath>,
    /// The system it was started with.
    pub booted: Option<StorePath>,
    /// The system that it will boot next.
    pub profile: Option<StorePath>,
    /// The link of the profile's generation.
    pub generation: String,
    /// The system of the flake, if that was evaluated.
    pub wanted: Option<StorePath>,
    /// Parts of the running system that only a restart brings: kernel, initrd, …
    pub restart_for: Vec<String>,
    /// Units that have failed.
    pub failed_units: Vec<String>,
    /// When, by whom and for which operation it was drained in Nomad; none if it was not.
    pub drained: Option<String>,
    /// The holder of its lease.
    pub lease: Option<Holder>,
    /// The run whose change waits to be confirmed.
    pub unconfirmed: Option<String>,
    /// Days left, by certificate.
    pub certificates: BTreeMap<String, i64>,
    /// Why the tool is not root there, and so knows nothing of certificates and servers.
    pub not_root: Option<String>,
    /// Consul and Nomad, if the node should run them.
    pub daemons: BTreeMap<Daemon, Agent>,
    /// The files that units wait for, by unit.
    pub waiting: BTreeMap<String, Vec<String>>,
    /// Free space for the store, in per cent.
    pub free: Option<u8>,
}

/// What counts as trouble.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Days that a certificate must have left.
    pub certificate_days: i64,
    /// Free space that a disk must have, in per cent.
    pub free: u8,
}

impl Limits {
    /// What counts as trouble where nothing else is said.
    pub const USUAL: Self = Self {
        certificate_days: 14,
        free: 10,
    };
}

impl State {
    /// What is wrong, in words; empty if the node is well.
    pub fn trouble(&self, limits: Limits) -> Vec<String> {
        let mut trouble = Vec::new();
        if let Some(wanted) = &self.wanted {
            if self.running.as_ref() != Some(wanted) {
                trouble.push("runs another system than the flake says".to_owned());
            } else if self.profile.as_ref() != Some(wanted) {
                trouble.push("would start another system than it runs".to_owned());
            }
        } else if self.running != self.profile {
            trouble.push("would start another system than it runs".to_owned());
        }
        if !self.restart_for.is_empty() {
            trouble.push(format!(
                "needs a reboot for its {}",
                self.restart_for.join(", ")
            ));
        }
        if !self.failed_units.is_empty() {
            trouble.push(format!("failed: {}", self.failed_units.join(", ")));
        }
        if self.unconfirmed.is_some() {
            trouble.push("waits for a change to be confirmed".to_owned());
        }
        if let Some(since) = &self.drained {
            trouble.push(format!("is drained in Nomad since {since}"));
        }
        for (name, days) in &self.certificates {
            if *days < limits.certificate_days {
                trouble.push(format!("{name} has {} left", count(*days, "day")));
            }
        }
        for (unit, files) in &self.waiting {
            trouble.push(format!("{unit} waits for {}", files.join(", ")));
        }
        for (daemon, agent) in &self.daemons {
            let waits = self.waiting.contains_key(&agent.unit);
            trouble.extend(agent.trouble(*daemon).filter(|_| !waits));
        }
        if let Some(free) = self.free.filter(|free| *free < limits.free) {
            trouble.push(format!("{free} % of its disk is free"));
        }
        trouble
    }
}

/// Runs `status`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    if let Some(seconds) = args.watch {
        return watch::run(args, invocation, Duration::from_secs(seconds)).await;
    }
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    let evaluation = (!args.no_drift).then(|| Evaluation::begin(&operation, &nodes));
    let (states, unreached) = look(&operation, &nodes).await;
    let systems = match evaluation {
        Some(evaluation) => evaluation.finish(&mut operation).await?,
        None => BTreeMap::new(),
    };
    let limits = args.limits();
    let look = Look { states, unreached };
    let report = Report::new(look, &systems, limits);
    report.tell(&operation, args.html.as_deref())?;
    report.verdict()
}

pub(super) async fn look(
    operation: &Operation,
    nodes: &BTreeSet<Name>,
) -> (BTreeMap<Name, State>, Vec<Error>) {
    let looking = format!("looking at {}", count(nodes.len(), "node"));
    operation.reporter.phase(looking);
    let mut looks = each(
        ALL,
        nodes.iter().map(|node| (node, ())),
        async |node, ()| {
            let probed = operation.probe_one(node).await?;
            one(&operation.cluster, node, &probed).await
        },
    );
    let (mut states, mut errors) = (BTreeMap::new(), Vec::new());
    while let Some((node, look)) = looks.next().await {
        match look {
            Ok(state) => drop(states.insert(node.clone(), state)),
            Err(error) => errors.push(error),
        }
    }
    errors.sort_by(|a: &Error, b: &Error| a.node.cmp(&b.node));
    (states, errors)
}

/// Looks at a reachable node, as root if possible.
pub(super) async fn one(cluster: &Cluster, node: &Name, probed: &Probed) -> Result<State> {
    let [parts] = named([("parts", &PARTS.join(" "))]);
    let told = probed.connection.ask(STATUS, &[&parts]).await?;
    let mut state = read(probed, &told, &managed(cluster));
    let Some(how) = probed.facts.elevation(probed.password.as_ref()) else {
        state.not_root = probed.facts.no_root(node).map(|error| error.what);
        state.daemons = daemons::units(cluster, &told);
        return Ok(state);
    };
    let daemons = cluster.daemons();
    let folders: Vec<&str> = daemons
        .iter()
        .map(|daemon| daemon.place(cluster).directory.as_str())
        .collect();
    let certificates = probed
        .connection
        .ask_root(&how, CERTIFICATES, &folders, b"")
        .await?;
    let now = OffsetDateTime::now_utc();
    let certificates = certificates.all("certificate");
    state.certificates = certificates
        .filter_map(|line| certificate(line, now))
        .collect();
    state.daemons = daemons::look(cluster, node, &probed.connection, &how).await?;
    Ok(state)
}

/// What a node says of itself after a change.
pub(super) struct Left {
    /// Parts of its system that only a restart brings.
    pub restart_for: Vec<String>,
    /// The files that units wait for, by unit.
    pub waiting: BTreeMap<String, Vec<String>>,
}

/// Asks a node what a change left to do there.
pub(super) async fn left(cluster: &Cluster, connection: &Connection) -> Result<Left> {
    let [parts] = named([("parts", &PARTS.join(" "))]);
    let told = connection.ask(STATUS, &[&parts]).await?;
    Ok(Left {
        restart_for: told.all("restart").map(str::to_owned).collect(),
        waiting: waiting(&told, &managed(cluster)),
    })
}

/// The folders and files that operations bring to nodes.
fn managed(cluster: &Cluster) -> Vec<String> {
    let secrets = cluster.secrets.values();
    let secrets = secrets.map(|secret| secret.path.to_string());
    let daemons = Daemon::ALL.into_iter();
    let folders = daemons.map(|daemon| format!("{}/", daemon.place(cluster).directory));
    secrets.chain(folders).collect()
}

fn read(probed: &Probed, told: &Answer, managed: &[String]) -> State {
    let free = told.all("disk").next().and_then(free);
    let facts = &probed.facts;
    let inhibited = facts.running_inhibitors.against(&facts.profile_inhibitors);
    State {
        generation: told.one("generation").to_owned(),
        restart_for: told
            .all("restart")
            .map(str::to_owned)
            .chain(inhibited)
            .collect(),
        certificates: BTreeMap::new(),
        not_root: None,
        daemons: BTreeMap::new(),
        waiting: waiting(told, managed),
        free,
        wanted: None,
        running: facts.current.clone(),
        booted: facts.booted.clone(),
        profile: facts.profile.clone(),
        failed_units: facts.failed_units.clone(),
        drained: facts.drained.clone(),
        lease: facts.lease.clone(),
        unconfirmed: facts.pending.clone(),
    }
}

/// The units that did not start because such files are missing, with these files.
fn waiting(told: &Answer, managed: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut waiting: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in told.all("unmet") {
        let Some((unit, file)) = line.split_once(' ') else {
            continue;
        };
        if managed.iter().any(|place| file.starts_with(place)) {
            let files = waiting.entry(unit.to_owned()).or_default();
            files.push(file.to_owned());
        }
    }
    waiting
}

/// The free part of a disk, in per cent, from a line with its size and use.
pub(crate) fn free(line: &str) -> Option<u8> {
    let (size, used) = line.split_once(' ')?;
    let (size, used): (u64, u64) = (size.parse().ok()?, used.parse().ok()?);
    u8::try_from(u128::from(size.saturating_sub(used)) * 100 / u128::from(size.max(1))).ok()
}

/// A certificate's file and the days that it has left; the fewest in a file with several.
/// Certificates are parsed here, as a node has no program for that.
pub(crate) fn certificate(line: &str, now: OffsetDateTime) -> Option<(String, i64)> {
    let (content, file) = line.split_once(' ')?;
    let pem = String::from_utf8(Base64::decode_vec(content).ok()?).ok()?;
    let all = Certificate::read_all(&pem, file).ok()?;
    let days = all.iter().map(|one| one.days_left(now)).min()?;
    Some((file.to_owned(), days))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_disk_of_any_size_is_so_many_percent_free() {
        assert_eq!(free("1000 300"), Some(70));
        assert_eq!(free("18446744073709551615 0"), Some(100));
        assert_eq!(free("0 0"), Some(0));
        assert_eq!(free("much"), None);
    }

    pub(crate) fn well() -> State {
        let path = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-nixos-system-alder-26.05";
        State {
            running: path.parse().ok(),
            booted: path.parse().ok(),
            profile: path.parse().ok(),
            generation: "system-7-link".into(),
            wanted: path.parse().ok(),
            restart_for: vec![],
            failed_units: vec![],
            drained: None,
            lease: None,
            unconfirmed: None,
            not_root: None,
            daemons: BTreeMap::new(),
            waiting: BTreeMap::new(),
            certificates: BTreeMap::from([("/var/lib/consul/pki/consul.crt".into(), 300)]),
            free: Some(60),
        }
    }

    #[test]
    fn a_certificate_is_read_here_not_by_programs_of_the_node() {
        let now = OffsetDateTime::now_utc();
        let pem = |days| {
            let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
            params.not_after = now + time::Duration::days(days) + time::Duration::HOUR;
            let key = rcgen::KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().pem()
        };
        let line = |text: &str| format!("{} /pki/a.crt", Base64::encode_string(text.as_bytes()));
        let both = format!("{}{}", pem(300), pem(30));
        assert_eq!(
            certificate(&line(&both), now),
            Some(("/pki/a.crt".into(), 30))
        );
        assert_eq!(certificate(&line("no certificate"), now), None);
    }

    #[test]
    fn what_a_unit_waits_for_is_told_where_the_tool_brings_it() {
        let lines = [
            "unmet consul.service /var/lib/consul/pki/consul.crt",
            "unmet consul.service /var/lib/nixcfg/secrets/gossip",
            "unmet sound.service /dev/snd",
        ]
        .map(String::from);
        let managed = ["/var/lib/consul/pki/", "/var/lib/nixcfg/secrets/gossip"].map(String::from);
        let waiting = waiting(&Answer::of(&lines), &managed);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting["consul.service"].len(), 2);
    }

    const LIMITS: Limits = Limits::USUAL;

    #[test]
    fn a_node_that_is_as_the_flake_says_has_no_trouble() {
        assert!(well().trouble(LIMITS).is_empty());
    }

    #[test]
    fn each_kind_of_trouble_is_told() {
        let other = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-old"
            .parse()
            .ok();
        type Spoil = fn(&mut State, Option<StorePath>);
        let cases: [(Spoil, &str); 10] = [
            (|s, o| s.running = o, "another system than the flake says"),
            (|s, o| s.profile = o, "would start another system"),
            (
                |s, _| s.restart_for = vec!["kernel".into()],
                "needs a reboot for its kernel",
            ),
            (
                |s, _| s.failed_units = vec!["a.service".into()],
                "failed: a.service",
            ),
            (
                |s, _| s.unconfirmed = Some("x".into()),
                "waits for a change",
            ),
            (
                |s, _| s.drained = Some("2026 by al".into()),
                "is drained in Nomad since 2026 by al",
            ),
            (
                |s, _| _ = s.certificates.insert("c".into(), 13),
                "c has 13 days left",
            ),
            (
                |s, _| {
                    // One cause is reported once: a waiting daemon does not run.
                    let (unit, files) = ("consul.service", vec!["/a".into(), "/b".into()]);
                    s.waiting.insert(unit.into(), files);
                    s.daemons.insert(Daemon::Consul, Agent::stopped(unit));
                },
                "consul.service waits for /a, /b",
            ),
            (
                |s, _| {
                    _ = s
                        .daemons
                        .insert(Daemon::Nomad, Agent::stopped("nomad.service"))
                },
                "Nomad does not run",
            ),
            (|s, _| s.free = Some(9), "9 % of its disk is free"),
        ];
        for (spoil, told) in cases {
            let mut state = well();
            spoil(&mut state, Option::clone(&other));
            let trouble = state.trouble(LIMITS);
            assert_eq!(trouble.len(), 1, "{trouble:?}");
            assert!(trouble[0].contains(told), "{trouble:?}");
        }
    }
}
