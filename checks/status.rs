//! `status --watch`, on a terminal and elsewhere; and what the README shows of the tool's output.

use std::process::Stdio;

use crate::support::terminal::{Answer, answer};
use crate::support::{self, Lab, NODES, Repo, Tool};

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

/// A line of output without what differs from run to run: numbers, units of sizes, hashes, widths.
fn masked(line: &str) -> String {
    let mut line = line.replace(".standin", "").replace(" path ", " paths ");
    for unit in ["KiB", "MiB", "GiB"] {
        line = line.replace(unit, "B");
    }
    let words = line.split_whitespace().map(|word| {
        let word = word.split_once('…').map_or(word, |(_, name)| name);
        let mut masked = String::new();
        for letter in word.chars() {
            match letter {
                '0'..='9' if masked.ends_with('0') => {}
                '0'..='9' => masked.push('0'),
                other => masked.push(other),
            }
        }
        masked.replace("0.0", "0")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The commands that the README shows, each with its output.
fn shown_by_the_readme() -> Vec<(String, Vec<String>)> {
    let readme = std::fs::read_to_string(support::root().join("README.md")).unwrap();
    let (_, after) = readme.split_once("## What it looks like\n").unwrap();
    let block = after.split("```\n").nth(1).unwrap();
    let mut shown: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("$ nix run .#") {
            Some(command) => shown.push((command.replacen("-- ", "", 1), Vec::new())),
            None => shown.last_mut().unwrap().1.push(masked(line)),
        }
    }
    shown
}

#[test]
fn the_readme_shows_what_the_tool_prints() {
    let (lab, repo) = (
        Lab::bare(),
        Repo::with("consul.enable = false; nomad.enable = false; wireguard.enable = false;"),
    );
    Tool::deploy(&repo, &lab).exits(0);
    for node in NODES {
        lab.fault(node, &["reboot"]);
    }
    repo.configure("alder", r#"{ environment.etc."motd".text = "hello"; }"#);
    let shown = shown_by_the_readme();
    let commands = shown.iter().map(|(command, _)| command.as_str());
    assert_eq!(
        commands.collect::<Vec<_>>(),
        [
            "deploy-nixos prod --plan",
            "deploy-nixos prod",
            "status prod"
        ]
    );
    for (command, expected) in shown {
        let mut words = command.split(' ');
        // No store: nothing of it is missing.
        let tool = Tool::new(&repo, words.next().unwrap()).on(&lab);
        let tool = tool.env("PASSWORD_STORE_DIR", "/nowhere");
        let ran = words.skip(1).fold(tool, Tool::arg).exits(0);
        let printed: Vec<String> = ran.out.lines().map(masked).collect();
        assert_eq!(printed, expected, "{command}:\n{}", ran.out);
    }
}
