//! `deploy-secrets`: writes changed secrets to the nodes, and restarts or reloads the units that
//! use them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use serde_json::json;
use zeroize::Zeroizing;

use crate::cluster::ownership::{Mode, Ownership};
use crate::cluster::{Cluster, Name};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, count};
use crate::node::each::each;
use crate::node::install::{self, Content, Manifest};
use crate::node::probe::Probed;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, Script};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::operations::next::after;
use crate::rollout;
use crate::secret::Secret;
use crate::secrets::Value;
use crate::store::pass::Pass;
use crate::store::{self, EntryName, Store};

/// Writes secrets like all other files, and makes units use them.
pub const DEPLOY: Script = Script {
    name: "nixcfg-secrets",
    text: &[install::FUNCTIONS, include_str!("deploy_secrets.sh")],
    // Units restart one after the other.
    seconds: 900,
};

/// How many nodes are changed at once.
const AT_ONCE: usize = 10;
/// The default folder of secrets. Other users must reach their own files in it.
const FOLDER: &str = "/var/lib/nixcfg/secrets";

/// The arguments of `deploy-secrets`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

/// Runs `deploy-secrets`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    let store = store::open(&operation.cluster)?;
    reporter.phase("reading the password store");
    let secrets = read(&operation.cluster, &store, &nodes).await?;
    reporter.phase(format!("probing {}", count(nodes.len(), "node")));
    let probed = operation.probe(&nodes, true).await?;
    let connections = probed.iter();
    let connections: BTreeMap<Name, Connection> = connections
        .map(|(node, probed)| (node.clone(), probed.connection.clone()))
        .collect();
    let outcomes = write(&operation, &secrets, probed).await?;
    let as_wanted = |node: &Name| outcomes.get(node).is_some_and(|outcome| outcome.ok);
    let conclusion = rollout::conclusion(&reporter, &nodes, as_wanted, None);
    let mut facts = after::known(&operation.cluster).await;
    let early = outcomes.iter().filter(|(_, outcome)| outcome.early);
    facts.behind = early.map(|(node, _)| node.clone()).collect();
    after::ask(&mut facts, &operation.cluster, &connections).await;
    // A unit waits for its next start where no restart of it is asked for.
    facts.without_secrets.clear();
    after::conclude(&reporter, conclusion, &facts)
}

/// Reads the values for nodes. Fails, before any node is contacted, if one is missing.
async fn read(
    cluster: &Cluster,
    store: &Pass,
    nodes: &BTreeSet<Name>,
) -> Result<BTreeMap<EntryName, Secret>> {
    let there = store.list().await?;
    let (mut wanted, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for (secret, spec) in &cluster.secrets {
        for node in spec.nodes.iter().filter(|node| nodes.contains(*node)) {
            let value = Value::of(secret, spec, node);
            let entry = value.entry()?;
            if there.contains(&entry) {
                wanted.insert(entry)
            } else {
                missing.insert(entry)
            };
        }
    }
    if !missing.is_empty() {
        let places: Vec<String> = missing.iter().map(|entry| store.place(entry)).collect();
        return Err(
            Error::usage(format!("the store lacks {}", places.join(", "))).help(format!(
                "make what is missing: gen-secrets {}",
                cluster.name
            )),
        );
    }
    store.show(&wanted).await
}

/// The input of `deploy_secrets.sh` for a node; none if the node gets no secret.
fn input(
    cluster: &Cluster,
    node: &Name,
    values: &BTreeMap<EntryName, Secret>,
) -> Result<Option<(Manifest, Zeroizing<Vec<u8>>)>> {
    let mut manifest = Manifest::new();
    let mut uses = String::new();
    for (secret, spec) in &cluster.secrets {
        if !spec.nodes.contains(node) {
            continue;
        }
        let Some(value) = values.get(&Value::of(secret, spec, node).entry()?) else {
            continue;
        };
        if let Some(folder) = spec.path.folder()
            && folder.as_str() == FOLDER
        {
            manifest.folder(folder, Ownership::root(Mode::PASSAGE));
        }
        let ownership = Ownership {
            user: spec.owner.clone(),
            group: spec.group.clone(),
            mode: spec.mode,
        };
        manifest.file(spec.path.clone(), ownership, content(value));
        for (verb, units) in [
            ("restart", &spec.restart_units),
            ("reload", &spec.reload_units),
        ] {
            for unit in units {
                if unit.contains(char::is_whitespace) || unit.contains(char::is_control) {
                    return Err(Error::usage(format!(
                        "{secret}: ‘{}’ is no unit",
                        unit.escape_debug()
                    )));
                }
                uses.push_str(&format!("{verb} {unit} {}\n", spec.path));
            }
        }
    }
    if manifest.entries.is_empty() {
        return Ok(None);
    }
    let mut input = manifest.encode()?;
    input.extend_from_slice(uses.as_bytes());
    input.extend_from_slice(b"end\n");
    Ok(Some((manifest, input)))
}

/// A value as a text file, with one line break at its end.
fn content(value: &Secret) -> Content {
    let mut bytes = value.expose().trim_end_matches('\n').as_bytes().to_vec();
    bytes.push(b'\n');
    Content::new(bytes)
}

/// The result of a node.
pub struct Outcome {
    /// Whether it has all that it should have.
    pub ok: bool,
    /// Whether it lacks units that use them, until its system is deployed.
    early: bool,
    words: String,
}

/// Writes `values` to nodes, and reports each node.
pub async fn write(
    operation: &Operation,
    values: &BTreeMap<EntryName, Secret>,
    probed: BTreeMap<Name, Probed>,
) -> Result<BTreeMap<Name, Outcome>> {
    let reporter = &operation.reporter;
    let mut inputs = BTreeMap::new();
    for (node, probed) in &probed {
        let input = input(&operation.cluster, node, values)?;
        inputs.insert(node, (probed, operation.elevation(probed)?, input));
    }
    let mut written = each(AT_ONCE, inputs, async |node, (probed, how, input)| {
        let mut units = Vec::new();
        let outcome = match input {
            None => Ok(Outcome {
                ok: true,
                early: false,
                words: "no secret goes there".into(),
            }),
            Some((manifest, input)) => write_one(probed, &how, &manifest, &input, &mut units).await,
        };
        let units = units.into_iter().map(|told| (node.clone(), told));
        Ok((units.collect::<Vec<_>>(), outcome))
    });
    let (mut outcomes, mut warnings) = (BTreeMap::new(), Vec::new());
    while let Some((node, written)) = written.next().await {
        let outcome = written.and_then(|(units, outcome)| {
            warnings.extend(units);
            outcome
        });
        let outcome = outcome.unwrap_or_else(|error| {
            reporter.failure(&error);
            Outcome {
                ok: false,
                early: false,
                words: error.what,
            }
        });
        reporter.emit(Event::Done {
            node: node.clone(),
            ok: outcome.ok,
            outcome: outcome.words.clone(),
            data: json!({}),
        });
        outcomes.insert(node.clone(), outcome);
    }
    reporter.warnings(warnings);
    Ok(outcomes)
}

/// Writes the files of a node. Adds to `warnings` what is to be known of its units.
async fn write_one(
    probed: &Probed,
    how: &Elevation,
    manifest: &Manifest,
    input: &[u8],
    warnings: &mut Vec<String>,
) -> Result<Outcome> {
    let connection = &probed.connection;
    let node = connection.node();
    let (report, output) = install::write(connection, how, DEPLOY, manifest, input).await?;
    // If the script ran twice, its last report on a unit counts.
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for (word, unit) in output
        .stdout
        .lines()
        .filter_map(|line| line.split_once(' '))
    {
        if ["absent", "inactive", "failed", "restarted", "reloaded"].contains(&word) {
            last.insert(unit, word);
        }
    }
    let units = |word: &str| -> Vec<&str> {
        let its = last.iter().filter(|(_, its)| **its == word);
        its.map(|(unit, _)| *unit).collect()
    };
    for (word, what) in [
        ("absent", "is not there yet: deploy-nixos brings it"),
        ("inactive", "does not run, and was not reloaded"),
    ] {
        warnings.extend(units(word).iter().map(|unit| format!("{unit} {what}")));
    }
    let failed = units("failed");
    if !failed.is_empty() {
        let what = format!(
            "the secrets are written, but did not take them: {}",
            failed.join(", ")
        );
        return Err(Error::new(Exit::Partial, what)
            .on(node)
            .saying(&output.stderr)
            .help(format!(
                "look at it there: journalctl -u {}",
                failed.join(" -u ")
            )));
    }
    let mut parts = Vec::new();
    let touched: Vec<&str> = report.touched().collect();
    for (verb, list) in [
        ("written:", touched),
        ("restarted:", units("restarted")),
        ("reloaded:", units("reloaded")),
    ] {
        if !list.is_empty() {
            parts.push(format!("{verb} {}", list.join(", ")));
        }
    }
    Ok(Outcome {
        ok: true,
        early: !units("absent").is_empty(),
        words: if parts.is_empty() {
            "unchanged".into()
        } else {
            parts.join("; ")
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::SecretSpec;
    use crate::cluster::schema::tests::example;

    #[test]
    fn a_node_is_told_its_files_and_the_units_that_use_them() {
        let mut cluster = example();
        let spec = SecretSpec {
            restart_units: vec!["garage.service".into()],
            reload_units: vec!["nginx.service".into()],
            ..crate::secrets::tests::spec("rpc")
        };
        cluster.secrets.insert("rpc".parse().unwrap(), spec);
        let values = [(
            "secrets/rpc".parse().unwrap(),
            Secret::new("abc\n\n".into()),
        )]
        .into();
        let (_, told) = input(&cluster, &"alder".parse().unwrap(), &values)
            .unwrap()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&told),
            "folder 711 root root /var/lib/nixcfg/secrets\nfile 400 root root /var/lib/nixcfg/secrets/rpc\nYWJjCg==\nend\n\
             restart garage.service /var/lib/nixcfg/secrets/rpc\nreload nginx.service /var/lib/nixcfg/secrets/rpc\nend\n"
        );
        assert!(
            input(&cluster, &"cedar".parse().unwrap(), &values)
                .unwrap()
                .is_none()
        );
    }
}
