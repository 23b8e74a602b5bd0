//! The checks that must pass on a node before it is confirmed.

use futures_util::future::try_join_all;

use crate::cluster::schema::Probe;
use crate::cluster::{Check, Node};
use crate::error::{Error, Exit, Result};
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script};

pub const CHECK: Script = Script {
    name: "nixcfg-check",
    text: include_str!("check.sh"),
    seconds: MINUTE,
};

/// Runs all of a node's checks at once. Returns the failed ones with their output.
pub async fn failing(connection: &Connection, how: &Elevation, node: &Node) -> Result<Vec<String>> {
    let tried = node.checks.iter().map(async |(name, check)| {
        let args = arguments(check);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let script = Script {
            seconds: longest(check),
            ..CHECK
        };
        let output = connection.run_root(how, script, &args, b"").await?;
        // 1 is the check's own code; without a code the connection is lost.
        match output.status.code() {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(match output.stdout.trim() {
                "" => format!("check {name}"),
                said => format!("check {name} ({})", said.replace('\n', "; ")),
            })),
            _ => Err(
                Error::new(Exit::Unexpected, "the check’s connection was lost")
                    .on(connection.node()),
            ),
        }
    });
    let mut failing: Vec<String> = try_join_all(tried).await?.into_iter().flatten().collect();
    failing.sort();
    Ok(failing)
}

/// How long a check may take on the node, in seconds. `timeout` kills a hanging attempt after five
/// more.
fn longest(check: &Check) -> u64 {
    let each = u64::from(check.interval) + u64::from(check.timeout) + 5;
    MINUTE + each * u64::from(check.attempts)
}

fn arguments(check: &Check) -> Vec<String> {
    let mut args = vec![
        check.attempts.to_string(),
        check.interval.to_string(),
        check.timeout.to_string(),
    ];
    match &check.probe {
        Probe::Command(command) => {
            args.push("command".into());
            args.extend(command.iter().cloned());
        }
        Probe::Http(url) => args.extend(["http".to_owned(), url.clone()]),
        Probe::Tcp(endpoint) => args.extend(["tcp".to_owned(), endpoint.clone()]),
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn tried(args: &[&str]) -> (bool, String) {
        let output = Command::new("sh")
            .args(["-c", CHECK.text, CHECK.name])
            .args(args)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    #[test]
    fn a_check_becomes_words_and_never_shell() {
        let check = |data| arguments(&serde_json::from_value(data).unwrap());
        let common = serde_json::json!({"attempts": 2, "interval": 0, "timeout": 1, "command": ["echo", "a b; $(c)"], "http": null, "tcp": null});
        assert_eq!(
            check(common),
            ["2", "0", "1", "command", "echo", "a b; $(c)"]
        );
    }

    #[test]
    fn a_check_of_no_known_kind_or_of_two_is_refused() {
        for (one, other) in [("htttp", "gopher"), ("http", "tcp")] {
            let data = serde_json::json!({"attempts": 1, "interval": 0, "timeout": 1, one: "a:1", other: "b:1"});
            assert!(
                serde_json::from_value::<Check>(data).is_err(),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn a_command_is_tried_as_often_as_it_may_be_and_its_last_words_are_kept() {
        assert!(tried(&["1", "0", "5", "command", "true"]).0);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tries");
        let counting = format!(
            "echo x >>{0}; echo sorry; [ $(wc -l <{0}) = 3 ]",
            file.display()
        );
        assert_eq!(
            tried(&["2", "0", "5", "command", "sh", "-c", &counting]),
            (false, "sorry\n".into())
        );
        assert!(
            tried(&["2", "0", "5", "command", "sh", "-c", &counting]).0,
            "the third attempt is well"
        );
    }

    #[test]
    fn a_port_that_nobody_listens_on_fails_and_one_that_is_listened_on_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert!(tried(&["1", "0", "5", "tcp", &address]).0);
        drop(listener);
        assert!(!tried(&["1", "0", "5", "tcp", &address]).0);
    }
}
