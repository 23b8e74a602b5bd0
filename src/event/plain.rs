//! Events as plain lines: for logs, pipes and CI.

use std::io::{IsTerminal, Write};

use super::{Event, Renderer, Verdict, printable};
use crate::cluster::Name;

/// Plain lines: progress and trouble on standard error, results on standard output.
pub(super) struct Plain;

impl Plain {
    pub(super) fn new() -> Self {
        Self
    }
}

impl Renderer for Plain {
    fn show(&self, event: &Event) {
        let Some((stream, text)) = line(event) else {
            return;
        };
        // A closed output does not stop a deployment.
        let _ = match stream {
            Stream::Out => writeln!(std::io::stdout().lock(), "{text}"),
            Stream::Err => writeln!(std::io::stderr().lock(), "{text}"),
        };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// The text of an event, safe for a terminal; none if only a live display shows the event. Output
/// of the operator's own command goes to pipes and files unchanged.
pub(super) fn line(event: &Event) -> Option<(Stream, String)> {
    let (stream, text) = words(event)?;
    let as_it_is = matches!(event, Event::Output { .. }) && !std::io::stdout().is_terminal();
    match as_it_is {
        true => Some((stream, text)),
        false => Some((stream, printable(&text).into_owned())),
    }
}

fn words(event: &Event) -> Option<(Stream, String)> {
    let of = |node: &Option<Name>, text: &str| match node {
        Some(node) => format!("{node}: {text}"),
        None => text.to_owned(),
    };
    Some(match event {
        Event::Phase { doing } => (Stream::Err, doing.clone()),
        Event::Step { node, doing } => (Stream::Err, format!("{node}: {doing}")),
        Event::Progress { .. } => return None,
        Event::Log { node, line } => (Stream::Err, of(node, line)),
        Event::Output { node, line } => (Stream::Out, format!("{node}: {line}")),
        Event::Warning { node, what } => (Stream::Err, format!("warning: {}", of(node, what))),
        Event::Plan { node, plan, .. } => (Stream::Out, format!("{node:<12} {plan}")),
        Event::Done { node, outcome, .. } => (Stream::Out, format!("{node:<12} {outcome}")),
        Event::Check {
            node,
            check,
            verdict,
            told,
            help,
        } => (
            Stream::Out,
            checked(node.as_ref(), check, *verdict, told, help.as_deref()),
        ),
        Event::Failure {
            node,
            what,
            command,
            output,
            help,
            ..
        } => (Stream::Err, failure(node, what, command, output, help)),
        Event::Summary { text, .. } => (Stream::Out, text.clone()),
    })
}

/// A verdict, what it is on, and what to do below it.
fn checked(
    node: Option<&Name>,
    check: &str,
    verdict: Verdict,
    told: &str,
    help: Option<&str>,
) -> String {
    let verdict = match verdict {
        Verdict::Ok => "ok    ",
        Verdict::Wrong => "wrong ",
        Verdict::Unseen => "unseen",
    };
    let told = told.replace('\n', "\n         ");
    let on = node.map_or(String::new(), |node| format!("{node}: "));
    let help = help.map_or(String::new(), |help| format!("\n       → {help}"));
    format!("{verdict} {on}{check}: {told}{help}")
}

fn failure(
    node: &Option<String>,
    what: &str,
    command: &Option<String>,
    output: &Option<String>,
    help: &Option<String>,
) -> String {
    let error = crate::error::Error {
        kind: crate::error::Kind::Unexpected,
        exit: crate::error::Exit::Unexpected,
        what: what.to_owned(),
        node: node.clone(),
        command: command.clone(),
        output: output.clone(),
        help: help.clone(),
    };
    format!("error: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_failure_reads_as_the_error_does() {
        let error = Error::usage("no such node").on("alder").help("try again");
        let (stream, text) = line(&Event::from(&error)).unwrap();
        assert_eq!(stream, Stream::Err);
        assert_eq!(text, "error: alder: no such node\n  help: try again");
    }

    #[test]
    fn what_a_node_says_cannot_command_the_terminal() {
        let escape = "\u{1b}]52;c;eA==\u{7}";
        let node = || "alder".parse().unwrap();
        let events = [
            Event::Log {
                node: Some(node()),
                line: escape.into(),
            },
            Event::Warning {
                node: None,
                what: escape.into(),
            },
            Event::Done {
                node: node(),
                ok: true,
                outcome: escape.into(),
                data: serde_json::Value::Null,
            },
            Event::from(&Error::usage(escape).saying(escape).help(escape)),
            Event::Summary {
                text: escape.into(),
                data: serde_json::Value::Null,
            },
        ];
        for event in events {
            let (_, text) = line(&event).unwrap();
            assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
        }
    }

    #[test]
    fn a_check_tells_its_verdict_and_what_to_do_below_it() {
        let check = |verdict, help: Option<&str>| Event::Check {
            node: Some("alder".parse().unwrap()),
            check: "disk",
            verdict,
            told: "9 % free".into(),
            help: help.map(str::to_owned),
        };
        let text = |event| line(&event).unwrap().1;
        assert_eq!(
            text(check(Verdict::Ok, None)),
            "ok     alder: disk: 9 % free"
        );
        assert_eq!(
            text(check(Verdict::Wrong, Some("make room"))),
            "wrong  alder: disk: 9 % free\n       → make room"
        );
    }

    #[test]
    fn results_go_to_standard_output() {
        let event = Event::Summary {
            text: "3 nodes as wanted".into(),
            data: serde_json::Value::Null,
        };
        assert_eq!(line(&event).unwrap().0, Stream::Out);
    }
}
