//! `pki-status`: lists the certificates in the store and, with `--live`, on the nodes' disks and
//! ports.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cluster::Daemon;
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, count};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::pki::generate::{all, chosen};
use crate::pki::layout::PairId;
use crate::pki::live::Port;
use crate::pki::member::{Member, Work};
use crate::pki::stored::Stored;
use crate::pki::x509::Certificate;
use crate::pki::{Year, day};
use crate::store;

/// The arguments of `pki-status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// With --live, the nodes: names, globs, @tag, site:NAME, role:server, !not [default: all]
    #[arg(value_name = "NODE", requires = "live")]
    nodes: Vec<String>,

    /// The year of the certificates [default: this one]
    #[arg(long, value_name = "YEAR")]
    year: Option<i32>,

    /// Look at the nodes' disks, and at what their ports serve
    #[arg(long)]
    live: bool,

    /// Report certificates that end within this many days as not as wanted
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u16,
}

/// Runs `pki-status`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let now = OffsetDateTime::now_utc();
    let year = Year::choose(args.year, now)?;
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    let daemons = chosen(&operation.cluster, None)?;
    reporter.phase("reading the store");
    let cluster = operation.cluster.clone();
    let store = store::open(&cluster)?;
    let pairs: Vec<PairId> = daemons
        .iter()
        .flat_map(|daemon| PairId::wanted(&cluster, *daemon, year))
        .collect();
    let stored = Stored::read(&store, &pairs)
        .await
        .map_err(|errors| all(&reporter, errors))?;
    let mut entries = Vec::new();
    let mut bad = 0;
    for pair in &pairs {
        let (lines, data) = entry(&stored, pair, now, args.days);
        bad += usize::from(data["problem"] != Value::Null);
        lines
            .into_iter()
            .for_each(|line| reporter.emit(Event::Log { node: None, line }));
        entries.push(data);
    }
    let mut wrong: Vec<Name> = Vec::new();
    if args.live {
        let work = Work {
            cluster,
            stored,
            year,
        };
        live(
            &mut operation,
            &work,
            &nodes,
            &daemons,
            now,
            args.days,
            &mut wrong,
        )
        .await?;
    }
    let fine = bad == 0 && wrong.is_empty();
    let mut words = vec![match bad {
        0 => format!(
            "{} in the store, all as wanted",
            count(entries.len(), "certificate")
        ),
        _ => format!(
            "{bad} of {} in the store not as wanted",
            count(entries.len(), "certificate")
        ),
    }];
    if args.live {
        let names: Vec<&str> = wrong.iter().map(Name::as_str).collect();
        words.push(if names.is_empty() {
            format!("{} as wanted", count(nodes.len(), "node"))
        } else {
            format!(
                "{} of {} as wanted; not: {}",
                nodes.len() - names.len(),
                count(nodes.len(), "node"),
                names.join(", ")
            )
        });
    }
    reporter.emit(Event::Summary {
        text: words.join("; "),
        data: json!({"year": year, "store": entries, "notAsWanted": wrong, "ok": fine}),
    });
    if fine {
        Ok(())
    } else {
        Err(Error::new(Exit::Partial, "some certificates are not as wanted")
            .help("gen-pki makes what is missing; deploy-pki brings it to the nodes; rotate-ca replaces an authority"))
    }
}

/// The problems and data of a pair in the store.
fn entry(stored: &Stored, pair: &PairId, now: OffsetDateTime, days: u16) -> (Vec<String>, Value) {
    let held = stored.held(pair);
    let Some(first) = held.certificates.first() else {
        let problem = "is not in the store";
        return (
            vec![format!("{pair}.crt {problem}")],
            json!({"name": pair.stem(), "problem": problem}),
        );
    };
    let fault = stored.fault(pair, now).map(|error| error.what);
    let ending = held
        .certificates
        .iter()
        .map(|certificate| certificate.days_left(now))
        .min()
        .unwrap_or_default();
    let problem = fault.or_else(|| {
        (ending < i64::from(days)).then(|| format!("{pair}.crt ends in {}", count(ending, "day")))
    });
    let mut lines: Vec<String> = held
        .certificates
        .iter()
        .map(|c| format!("{pair}.crt: {}", words(c, now)))
        .collect();
    lines.extend(problem.clone());
    let certificates: Vec<Value> = held.certificates.iter().map(|c| data(c, now)).collect();
    let mut data = data(first, now);
    data["name"] = pair.stem().into();
    data["problem"] = problem.into();
    if certificates.len() > 1 {
        data["all"] = certificates.into();
    }
    (lines, data)
}

fn words(certificate: &Certificate, now: OffsetDateTime) -> String {
    let names = certificate
        .dns
        .iter()
        .cloned()
        .chain(certificate.addresses.iter().map(ToString::to_string));
    let names: Vec<String> = names.collect();
    let names = if names.is_empty() {
        String::new()
    } else {
        format!(" for {}", names.join(", "))
    };
    format!(
        "{}{names}, by {}, until {} ({})",
        certificate.subject,
        certificate.issuer,
        day(certificate.not_after),
        count(certificate.days_left(now), "day")
    )
}

fn data(certificate: &Certificate, now: OffsetDateTime) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": certificate.dns,
        "addresses": certificate.addresses,
        "notBefore": day(certificate.not_before),
        "notAfter": day(certificate.not_after),
        "daysLeft": certificate.days_left(now),
        "fingerprint": certificate.fingerprint(),
    })
}

async fn live(
    operation: &mut Operation,
    work: &Work,
    nodes: &BTreeSet<Name>,
    daemons: &[Daemon],
    now: OffsetDateTime,
    days: u16,
    wrong: &mut Vec<Name>,
) -> Result<()> {
    let reporter = operation.reporter.clone();
    reporter.phase(format!("asking {}", count(nodes.len(), "node")));
    let (probed, unusable) = operation.probe_some(nodes, true).await?;
    reporter.failures(&unusable);
    wrong.extend(
        nodes
            .iter()
            .filter(|node| !probed.contains_key(*node))
            .cloned(),
    );
    // A node that cannot be checked must not hide the others.
    let mut members = Vec::new();
    for (name, probed) in probed {
        match Member::new(operation, &name, probed) {
            Ok(member) => members.push(member),
            Err(error) => {
                reporter.failure(&error);
                wrong.push(name);
            }
        }
    }
    operation.reporter.phase("looking at disks and ports");
    let looked = join_all(
        members
            .iter()
            .map(|member| async move { (member, look(work, member, daemons, now, days).await) }),
    );
    for (member, looked) in looked.await {
        let (problems, data) = looked.unwrap_or_else(|error| (vec![error.what], json!({})));
        let ok = problems.is_empty();
        if !ok {
            wrong.push(member.name.clone());
        }
        let outcome = if ok {
            "as wanted".into()
        } else {
            problems.join("; ")
        };
        let mut data = data;
        data["problems"] = problems.into();
        operation.reporter.emit(Event::Done {
            node: member.name.clone(),
            ok,
            outcome,
            data,
        });
    }
    Ok(())
}

/// The problems and data of a node.
async fn look(
    work: &Work,
    member: &Member,
    daemons: &[Daemon],
    now: OffsetDateTime,
    days: u16,
) -> Result<(Vec<String>, Value)> {
    let mut problems = Vec::new();
    let mut disk = Vec::new();
    let mut ports = Vec::new();
    let ending = |certificate: &Certificate, place: &str, problems: &mut Vec<String>| {
        if certificate.days_left(now) < i64::from(days) {
            problems.push(format!(
                "{place} ends in {}",
                count(certificate.days_left(now), "day")
            ));
        }
    };
    // Only a complete store shows what a node should have.
    let whole: Vec<Daemon> = daemons
        .iter()
        .copied()
        .filter(|daemon| member.wanted(work, *daemon).is_ok())
        .collect();
    let state = member.state(work, &whole).await?;
    for daemon in &whole {
        for file in member.wanted(work, *daemon)? {
            let path = file.path.as_str();
            let is_key = path.ends_with(".key");
            let there = state.file(path);
            match there {
                None => problems.push(format!("{path} is missing")),
                Some(found) if found.content != file.content => {
                    problems.push(format!("{path} is not the store’s"))
                }
                Some(_) => {}
            }
            let certificates = there
                .filter(|_| !is_key)
                .map(|found| Certificate::read_all(&found.content, path));
            let mut read = Vec::new();
            match certificates.transpose() {
                Ok(certificates) => read = certificates.unwrap_or_default(),
                Err(error) => problems.push(error.what),
            }
            read.iter()
                .for_each(|certificate| ending(certificate, path, &mut problems));
            let certificates: Vec<Value> = read.iter().map(|c| data(c, now)).collect();
            disk.push(json!({"path": path, "asInStore": there.is_some_and(|f| f.content == file.content), "certificates": certificates}));
        }
    }
    for daemon in daemons {
        let unit = &daemon.place(&work.cluster).unit;
        for port in Port::of(&work.cluster, *daemon, &member.node) {
            let look = match member.look(work, &port).await {
                Ok(look) => look,
                // Other ports and the disk are still reported.
                Err(error) => {
                    problems.push(format!("{port}: {}", error.what));
                    continue;
                }
            };
            let trouble = look.trouble.map(|failure| Error::from(failure).what);
            problems.extend(trouble.clone());
            if let Some(served) = &look.served {
                ending(served, &port.to_string(), &mut problems);
                if Some(served) != member.certificate(work, *daemon) {
                    problems.push(format!(
                        "{port} serves another certificate than the store’s: {}",
                        words(served, now)
                    ));
                }
            }
            let served = look.served.as_ref().map(|served| data(served, now));
            ports.push(json!({"port": port, "unit": unit, "trouble": trouble, "served": served}));
        }
    }
    Ok((problems, json!({"disk": disk, "ports": ports})))
}
