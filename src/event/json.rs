//! Events as JSON on standard output, one per line.

use std::io::{IsTerminal, Write};

use super::{Event, Renderer, printable};

pub(super) struct Json;

impl Renderer for Json {
    fn show(&self, event: &Event) {
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
