//! Membership in Consul and Nomad as a check: a node that was a member before its change must be
//! one afterwards, or the change is not confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::daemons::all_words;
use crate::cluster::Daemon;
use crate::cluster::schema::Probe;
use crate::cluster::{Check, Cluster, Name, Node};
use crate::error::Result;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script, named};

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

/// The arguments of [`MEMBER`] for `daemons`, which waits up to `seconds` for each membership.
fn arguments(
    cluster: &Cluster,
    daemons: &[Daemon],
    name: &Name,
    node: &Node,
    seconds: u64,
) -> Vec<String> {
    let first = named([("node", name.as_str()), ("seconds", &seconds.to_string())]);
    let first = first.into_iter().chain(["--".to_owned()]);
    first.chain(all_words(cluster, daemons, node)).collect()
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
    let daemons = cluster.daemons();
    if daemons.is_empty() {
        return Ok(BTreeMap::new());
    }
    let words = arguments(cluster, &daemons, name, node, 0);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answer = connection.ask_root(how, MEMBER, &words, b"").await?;
    let seconds = MOST.min(patience.as_secs() / 2).max(1);
    let members = daemons
        .into_iter()
        .filter(|daemon| answer.all("member").any(|told| told == daemon.name()));
    Ok(members
        .map(|daemon| {
            let arguments = arguments(cluster, &[daemon], name, node, seconds);
            check(daemon, &arguments, seconds)
        })
        .collect())
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
        let arguments = arguments(&cluster, &[Daemon::Nomad], &name, &cluster.nodes[&name], 30);
        let wanted = [
            "node=birch",
            "seconds=30",
            "--",
            "daemon=nomad",
            "unit=nomad.service",
            "port=4646",
            "name=client.prod.nomad",
            "folder=/var/lib/nomad/pki",
            "--",
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
