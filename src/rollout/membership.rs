//! Membership in Consul and Nomad as a check: a node that was a member before
//! it was changed is one afterwards, or the change is not confirmed.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::daemons::{enabled, words};
use crate::cluster::{Check, Cluster, Name, Node};
use crate::error::Result;
use crate::pki::App;
use crate::ssh::elevate::Elevation;
use crate::ssh::{Connection, Script};

const MEMBER: Script = Script {
    name: "nixcfg-member",
    text: include_str!("member.sh"),
};

/// How often it is looked, and with which pause in seconds: a daemon that was
/// restarted is a member again after some.
const ATTEMPTS: (u32, u32) = (15, 2);
/// How long one look may take, in seconds.
const TIMEOUT: u32 = 6;

fn arguments(cluster: &Cluster, app: App, name: &Name, node: &Node) -> Vec<String> {
    let mut arguments = words(cluster, app, node).to_vec();
    arguments.push(name.to_string());
    arguments
}

/// The checks to be added for a node: of those daemons of which it is a member now.
pub async fn checks(
    cluster: &Cluster,
    name: &Name,
    node: &Node,
    connection: &Connection,
    how: &Elevation,
) -> Result<BTreeMap<String, Check>> {
    let looks = enabled(cluster).into_iter().map(|app| async move {
        let arguments = arguments(cluster, app, name, node);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = connection.run_root(how, MEMBER, &words, b"").await?;
        Ok(output.status.success().then(|| check(app, &arguments)))
    });
    let looks: Result<Vec<_>> = join_all(looks).await.into_iter().collect();
    Ok(looks?.into_iter().flatten().collect())
}

fn check(app: App, arguments: &[String]) -> (String, Check) {
    let mut command = MEMBER.argv(&[]);
    command.extend(arguments.iter().map(String::as_str));
    let check = Check {
        command: Some(command.into_iter().map(str::to_owned).collect()),
        http: None,
        tcp: None,
        attempts: ATTEMPTS.0,
        interval: ATTEMPTS.1,
        timeout: TIMEOUT,
    };
    (format!("membership in {}", app.title()), check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    #[test]
    fn a_member_is_looked_for_by_words_and_under_the_name_of_its_role() {
        let cluster = example();
        let name: Name = "birch".parse().unwrap();
        let arguments = arguments(&cluster, App::Nomad, &name, &cluster.nodes[&name]);
        let wanted = [
            "nomad",
            "nomad.service",
            "4646",
            "client.prod.nomad",
            "/var/lib/nomad/pki",
            "birch",
        ];
        assert_eq!(arguments, wanted);
        let (title, check) = check(App::Nomad, &arguments);
        assert_eq!(title, "membership in Nomad");
        assert_eq!(check.command.unwrap()[4..], wanted);
    }

    #[test]
    fn the_script_is_shell_that_parses() {
        let status = std::process::Command::new("sh")
            .args(["-n", "-c", MEMBER.text])
            .status()
            .unwrap();
        assert!(status.success());
    }
}
