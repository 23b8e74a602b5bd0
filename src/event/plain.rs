//! Events as plain lines: for logs, pipes and CI.

use std::io::{IsTerminal, Write};

use super::{Event, Renderer, printable};

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
        // A reader that went away does not stop a deployment.
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

/// The text of an event, fit for a terminal; none for what only a live display shows. What
/// an operator's own command prints goes to a pipe as it is.
pub(super) fn line(event: &Event) -> Option<(Stream, String)> {
    let (stream, text) = text(event)?;
    let piped = matches!(event, Event::Output { .. }) && !std::io::stdout().is_terminal();
    Some((
        stream,
        if piped {
            text
        } else {
            printable(&text).into_owned()
        },
    ))
}

fn text(event: &Event) -> Option<(Stream, String)> {
    let of = |node: &Option<crate::cluster::Name>, text: &str| match node {
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
    fn a_node_cannot_speak_to_the_terminal() {
        let events = [
            Event::Log {
                node: None,
                line: "\x1b]52;c;aGk=\x07".into(),
            },
            Event::from(&Error::usage("x").saying("\x1b[2J").on("a\x1b[0m")),
        ];
        for event in events {
            let (_, text) = line(&event).unwrap();
            assert!(!text.contains('\x1b'), "{text}");
        }
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
