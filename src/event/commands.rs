//! The commands that are run, on their way from `tracing` to where events are shown.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Event, Reporter};

/// What the diagnostics of commands have as their target.
pub const TARGET: &str = "nixcfg::command";

/// Makes an event of each command.
pub struct Commands(pub Reporter);

impl Commands {
    /// Whether a diagnostic tells of a command.
    pub fn concerns(metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }
}

impl<S: Subscriber> Layer<S> for Commands {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.emit(Event::Command { line: message.0 });
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::prelude::*;

    use super::super::Renderer;
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Renderer for Seen {
        fn show(&self, event: &Event) {
            if let Event::Command { line } = event {
                self.0.lock().unwrap().push(line.clone());
            }
        }
    }

    #[test]
    fn commands_become_events_and_nothing_else_does() {
        let seen = Arc::new(Seen::default());
        let layer =
            Commands(Reporter::with(seen.clone())).with_filter(filter_fn(Commands::concerns));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::debug!(target: TARGET, "{} {}", "nix", "build");
            tracing::debug!("something else");
        });
        assert_eq!(*seen.0.lock().unwrap(), ["nix build"]);
    }
}
