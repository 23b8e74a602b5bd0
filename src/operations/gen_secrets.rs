//! `gen-secrets`: makes the secrets that the store lacks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::cluster::Daemon;
use crate::cluster::schema::Generator;
use crate::cluster::{Cluster, Name, name};
use crate::error::{Error, Result};
use crate::event::{Reporter, Summary, width};
use crate::operation::{FlakeArgs, Invocation, Operation};
use crate::operations::next::after;
use crate::operations::rotate_gossip;
use crate::secrets::{Value, generate, values};
use crate::store::pass::Pass;
use crate::store::{self, EntryName, Existing, Store, Writer};

/// The arguments of `gen-secrets`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: FlakeArgs,

    /// Replace the value of this secret (NAME, or NAME/NODE if each node has its own)
    #[arg(long, value_name = "NAME")]
    rotate: Vec<String>,
}

/// The values that `--rotate` names.
fn rotated(cluster: &Cluster, words: &[String]) -> Result<BTreeSet<Value>> {
    let values = values(cluster);
    let mut chosen = BTreeSet::new();
    for word in words {
        let meant = |value: &&Value| value.label() == *word || value.secret.as_str() == word;
        let found: Vec<&Value> = values.keys().filter(meant).collect();
        if found.is_empty() {
            let known: Vec<&str> = cluster.secrets.keys().map(Name::as_str).collect();
            let what = format!("the cluster ‘{}’ has no secret ‘{word}’", cluster.name);
            return Err(Error::usage(what).help(name::suggestion(word, &known, "secrets")));
        }
        for daemon in Daemon::ALL {
            if word == rotate_gossip::secret(daemon)?.as_str() {
                let what = format!(
                    "{} keeps the keys of its gossip in keyrings of its own: a new ‘{word}’ would reach new nodes alone, which then could not join",
                    daemon.title()
                );
                return Err(Error::usage(what)
                    .help(format!("rotate-gossip {} --app {daemon}", cluster.name)));
            }
        }
        chosen.extend(found.into_iter().cloned());
    }
    Ok(chosen)
}

/// Runs `gen-secrets`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start_without_nodes(&args.cluster, invocation).await?;
    let cluster = &operation.cluster;
    let rotated = rotated(cluster, &args.rotate)?;
    let store = store::open(cluster)?;
    let made = make(cluster, &store, &rotated).await?;
    let public = public_halves(&reporter, cluster, &store).await?;
    let labels = width(public.keys());
    let mut lines: Vec<String> = public
        .iter()
        .map(|(label, key)| format!("{label:<labels$}  {key}"))
        .collect();
    lines.push(if made.is_empty() {
        "every secret is there".to_owned()
    } else {
        format!("made: {}", made.join(", "))
    });
    let mut facts = after::known(cluster).await;
    facts.without_secrets = bearers(cluster, &made);
    let summary = Summary {
        text: lines.join("\n"),
        data: json!({"made": made, "public": public}),
    };
    after::tell(&reporter, summary, &facts);
    Ok(())
}

/// The nodes that get one of these values.
fn bearers(cluster: &Cluster, made: &[String]) -> Vec<Name> {
    let those = values(cluster)
        .into_iter()
        .filter(|(value, _)| made.contains(&value.label()));
    let bearers: BTreeSet<Name> = those
        .flat_map(|(value, spec)| match value.node {
            Some(node) => vec![node],
            None => spec.nodes.clone(),
        })
        .collect();
    bearers.into_iter().collect()
}

/// Makes missing and rotated values, and returns those it made.
async fn make(cluster: &Cluster, store: &Pass, rotated: &BTreeSet<Value>) -> Result<Vec<String>> {
    let there = store.list().await?;
    let mut todo = Vec::new();
    for (value, spec) in values(cluster) {
        let entry = value.entry()?;
        let rotate = rotated.contains(&value);
        if rotate || !there.contains(&entry) {
            todo.push((value, spec, entry, rotate));
        }
    }
    if todo.is_empty() {
        return Ok(Vec::new());
    }
    let mut writer = store.writer().await?;
    let mut made = Vec::new();
    let mut names = BTreeSet::new();
    for (value, spec, entry, rotate) in todo {
        let comment = value.node.as_ref().unwrap_or(&cluster.name);
        let label = value.label();
        let secret = generate::generate(spec, comment.as_str())
            .await
            .map_err(|e| Error {
                what: format!("{label}: {}", e.what),
                ..e
            })?;
        // A value that someone else made meanwhile stays.
        let existing = if rotate {
            Existing::Replace
        } else {
            Existing::Keep
        };
        writer.insert(&entry, &secret, existing).await?;
        names.insert(entry);
        made.push(label);
    }
    writer
        .finish(
            &names,
            &format!("Make secrets of {}: {}", cluster.name, made.join(", ")),
        )
        .await?;
    Ok(made)
}

/// The public halves of keys among the secrets. Warns where the cluster's files have others.
async fn public_halves(
    reporter: &Reporter,
    cluster: &Cluster,
    store: &Pass,
) -> Result<BTreeMap<String, String>> {
    let keys: BTreeMap<EntryName, (Value, Generator)> = values(cluster)
        .into_iter()
        .filter(|(_, spec)| matches!(spec.generator, Generator::Wireguard | Generator::SshHost))
        .map(|(value, spec)| Ok((value.entry()?, (value, spec.generator))))
        .collect::<Result<_>>()?;
    let shown = store.show(&keys.keys().cloned().collect()).await?;
    let mut public = BTreeMap::new();
    for (entry, (value, generator)) in &keys {
        let Some(secret) = shown.get(entry) else {
            continue;
        };
        let key = generate::public(*generator, secret).map_err(|e| Error {
            what: format!("{}: {}", store.place(entry), e.what),
            ..e
        })?;
        let Some(key) = key else {
            continue;
        };
        if *generator == Generator::Wireguard
            && let Some(node) = &value.node
            && let Some(described) = cluster.nodes.get(node)
            && described.wireguard.public_key.as_deref() != Some(key.as_str())
        {
            reporter.warning(
                Some(node),
                format!("set cluster.nodes.{node}.wireguard.publicKey to {key} in its file"),
            );
        }
        public.insert(value.label(), key);
    }
    Ok(public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::tests::{cluster, labels};

    #[test]
    fn a_rotation_is_of_a_secret_or_of_one_nodes_value() {
        let cluster = cluster();
        let of = |word: &str| rotated(&cluster, &[word.to_owned()]);
        assert_eq!(labels(&of("one").unwrap()), ["one"]);
        assert_eq!(labels(&of("each").unwrap()), ["each/alder", "each/birch"]);
        assert_eq!(labels(&of("each/birch").unwrap()), ["each/birch"]);
        let error = of("eahc").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean ‘each’?"));
        assert!(of("one/alder").is_err());
    }

    #[test]
    fn the_keys_of_gossip_are_not_rotated_by_themselves() {
        let mut cluster = cluster();
        for secret in ["consul-gossip", "nomad-gossip", "wgautomesh-gossip"] {
            let spec = crate::secrets::tests::spec(secret);
            cluster.secrets.insert(secret.parse().unwrap(), spec);
        }
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            rotated(&cluster, &words)
        };
        let error = of(&["one", "consul-gossip"]).unwrap_err();
        assert!(error.what.contains("keyrings of its own"), "{error}");
        assert!(error.help.unwrap().ends_with("--app consul"));
        assert!(of(&["nomad-gossip"]).is_err());
        assert!(of(&["wgautomesh-gossip"]).is_ok());
    }
}
