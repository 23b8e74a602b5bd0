//! Events as plain lines: for logs, pipes and CI.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::colour::{self, Meaning, coloured};
use super::{Event, Renderer, Verdict, fit, printable, width};
use crate::cluster::Name;

/// Plain lines: progress and trouble on standard error, results on standard output.
#[derive(Default)]
pub(super) struct Plain {
    /// The width of the column of node names, in characters.
    names: AtomicUsize,
}

impl Renderer for Plain {
    fn expect(&self, nodes: &BTreeSet<Name>) {
        let names = width(nodes.iter().map(Name::as_str));
        self.names.store(names, Ordering::Relaxed);
    }

    fn show(&self, event: &Event) {
        let Some((stream, text)) = line(event, self.names.load(Ordering::Relaxed)) else {
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

/// The text of an event for its stream: as wide as the terminal, with colours if it has them; none if
/// only a live display shows the event. Output of the operator's own command goes to pipes and files
/// unchanged. `names` is the width of the column of node names.
pub(super) fn line(event: &Event, names: usize) -> Option<(Stream, String)> {
    let own = matches!(event, Event::Output { .. });
    if own && !std::io::stdout().is_terminal() {
        return words(event, names);
    }
    let (stream, mut text) = text(event, names)?;
    let (columns, colours) = match stream {
        Stream::Out => (
            fit::columns(std::io::stdout()),
            colour::shows(&std::io::stdout()),
        ),
        Stream::Err => (
            fit::columns(std::io::stderr()),
            colour::shows(&std::io::stderr()),
        ),
    };
    // What others print, and commands, stay as they are.
    let whole = own || matches!(event, Event::Log { .. } | Event::Command { .. });
    if let Some(columns) = columns.filter(|_| !whole) {
        text = fit::fitted(&text, columns);
    }
    if colours {
        text = marked(event, text);
    }
    Some((stream, text))
}

/// The text of an event, in which nothing is left that a terminal obeys.
pub(super) fn text(event: &Event, names: usize) -> Option<(Stream, String)> {
    let (stream, text) = words(event, names)?;
    Some((stream, printable(&text).into_owned()))
}

/// The text with its first word in the colour of what it says.
fn marked(event: &Event, text: String) -> String {
    let meaning = match event {
        Event::Plan { .. } => Meaning::Wanted,
        Event::Done { ok: true, .. } => Meaning::Changed,
        Event::Check { verdict, .. } => match verdict {
            Verdict::Ok => Meaning::Changed,
            Verdict::Wrong => Meaning::Failed,
            Verdict::Unseen => Meaning::Waiting,
        },
        Event::Done { ok: false, .. } | Event::Failure { .. } => Meaning::Failed,
        Event::Warning { .. } => Meaning::Waiting,
        _ => return text,
    };
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    format!("{}{rest}", coloured(word, meaning))
}

fn words(event: &Event, names: usize) -> Option<(Stream, String)> {
    let of = |node: &Option<Name>, text: &str| match node {
        Some(node) => format!("{node}: {text}"),
        None => text.to_owned(),
    };
    Some(match event {
        Event::Phase { doing } => (Stream::Err, doing.clone()),
        Event::Step { node, doing } => (Stream::Err, format!("{node}: {doing}")),
        Event::Progress { .. } => return None,
        Event::Command { line } => (Stream::Err, format!("$ {line}")),
        Event::Log { node, line } => (Stream::Err, of(node, line)),
        Event::Output { node, line } => (Stream::Out, format!("{node}: {line}")),
        Event::Warning { node, others, what } => {
            let text = on(&all(node, others), what);
            (Stream::Err, format!("warning: {text}"))
        }
        Event::Plan { node, plan, .. } => (Stream::Out, beside(node, plan, names)),
        Event::Done { node, outcome, .. } => (Stream::Out, beside(node, outcome, names)),
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
            others,
            what,
            command,
            output,
            help,
            ..
        } => {
            let what = on(&all(node, others), what);
            (Stream::Err, failure(what, command, output, help))
        }
        Event::Summary { text, .. } => (Stream::Out, text.clone()),
    })
}

/// The names of the nodes that an event concerns; empty if it concerns none.
fn all(node: &Option<Name>, others: &[Name]) -> String {
    let nodes = node.iter().chain(others);
    nodes.map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// What is told of nodes, if there are any.
fn on(nodes: &str, what: &str) -> String {
    if nodes.is_empty() {
        what.to_owned()
    } else {
        format!("{nodes}: {what}")
    }
}

/// A node's name and, in the next column, a text of one or more lines.
fn beside(node: &Name, text: &str, names: usize) -> String {
    let below = format!("\n{:names$}  ", "");
    format!("{node:<names$}  {}", text.replace('\n', &below))
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
    what: String,
    command: &Option<String>,
    output: &Option<String>,
    help: &Option<String>,
) -> String {
    let error = crate::error::Error {
        kind: crate::error::Kind::Unexpected,
        exit: crate::error::Exit::Unexpected,
        what,
        node: None,
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
        let error = Error::usage("no such node")
            .on(&"alder".parse().unwrap())
            .help("try again");
        let (stream, told) = text(&Event::from(&error), 0).unwrap();
        assert_eq!(stream, Stream::Err);
        assert_eq!(told, "error: alder: no such node\n  help: try again");
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
                others: Vec::new(),
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
            let (_, told) = text(&event, 0).unwrap();
            assert!(!told.contains(['\u{1b}', '\u{7}']), "{told:?}");
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
        let told = |event| text(&event, 0).unwrap().1;
        assert_eq!(
            told(check(Verdict::Ok, None)),
            "ok     alder: disk: 9 % free"
        );
        assert_eq!(
            told(check(Verdict::Wrong, Some("make room"))),
            "wrong  alder: disk: 9 % free\n       → make room"
        );
    }

    #[test]
    fn results_go_to_standard_output() {
        let event = Event::Summary {
            text: "3 nodes as wanted".into(),
            data: serde_json::Value::Null,
        };
        assert_eq!(text(&event, 0).unwrap().0, Stream::Out);
    }

    #[test]
    fn the_first_word_has_the_colour_of_what_it_says() {
        let done = |ok| Event::Done {
            node: "alder".parse().unwrap(),
            ok,
            outcome: "unchanged".into(),
            data: serde_json::Value::Null,
        };
        let told = |event: Event| marked(&event, text(&event, 0).unwrap().1);
        let well = "\u{1b}[32malder\u{1b}[0m  unchanged";
        assert_eq!(told(done(true)), well);
        assert_eq!(told(done(false)), well.replace("32", "31"));
        let error = told(Event::from(&Error::usage("no")));
        assert!(error.starts_with("\u{1b}[31merror:\u{1b}[0m no"), "{error}");
    }
}
