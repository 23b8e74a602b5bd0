//! `passwd`: sets, lists and removes administrators' passwords in the store.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::{Cluster, Name, name};
use crate::error::{Error, Result};
use crate::event::{Event, Reporter, Summary, width};
use crate::operation::{FlakeArgs, Invocation, Operation};
use crate::operations::next::after;
use crate::password::entry::Entry;
use crate::password::hash::{Hash, New};
use crate::password::{administrator, entries, entry_of, prompt, strength};
use crate::store::pass::Pass;
use crate::store::{self, Existing, Store, Writer};

/// The arguments of `passwd`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: FlakeArgs,

    /// The administrator
    #[arg(value_name = "USER", required_unless_present = "list")]
    user: Option<Name>,

    /// Read the password from standard input, one line, instead of asking twice
    #[arg(long)]
    stdin: bool,

    /// Accept a weak password
    #[arg(long)]
    force: bool,

    /// The hashing scheme
    #[arg(long, value_enum, default_value = "sha512crypt")]
    scheme: New,

    /// Show who has a password, since when and by which scheme
    #[arg(long, conflicts_with_all = ["user", "remove", "stdin", "force", "scheme"])]
    list: bool,

    /// Remove the user's password from the store; deploy-passwords --lock-removed locks the account
    #[arg(long, conflicts_with_all = ["stdin", "force", "scheme"])]
    remove: bool,
}

/// Runs `passwd`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start_without_nodes(&args.cluster, invocation).await?;
    let cluster = &operation.cluster;
    let store = store::open(cluster)?;
    match &args.user {
        Some(user) if args.remove => remove(&reporter, &store, user).await,
        Some(user) => {
            administrator(cluster, user)?;
            set(args, &reporter, cluster, &store, user).await
        }
        None => list(&reporter, cluster, &store).await,
    }
}

async fn set(
    args: &Args,
    reporter: &Reporter,
    cluster: &Cluster,
    store: &Pass,
    user: &Name,
) -> Result<()> {
    let password = if args.stdin {
        prompt::from_standard_input()?
    } else {
        prompt::twice(
            reporter,
            format!("new password of {user} on {}", cluster.name),
        )
        .await?
    };
    if !args.force {
        let mut about = vec![
            user.as_str(),
            cluster.name.as_str(),
            cluster.secrets_prefix.as_str(),
        ];
        about.extend(cluster.nodes.keys().map(Name::as_str));
        strength::check(&password, &about)?;
    }
    let scheme = args.scheme;
    let hash = tokio::task::spawn_blocking(move || Hash::new(&password, scheme))
        .await
        .map_err(|e| Error::unexpected(format!("the hashing was cut short: {e}")))??;
    let entry = Entry::now(hash);
    let name = entry_of(user)?;
    let mut writer = store.writer().await?;
    writer
        .insert(&name, &entry.text(), Existing::Replace)
        .await?;
    let names = BTreeSet::from([name]);
    writer
        .finish(
            &names,
            &format!("Set the password of {user} on {}", cluster.name),
        )
        .await?;
    let summary = Summary {
        text: format!(
            "the password of {user} is in the store, hashed by {}",
            entry.hash.scheme()
        ),
        data: json!({"user": user, "scheme": entry.hash.scheme().to_string()}),
    };
    let mut facts = after::known(cluster).await;
    let theirs = cluster
        .nodes
        .iter()
        .filter(|(_, node)| node.admins.contains(user));
    facts.without_passwords = theirs.map(|(name, _)| name.clone()).collect();
    after::tell(reporter, summary, &facts);
    Ok(())
}

async fn remove(reporter: &Reporter, store: &Pass, user: &Name) -> Result<()> {
    let name = entry_of(user)?;
    if !store.list().await?.contains(&name) {
        let entries = entries(store).await?;
        let known: Vec<&str> = entries.keys().map(Name::as_str).collect();
        return Err(
            Error::usage(format!("{user} has no password in the store")).help(name::suggestion(
                user.as_str(),
                &known,
                "users with a password",
            )),
        );
    }
    let mut writer = store.writer().await?;
    writer.remove(&name).await?;
    let names = BTreeSet::from([name]);
    writer
        .finish(&names, &format!("Remove the password of {user}"))
        .await?;
    reporter.emit(Event::Summary {
        text: format!("the password of {user} is out of the store; on the nodes it stays until it is changed or locked there"),
        data: json!({"user": user, "removed": true}),
    });
    Ok(())
}

async fn list(reporter: &Reporter, cluster: &Cluster, store: &Pass) -> Result<()> {
    let entries = entries(store).await?;
    let users: BTreeSet<&Name> = entries.keys().chain(cluster.admins.keys()).collect();
    let mut lines = Vec::new();
    let mut data = Vec::new();
    let names = width(users.iter().map(|user| user.as_str()));
    for user in users {
        let administrator = cluster.admins.contains_key(user);
        let (words, scheme, since) = match entries.get(user) {
            None => ("no password".to_owned(), None, None),
            Some(Ok(entry)) => (
                format!(
                    "{} since {}",
                    entry.hash.scheme(),
                    entry.since().unwrap_or("an unknown date")
                ),
                Some(entry.hash.scheme().to_string()),
                entry.since(),
            ),
            Some(Err(e)) => (format!("unusable: {}", e.what), None, None),
        };
        let mark = if administrator {
            ""
        } else {
            " (no administrator)"
        };
        lines.push(format!("{user:<names$}  {words}{mark}"));
        data.push(
            json!({"user": user, "scheme": scheme, "since": since, "administrator": administrator}),
        );
    }
    if lines.is_empty() {
        lines.push("there are no administrators".into());
    }
    reporter.emit(Event::Summary {
        text: lines.join("\n"),
        data: json!({"users": data}),
    });
    Ok(())
}
