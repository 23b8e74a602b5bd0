//! The checks that must pass on a node before it is confirmed.

use futures_util::future::try_join_all;

use crate::cluster::schema::Probe;
use crate::cluster::{Check, Node};
use crate::error::{Error, Kind, Result};
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script, named};

pub const CHECK: Script = Script {
    name: "nixcfg-check",
    text: &[include_str!("check.sh")],
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
        let answer = connection.ask_root(how, script, &args, b"").await?;
        let failed = read(&answer).map_err(|e| e.on(connection.node()))?;
        Ok::<_, Error>(failed.map(|said| {
            if said.is_empty() {
                format!("check {name}")
            } else {
                format!("check {name} ({said})")
            }
        }))
    });
    let mut failing: Vec<String> = try_join_all(tried).await?.into_iter().flatten().collect();
    failing.sort();
    Ok(failing)
}

/// The output of a check that failed; `None` for one that passed.
fn read(answer: &Answer) -> Result<Option<String>> {
    match answer.text().lines().next() {
        Some("passed") => Ok(None),
        Some("failed") => {
            let said: Vec<&str> = answer.all("said").filter(|line| !line.is_empty()).collect();
            Ok(Some(said.join("; ")))
        }
        _ => Err(Error::new(
            Kind::BadAnswer,
            "a check says neither that it passed nor that it failed",
        )),
    }
}

/// How long a check may take on the node, in seconds. `timeout` kills a hanging attempt after five
/// more.
fn longest(check: &Check) -> u64 {
    let each = u64::from(check.interval) + u64::from(check.timeout) + 5;
    MINUTE + each * u64::from(check.attempts)
}

fn arguments(check: &Check) -> Vec<String> {
    let (kind, what) = match &check.probe {
        Probe::Command(command) => ("command", &command[..]),
        Probe::Http(url) => ("http", std::slice::from_ref(url)),
        Probe::Tcp(endpoint) => ("tcp", std::slice::from_ref(endpoint)),
    };
    let mut args = Vec::from(named([
        ("attempts", &check.attempts.to_string()),
        ("interval", &check.interval.to_string()),
        ("limit", &check.timeout.to_string()),
        ("kind", kind),
    ]));
    args.push("--".to_owned());
    args.extend(what.iter().cloned());
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn tried(args: &[&str]) -> Option<String> {
        let [attempts, interval, limit, kind, what @ ..] = args else {
            panic!("{args:?}")
        };
        let first = named([
            ("attempts", attempts),
            ("interval", interval),
            ("limit", limit),
            ("kind", kind),
        ]);
        let output = Command::new("sh")
            .args(["-c", &CHECK.text(), CHECK.name])
            .args(first)
            .arg("--")
            .args(what)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        read(&crate::node::ssh::answer::tests::read(&printed).unwrap()).unwrap()
    }

    #[test]
    fn a_check_becomes_words_and_never_shell() {
        let check = |data| arguments(&serde_json::from_value(data).unwrap());
        let common = serde_json::json!({"attempts": 2, "interval": 0, "timeout": 1, "command": ["echo", "a b; $(c)"], "http": null, "tcp": null});
        assert_eq!(
            check(common),
            [
                "attempts=2",
                "interval=0",
                "limit=1",
                "kind=command",
                "--",
                "echo",
                "a b; $(c)"
            ]
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
    fn an_answer_that_says_neither_is_no_check_that_passed() {
        for printed in ["end\n", "passes\nend\n", "x\npassed\nend\n"] {
            let answer = crate::node::ssh::answer::tests::read(printed).unwrap();
            assert_eq!(read(&answer).unwrap_err().kind, Kind::BadAnswer);
        }
    }

    #[test]
    fn a_command_is_tried_as_often_as_it_may_be_and_its_last_words_are_kept() {
        assert_eq!(tried(&["1", "0", "5", "command", "true"]), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tries");
        let counting = format!(
            "echo x >>{0}; echo sorry; [ $(wc -l <{0}) = 3 ]",
            file.display()
        );
        assert_eq!(
            tried(&["2", "0", "5", "command", "sh", "-c", &counting]),
            Some("sorry".into())
        );
        assert_eq!(
            tried(&["2", "0", "5", "command", "sh", "-c", &counting]),
            None,
            "the third attempt is well"
        );
    }

    #[test]
    fn a_port_that_nobody_listens_on_fails_and_one_that_is_listened_on_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(tried(&["1", "0", "5", "tcp", &address]), None);
        drop(listener);
        assert!(tried(&["1", "0", "5", "tcp", &address]).is_some());
    }
}
