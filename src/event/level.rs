//! How much of a run is shown, and the file that has all of it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Event, Renderer, Verdict, plain};
use crate::cluster::Name;
use crate::error::{Context, Exit, Result};

/// How much of a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// What failed, and what the operator's own command prints.
    Quiet,
    /// What happens.
    #[default]
    Usual,
    /// The commands that are run too.
    Verbose,
}

impl Level {
    fn shows(self, event: &Event) -> bool {
        match (self, event) {
            (Level::Verbose, _) => true,
            (Level::Usual, event) => !matches!(event, Event::Command { .. }),
            (Level::Quiet, event) => matches!(
                event,
                Event::Failure { .. }
                    | Event::Output { .. }
                    | Event::Done { ok: false, .. }
                    | Event::Check {
                        verdict: Verdict::Wrong,
                        ..
                    }
            ),
        }
    }
}

/// Shows events of a level, and writes all of them to a file.
pub(super) struct Levelled {
    inner: Arc<dyn Renderer>,
    level: Level,
    log: Option<Mutex<File>>,
}

impl Levelled {
    /// `log` is written to at its end; it is made for the operator alone.
    pub(super) fn new(inner: Arc<dyn Renderer>, level: Level, log: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path);
            file.context(|| format!("cannot write to {}", path.display()))
                .map_err(|e| e.exit(Exit::Usage))
        };
        Ok(Self {
            inner,
            level,
            log: log.map(open).transpose()?.map(Mutex::new),
        })
    }
}

impl Renderer for Levelled {
    fn expect(&self, nodes: &BTreeSet<Name>) {
        self.inner.expect(nodes);
    }

    fn show(&self, event: &Event) {
        if let Some(log) = &self.log
            // Without columns: time stamps and other lines stand between.
            && let Some((_, text)) = plain::text(event, 0)
        {
            let now = OffsetDateTime::now_utc().replace_nanosecond(0);
            let now = now.ok().and_then(|now| now.format(&Rfc3339).ok());
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            // A full disk here does not stop a deployment.
            let _ = writeln!(log, "{} {text}", now.unwrap_or_default());
        }
        if self.level.shows(event) {
            self.inner.show(event);
        }
    }

    fn finish(&self) {
        self.inner.finish();
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn pause(&self, during: &mut dyn FnMut()) {
        self.inner.pause(during);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Renderer for Seen {
        fn show(&self, event: &Event) {
            let text = plain::text(event, 0).unwrap().1;
            self.0.lock().unwrap().push(text);
        }
    }

    #[test]
    fn a_cause_is_reported_once_with_all_its_nodes() {
        let error = |what: &str, node: &str| Error::usage(what).on(&node.parse().unwrap());
        let of_none = Error::usage("it is wrong");
        let errors = [
            error("it is wrong", "alder"),
            error("it is odd", "birch").help("look"),
            error("it is wrong", "cedar"),
            of_none.clone(),
            of_none,
        ];
        let seen = Arc::new(Seen::default());
        crate::event::Reporter::with(seen.clone()).failures(&errors);
        assert_eq!(
            *seen.0.lock().unwrap(),
            [
                "error: alder, cedar: it is wrong",
                "error: birch: it is odd\n  help: look",
                "error: it is wrong",
                "error: it is wrong",
            ]
        );
    }

    #[test]
    fn each_level_shows_its_part_and_the_file_has_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let done = |ok, outcome: &str| Event::Done {
            node: "alder".parse().unwrap(),
            ok,
            outcome: outcome.into(),
            data: serde_json::Value::Null,
        };
        let events = [
            Event::Command {
                line: "nix build".into(),
            },
            Event::Phase {
                doing: "building".into(),
            },
            done(true, "unchanged"),
            done(false, "failed\u{1b}[2J"),
            Event::from(&Error::usage("one failed")),
        ];
        for (level, shown) in [(Level::Quiet, 2), (Level::Usual, 4), (Level::Verbose, 5)] {
            let (file, seen) = (folder.path().join("log"), Arc::new(Seen::default()));
            let levelled = Levelled::new(seen.clone(), level, Some(&file)).unwrap();
            events.iter().for_each(|event| levelled.show(event));
            assert_eq!(seen.0.lock().unwrap().len(), shown, "{level:?}");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::remove_file(&file).unwrap();
            assert_eq!(text.lines().count(), events.len(), "{text}");
            assert!(text.contains("Z $ nix build\n"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        let nowhere = folder.path().join("no/log");
        let error = Levelled::new(Arc::new(Seen::default()), Level::Usual, Some(&nowhere));
        assert_eq!(error.err().unwrap().exit, Exit::Usage);
    }
}
