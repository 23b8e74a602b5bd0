//! The user of a login, if the operator names none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;

use super::BEGIN;
use super::login::Login;
use crate::cluster::{Name, Node};
use crate::error::{Context, Result};
use crate::process::Command;

/// The files that ssh reads by default.
const USUAL: &str = "Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n";

/// The users that the cluster's files name (`cluster.nodes.<node>.ssh.user`), for nodes without a
/// user in `ssh_config`. ssh uses the first value of a setting, so this asks ssh about a copy of
/// the file with the cluster's users at its end.
pub async fn named_by_cluster(
    config_file: Option<&Path>,
    nodes: &BTreeMap<Name, Node>,
    folder: &Path,
) -> Result<BTreeMap<Name, Name>> {
    let mut text = match config_file {
        Some(file) => std::fs::read(file).context(|| format!("cannot read {}", file.display()))?,
        None => USUAL.into(),
    };
    let mut named = BTreeMap::new();
    for (node, told) in nodes {
        if let Some(user) = &told.ssh.user {
            text.extend(format!("\nHost {node}\n  User {user}\n").bytes());
            named.insert(node, user);
        }
    }
    if named.is_empty() {
        return Ok(BTreeMap::new());
    }
    let copy = folder.join("ssh_config");
    std::fs::write(&copy, text).context(|| format!("cannot write {}", copy.display()))?;
    let asked = named.into_iter().map(|(node, user)| {
        let copy = copy.clone();
        async move {
            let login = resolve(["-F".into(), PathBuf::into_os_string(copy)], node).await?;
            let ours = login.user() == user.as_str();
            Ok::<_, crate::error::Error>(ours.then(|| (node.clone(), user.clone())))
        }
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().collect())
}

/// How ssh would log in to a node.
pub async fn resolve(options: impl IntoIterator<Item = OsString>, node: &Name) -> Result<Login> {
    let resolved = Command::new("ssh")
        .args(options)
        .args(["-G", node.as_str()])
        .bounded(1 << 20, BEGIN);
    let resolved = resolved.output().await?;
    Ok(Login::read(&String::from_utf8_lossy(&resolved)))
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Patience};
    use super::*;
    use crate::cluster::schema::tests::example;

    /// The user of each node, with an `ssh_config` that names carol for birch.
    async fn users(given: Option<&str>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssh_config");
        std::fs::write(&file, "Host birch\n  User carol\nHost *\n  Port 2222").unwrap();
        let mut nodes = example().nodes;
        for name in ["alder", "birch"] {
            let node = nodes.get_mut(&name.parse::<Name>().unwrap()).unwrap();
            node.ssh.user = Some("deploy".parse().unwrap());
        }
        let patience = Patience::seconds(Patience::USUAL);
        let access = Access::new(Some(file), given.map(str::to_owned), patience).unwrap();
        let access = access.to(&nodes).await.unwrap();
        let mut users = Vec::new();
        for node in nodes.keys() {
            let login = resolve(access.options(node), node).await.unwrap();
            users.push(login.user().to_owned());
            for other in access.following(node, &nodes[node], &[]).await.unwrap() {
                let login = resolve(other.options(node), node).await.unwrap();
                assert!(given.is_none_or(|given| given == login.user()), "{node}");
            }
        }
        users
    }

    #[tokio::test]
    async fn the_cluster_names_whom_neither_the_operator_nor_ssh_config_names() {
        let any = "x".parse().unwrap();
        let own = resolve(["-F".into(), "none".into()], &any);
        let own = own.await.unwrap().user().to_owned();
        assert_eq!(users(None).await, ["deploy", "carol", own.as_str()]);
        assert_eq!(users(Some("erin")).await, ["erin", "erin", "erin"]);
    }
}
