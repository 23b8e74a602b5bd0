//! `status --watch`, on a terminal and elsewhere.

use std::process::Stdio;

use crate::support::terminal::{Answer, answer};
use crate::support::{Lab, Repo, Tool};

fn watch(repo: &Repo, lab: &Lab) -> Tool {
    let tool = Tool::new(repo, "status").on(lab);
    tool.args(&["--watch=2", "--no-drift", "--free", "0"])
}

/// Makes a unit of this name fail on a node.
fn fail(lab: &Lab, node: &str, unit: &str) {
    lab.root(
        node,
        &format!("systemd-run --quiet --unit={unit} false; sleep 0.5"),
    );
}

#[test]
fn a_table_is_kept_fresh_over_one_login_and_a_silent_node_holds_up_no_other() {
    let (lab, repo) = (Lab::with_bare(&["alder", "birch"]), Repo::new());
    let logins = lab.logins("alder");
    let command = watch(&repo, &lab).args(&["alder", "birch"]).into_command();
    let mut break_one = || {
        fail(&lab, "alder", "first");
        String::new()
    };
    let mut silence = || {
        lab.fault("birch", &["freeze"]);
        fail(&lab, "alder", "second");
        String::new()
    };
    let mut stop = || "\u{3}".to_owned();
    let answers: &mut [Answer<'_>] = &mut [
        ("of 2 nodes well", &mut break_one),
        ("first.service", &mut silence),
        ("second.service", &mut stop),
    ];
    let session = answer(&command, answers);
    lab.fault("birch", &["thaw"]);
    assert_eq!(lab.logins("alder") - logins, 1, "{}", session.shown);
    // The screen is left, and the last look stays.
    let (drawn, left) = session.shown.rsplit_once("\u{1b}[?1049l").unwrap();
    assert!(drawn.contains("\u{1b}[H"), "{drawn:?}");
    assert!(
        left.contains("failed: first.service, second.service"),
        "{left}"
    );
    assert!(left.contains("0 of 2 nodes well"), "{left}");
    assert!(left.contains("2 of 2 nodes not well"), "{left}");
}

#[test]
fn elsewhere_each_look_follows_the_one_before() {
    use std::io::BufRead;
    let (lab, repo) = (Lab::get(), Repo::new());
    let mut command = watch(&repo, &lab).args(&["alder", "--json"]).into_command();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let summaries = lines.map_while(Result::ok);
    let mut summaries = summaries.filter(|line| line.contains("\"event\":\"summary\""));
    assert!(summaries.next().is_some() && summaries.next().is_some());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().code().is_some());
}
