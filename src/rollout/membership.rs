//! Membership in Consul and Nomad as a check: a node that was a member before its change must be
//! one afterwards, or the change is not confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::daemons::words;
use crate::cluster::Daemon;
use crate::cluster::schema::Probe;
use crate::cluster::{Check, Cluster, Name, Node};
use crate::error::Result;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script, failed, named};

const MEMBER: Script = Script {
    name: "nixcfg-member",
    text: &[include_str!("member.sh")],
    seconds: MINUTE,
};

/// How long a node may take to be a member again, in seconds, if the time for the confirmation
/// allows it.
const MOST: u64 = 30;
/// How long one look may take besides, in seconds.
const LOOK: u32 = 6;

/// The arguments of [`MEMBER`], which waits up to `seconds` for the membership.
fn arguments(
    cluster: &Cluster,
    daemon: Daemon,
    name: &Name,
    node: &Node,
    seconds: u64,
) -> Vec<String> {
    let more = named([("node", name.as_str()), ("seconds", &seconds.to_string())]);
    words(cluster, daemon, node)
        .into_iter()
        .chain(more)
        .collect()
}

/// The checks for the daemons of which a node is a member now. `patience` is the time for its
/// confirmation.
pub async fn checks(
    cluster: &Cluster,
    name: &Name,
    node: &Node,
    connection: &Connection,
    how: &Elevation,
    patience: Duration,
) -> Result<BTreeMap<String, Check>> {
    let seconds = MOST.min(patience.as_secs() / 2);
    let looks = cluster.daemons().into_iter().map(|daemon| async move {
        let now = arguments(cluster, daemon, name, node, 0);
        let words: Vec<&str> = now.iter().map(String::as_str).collect();
        let output = connection.run_root(how, MEMBER, &words, b"").await?;
        let then = arguments(cluster, daemon, name, node, seconds);
        // 1 is the script's own; a login that is lost may end with any other code.
        match (output.status.code(), output.stdout.trim()) {
            (Some(0), "member") => Ok(Some(check(daemon, &then, seconds))),
            (Some(1), _) => Ok(None),
            _ => Err(failed(connection.node(), MEMBER, &output)),
        }
    });
    let looks: Result<Vec<_>> = join_all(looks).await.into_iter().collect();
    Ok(looks?.into_iter().flatten().collect())
}

fn check(daemon: Daemon, arguments: &[String], seconds: u64) -> (String, Check) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let command = MEMBER.argv(&arguments);
    let check = Check {
        probe: Probe::Command(command),
        attempts: 1,
        interval: 0,
        timeout: LOOK.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX)),
    };
    (format!("membership in {}", daemon.title()), check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    #[test]
    fn a_member_is_looked_for_by_words_and_under_the_name_of_its_role() {
        let cluster = example();
        let name: Name = "birch".parse().unwrap();
        let arguments = arguments(&cluster, Daemon::Nomad, &name, &cluster.nodes[&name], 30);
        let wanted = [
            "daemon=nomad",
            "unit=nomad.service",
            "port=4646",
            "name=client.prod.nomad",
            "folder=/var/lib/nomad/pki",
            "node=birch",
            "seconds=30",
        ];
        assert_eq!(arguments, wanted);
        let (title, check) = check(Daemon::Nomad, &arguments, 30);
        let Probe::Command(command) = check.probe else {
            panic!("{check:?}")
        };
        assert_eq!(title, "membership in Nomad");
        assert_eq!(command[4..], wanted);
        assert_eq!(check.timeout, 36);
    }

    #[test]
    fn the_script_is_shell_that_parses() {
        let status = std::process::Command::new("sh")
            .args(["-n", "-c", &MEMBER.text()])
            .status()
            .unwrap();
        assert!(status.success());
    }
}
