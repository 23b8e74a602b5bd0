//! Each kind of event, as lines and as JSON.

use serde_json::json;

use super::*;

/// One of each kind; node names have 5 and 63 characters.
fn examples() -> Vec<Event> {
    let alder = || "alder".parse::<Name>().unwrap();
    let long = || "b".repeat(63).parse::<Name>().unwrap();
    let failed = Error::usage("no such node")
        .on(&alder())
        .running("ssh alder")
        .saying("Connection refused")
        .help("try again");
    vec![
        Event::Phase {
            doing: "building 3 systems".into(),
        },
        Event::Step {
            node: alder(),
            doing: "copying".into(),
        },
        Event::Progress {
            node: alder(),
            done: 1 << 20,
            total: 3 << 20,
        },
        Event::Log {
            node: Some(alder()),
            line: "activating the configuration...".into(),
        },
        Event::Log {
            node: None,
            line: "building '/nix/store/…'".into(),
        },
        Event::Output {
            node: alder(),
            line: "up 3 days".into(),
        },
        Event::Warning {
            node: Some(alder()),
            others: vec!["birch".parse().unwrap()],
            what: "is low on space".into(),
        },
        Event::Warning {
            node: None,
            others: Vec::new(),
            what: "the Git tree is dirty".into(),
        },
        Event::Plan {
            node: alder(),
            plan: "unchanged".into(),
            data: json!({"action": "unchanged"}),
        },
        Event::Plan {
            node: long(),
            plan: "openssl 3.0.1 → 3.0.2\nrestart consul.service".into(),
            data: json!({"action": "upgrade"}),
        },
        Event::Done {
            node: alder(),
            ok: true,
            outcome: "switched".into(),
            data: json!({"action": "switched"}),
        },
        Event::Done {
            node: long(),
            ok: false,
            outcome: "rolled back".into(),
            data: json!({"action": "rolledBack"}),
        },
        Event::Check {
            node: Some(alder()),
            check: "space",
            verdict: Verdict::Wrong,
            told: "3 MiB are free".into(),
            help: Some("collect garbage".into()),
        },
        Event::Check {
            node: None,
            check: "nix",
            verdict: Verdict::Ok,
            told: "2.26".into(),
            help: None,
        },
        Event::Command {
            line: "nix build".into(),
        },
        Event::from(&failed),
        Event::Summary {
            text: "1 node as wanted".into(),
            data: json!({"nodes": 1}),
        },
    ]
}

#[test]
fn every_kind_of_event_is_shown_as_reviewed() {
    let names = examples().into_iter().filter_map(|event| match event {
        Event::Done { node, .. } => Some(node.to_string()),
        _ => None,
    });
    let names = width(names);
    let lines: Vec<String> = examples()
        .iter()
        .filter_map(|event| plain::text(event, names))
        .map(|(stream, text)| format!("{stream:?}: {text}"))
        .collect();
    crate::is_as_reviewed("events", &lines.join("\n"));
}

#[test]
fn every_kind_of_event_is_json_as_reviewed() {
    let lines: Vec<String> = examples()
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    crate::is_as_reviewed("events-json", &lines.join("\n"));
}
