//! Events as JSON on standard output, one per line.

use std::io::{IsTerminal, Write};

use super::{Event, Renderer, printable};

pub(super) struct Json;

impl Renderer for Json {
    fn show(&self, event: &Event) {
        for event in one_by_node(event) {
            self.print(&event);
        }
    }
}

/// An event of several nodes as one for each.
fn one_by_node(event: &Event) -> Vec<Event> {
    let mut events = vec![event.clone()];
    if let Event::Failure { others, .. } | Event::Warning { others, .. } = event {
        events.extend(others.iter().map(|other| {
            let mut event = event.clone();
            if let Event::Failure { node, .. } | Event::Warning { node, .. } = &mut event {
                *node = Some(other.clone());
            }
            event
        }));
    }
    events
}

impl Json {
    fn print(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            let mut out = std::io::stdout();
            // JSON escapes only some of the characters that a terminal obeys.
            let line = if out.is_terminal() {
                printable(&line)
            } else {
                line.into()
            };
            // A closed output does not stop a deployment.
            let _ = writeln!(out, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_several_nodes_is_an_event_for_each() {
        let (alder, birch) = ("alder".parse().ok(), "birch".parse().unwrap());
        let mut failure = Event::from(&crate::error::Error::usage("it is wrong"));
        if let Event::Failure { node, others, .. } = &mut failure {
            (*node, *others) = (alder.clone(), vec![birch]);
        }
        let warning = Event::Warning {
            node: alder,
            others: vec!["birch".parse().unwrap()],
            what: "it is wrong".into(),
        };
        for event in [failure, warning] {
            let nodes = one_by_node(&event).into_iter().map(|event| {
                let value = serde_json::to_value(&event).unwrap();
                assert_eq!(value["what"], "it is wrong");
                assert_eq!(value.get("others"), None);
                value["node"].as_str().unwrap().to_owned()
            });
            assert_eq!(nodes.collect::<Vec<_>>(), ["alder", "birch"]);
        }
    }

    #[test]
    fn an_event_is_one_object_with_its_name_in_it() {
        let event = Event::Done {
            node: "alder".parse().unwrap(),
            ok: true,
            outcome: "unchanged".into(),
            data: serde_json::json!({"action": "unchanged"}),
        };
        let value = serde_json::to_value(&event).unwrap();
        assert_eq!(value["event"], "done");
        assert_eq!(value["node"], "alder");
        assert_eq!(value["action"], "unchanged");
    }
}
