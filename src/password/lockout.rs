//! Guards against lockout: with immutable users, an activation locks every account without a usable
//! password file.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Name};
use crate::error::{Error, Exit, Result};
use crate::node::each::{ALL, each, sorted};
use crate::node::probe::Probed;
use crate::node::ssh::{MINUTE, Script};
use crate::operation::Operation;

const LOCKOUT: Script = Script {
    name: "nixcfg-lockout",
    text: &[include_str!("lockout.sh")],
    seconds: MINUTE,
};

/// Fails, before anything is activated, if the activation of `nodes` would lock an administrator of
/// one of them. A plan may lack root on a node; that is a warning.
pub async fn check<'a>(
    operation: &Operation,
    nodes: impl Iterator<Item = &'a Name>,
    probed: &BTreeMap<Name, Probed>,
) -> Result<()> {
    let mut those = BTreeMap::new();
    for node in nodes.filter(|node| !operation.cluster.leaves_passwords(node)) {
        let Some(probed) = probed.get(node) else {
            continue;
        };
        let Ok(how) = operation.elevation(probed) else {
            operation.reporter.warning(
                Some(node),
                "whether its password files are in place was not looked at: that takes the sudo password",
            );
            continue;
        };
        those.insert(node, (&probed.connection, how));
    }
    let looks = each(ALL, those, async |node, (connection, how)| {
        let input = question(&operation.cluster, node);
        connection
            .ask_root(&how, LOCKOUT, &[], input.as_bytes())
            .await
    });
    let (told, unknown) = sorted(looks).await;
    let told = told.into_iter();
    let bad = told.filter_map(|(node, told)| verdict(&operation.cluster, node, told.text()));
    let bad: Vec<Error> = bad.collect();
    if bad.is_empty() {
        let what = "not every node tells of its password files; nothing was changed";
        return operation.reporter.unless_failed(&unknown, what);
    }
    operation.reporter.failures(&unknown);
    operation.reporter.failures(&bad);
    let what = "this would lock administrators out; nothing was changed";
    let nodes = bad.iter().filter_map(|e| e.node.as_ref());
    let nodes: Vec<&str> = nodes.map(Name::as_str).collect();
    Err(Error::new(Exit::Probe, what).help(format!(
        "first: deploy-passwords {} {}",
        operation.cluster.name,
        nodes.join(" ")
    )))
}

/// The input of `lockout.sh`: the password files of a node's administrators.
fn question(cluster: &Cluster, node: &Name) -> String {
    let users = cluster
        .nodes
        .get(node)
        .into_iter()
        .flat_map(|node| &node.admins);
    let lines = users.filter_map(|user| {
        Some(format!(
            "{user} {}\n",
            cluster.admins.get(user)?.password_file
        ))
    });
    lines.chain(["end\n".to_owned()]).collect()
}

/// The error of a node, from the output of `lockout.sh`.
fn verdict(cluster: &Cluster, node: &Name, told: &str) -> Option<Error> {
    let of = |word: &str| -> Vec<&str> {
        let pairs = told.lines().filter_map(|line| line.split_once(' '));
        pairs
            .filter(|(kind, _)| *kind == word)
            .map(|(_, user)| user)
            .collect()
    };
    let asked = cluster.nodes.get(node).into_iter();
    let told = [of("missing"), of("unusable"), of("fine")].concat();
    let untold = asked
        .flat_map(|node| &node.admins)
        .filter(|user| cluster.admins.contains_key(*user) && !told.contains(&user.as_str()));
    let untold: Vec<&str> = untold.map(Name::as_str).collect();
    let parts: Vec<String> = [
        ("no password file of", of("missing")),
        ("no usable password file of", of("unusable")),
        ("no word of the password file of", untold),
    ]
    .into_iter()
    .filter(|(_, users)| !users.is_empty())
    .map(|(what, users)| format!("{what} {}", users.join(", ")))
    .collect();
    if parts.is_empty() {
        return None;
    }
    let what = format!(
        "users are immutable, and there is {} on it",
        parts.join(" and ")
    );
    Some(Error::new(Exit::Probe, what).on(node).help(format!(
        "an account without one is locked by the activation; passwd {0} USER sets a password, deploy-passwords {0} brings it there",
        cluster.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    #[test]
    fn the_node_is_asked_for_its_own_administrators_files() {
        let node = "alder".parse().unwrap();
        assert_eq!(
            question(&example(), &node),
            "alice /var/lib/nixcfg/passwords/alice\nend\n"
        );
    }

    #[test]
    fn a_node_may_have_immutable_users_where_the_cluster_has_not() {
        let mut cluster = example();
        let [alder, birch] = ["alder", "birch"].map(|name| name.parse().unwrap());
        cluster.nodes.get_mut(&alder).unwrap().mutable_users = Some(false);
        assert!(!cluster.leaves_passwords(&alder));
        assert!(cluster.leaves_passwords(&birch));
    }

    #[test]
    fn missing_and_unusable_files_are_errors_that_name_the_users() {
        let node = "alder".parse().unwrap();
        assert!(verdict(&example(), &node, "fine alice\n").is_none());
        // Who is not told of may be locked out.
        let error = verdict(&example(), &node, "").unwrap();
        assert!(error.what.contains("no word of the password file of alice"));
        let error = verdict(
            &example(),
            &node,
            "missing alice\nunusable bob\nmissing carol\nend\n",
        )
        .unwrap();
        assert_eq!(error.exit, Exit::Probe);
        assert!(
            error
                .what
                .contains("no password file of alice, carol and no usable password file of bob"),
            "{error}"
        );
    }
}
