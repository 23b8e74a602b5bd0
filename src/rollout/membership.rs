//! Membership in Consul and Nomad as a check: a node that was a member before its change must be
//! one afterwards, or the change is not confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::daemons::all_words;
use crate::cluster::Daemon;
use crate::cluster::schema::Probe;
use crate::cluster::{Check, Cluster, Name, Node};
use crate::error::{Error, Kind, Result};
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script, named, tail};

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
    let members = members(&answer, &daemons).map_err(|e| e.on(name))?;
    let seconds = MOST.min(patience.as_secs() / 2).max(1);
    let checks = members.into_iter().map(|daemon| {
        let arguments = arguments(cluster, &[daemon], name, node, seconds);
        check(daemon, &arguments, seconds)
    });
    Ok(checks.collect())
}

/// Those of `daemons` by which a node is a member. Each must be told of: an end alone does not say
/// that the node is none.
fn members(answer: &Answer, daemons: &[Daemon]) -> Result<Vec<Daemon>> {
    let mut members = Vec::new();
    for daemon in daemons {
        let tells = |word: &str| answer.all(word).any(|told| told == daemon.name());
        match (tells("member"), tells("none")) {
            (true, false) => members.push(*daemon),
            (false, true) => {}
            _ => {
                let what = format!("does not say whether it is a member of {}", daemon.title());
                return Err(Error::new(Kind::BadAnswer, what).saying(tail(answer.text())));
            }
        }
    }
    Ok(members)
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
    fn an_end_alone_does_not_say_that_a_node_is_no_member() {
        let told = |printed: &str| {
            let answer = crate::node::ssh::answer::tests::read(printed).unwrap();
            members(&answer, &Daemon::ALL).map_err(|e| e.kind)
        };
        let both = "none consul\nmember nomad\nend\n";
        assert_eq!(told(both).unwrap(), [Daemon::Nomad]);
        for printed in [
            "end\n",
            "member consul\nend\n",
            "none\nnone nomad\nend\n",
            "member consul\nnone consul\nnone nomad\nend\n",
        ] {
            assert_eq!(told(printed).unwrap_err(), Kind::BadAnswer, "{printed}");
        }
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
