//! Administrators' passwords. Only their hashes are kept.

pub mod entry;
pub mod hash;
pub mod lockout;
pub mod prompt;
pub mod strength;

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Name, name};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::pass::Pass;
use crate::store::{EntryName, Store};
use entry::Entry;
use hash::Password;

/// Fails unless the user is an administrator of the cluster.
pub fn administrator(cluster: &Cluster, user: &Name) -> Result<()> {
    if cluster.admins.contains_key(user) {
        return Ok(());
    }
    let known: Vec<&str> = cluster.admins.keys().map(Name::as_str).collect();
    let what = format!(
        "‘{user}’ is no administrator of the cluster ‘{}’",
        cluster.name
    );
    Err(Error::usage(what).help(format!(
        "{}; administrators are declared by cluster.admins in cluster.nix or a site’s file",
        name::suggestion(user.as_str(), &known, "administrators")
    )))
}

/// The name of a user's entry in the store.
pub fn entry_of(user: &Name) -> Result<EntryName> {
    format!("{}{user}", entry::FOLDER).parse()
}

/// The store's passwords by user. An entry that is no hash is an error of its own.
pub async fn entries(store: &Pass) -> Result<BTreeMap<Name, Result<Entry>>> {
    let names: BTreeMap<EntryName, Name> = store
        .list()
        .await?
        .into_iter()
        .filter_map(|entry| {
            let user = entry.as_str().strip_prefix(entry::FOLDER)?.parse().ok()?;
            Some((entry, user))
        })
        .collect();
    let wanted = names.keys().cloned().collect();
    let values = store.show(&wanted).await?;
    let read = |(entry, user): (EntryName, Name)| {
        let value = values.get(&entry)?;
        let parsed = Entry::parse(value).map_err(|e| {
            let what = format!("{}: {}", store.place(&entry), e.what);
            Error::usage(what).help(format!("set it again: passwd {user}"))
        });
        Some((user, parsed))
    };
    Ok(names.into_iter().filter_map(read).collect())
}

/// Turns the answer to a prompt into a password.
fn password(text: String) -> Result<Password> {
    Password::new(Secret::new(text))
}
