//! Events on a terminal: one live line per node, below the messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::{Stream, line};
use super::{Event, Renderer, fit, printable, width};
use crate::cluster::Name;

const PHASE: &str = "{spinner} {wide_msg}";
/// The width of names of nodes, at least and at most; longer names are cut.
const SHORT: usize = 6;
const LONG: usize = 24;
/// How often spinners turn.
const TICK: Duration = Duration::from_millis(120);

pub(super) struct Terminal {
    all: MultiProgress,
    bars: Mutex<Bars>,
}

#[derive(Default)]
struct Bars {
    /// The width of the longest name on a live line.
    names: usize,
    /// The width of the longest name of the run's nodes.
    expected: usize,
    phase: Option<ProgressBar>,
    nodes: BTreeMap<Name, ProgressBar>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self {
            all: MultiProgress::new(),
            bars: Mutex::default(),
        }
    }

    fn bar(&self) -> ProgressBar {
        let bar = self.all.add(ProgressBar::new_spinner());
        bar.set_style(style(PHASE));
        bar.enable_steady_tick(TICK);
        bar
    }

    fn print(&self, event: &Event, names: usize) {
        let Some((stream, text)) = line(event, names) else {
            return;
        };
        self.all.suspend(|| match stream {
            Stream::Out => println!("{text}"),
            Stream::Err => eprintln!("{text}"),
        });
    }
}

impl Bars {
    /// The width of names, this one included.
    fn widened(&mut self, node: &Name) -> usize {
        let long = node.as_str().len();
        self.names = self.names.max(long.clamp(SHORT, LONG));
        self.names
    }
}

/// The template of a line that says what a node does; it is cut to the terminal's width.
fn spinner(names: usize) -> String {
    format!("{{spinner}} {{prefix:<{names}!}} {{wide_msg}}")
}

/// The template of a line that counts copied bytes, at most `columns` wide.
fn copying(names: usize, columns: usize) -> String {
    // Room for `1000.00 MiB/1000.00 MiB` and the rate per second.
    let rate = if columns >= names + 3 + 23 + 15 {
        " {binary_bytes_per_sec}"
    } else {
        ""
    };
    format!("{{spinner}} {{prefix:<{names}!}} {{bytes}}/{{total_bytes}}{rate} {{wide_msg}}")
}

/// The present width of the terminal.
fn columns() -> usize {
    fit::columns(std::io::stderr()).unwrap_or(80)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Renderer for Terminal {
    fn expect(&self, nodes: &BTreeSet<Name>) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        bars.expected = width(nodes.iter().map(Name::as_str));
    }

    fn show(&self, event: &Event) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = bars.expected;
        match event {
            Event::Phase { doing } => {
                let bar = bars.phase.get_or_insert_with(|| self.bar());
                bar.set_message(printable(doing).into_owned());
            }
            Event::Step { node, doing } => {
                let names = bars.widened(node);
                let bar = bars.nodes.entry(node.clone()).or_insert_with(|| {
                    let bar = self.bar();
                    bar.set_prefix(node.to_string());
                    bar
                });
                bar.set_style(style(&spinner(names)));
                bar.set_message(printable(doing).into_owned());
            }
            Event::Progress { node, done, total } => {
                let names = bars.names;
                if let Some(bar) = bars.nodes.get(node) {
                    // The copy is complete: Nix registers the last paths, so there is no rate.
                    bar.set_style(style(&if done < total {
                        copying(names, columns())
                    } else {
                        spinner(names)
                    }));
                    bar.set_length(*total);
                    bar.set_position(*done);
                }
            }
            Event::Done { node, .. } => {
                if let Some(bar) = bars.nodes.remove(node) {
                    bar.finish_and_clear();
                }
                self.print(event, expected);
            }
            Event::Summary { .. } => {
                drop(bars);
                self.finish();
                self.print(event, expected);
            }
            _ => self.print(event, expected),
        }
    }

    fn finish(&self) {
        let bars = std::mem::take(&mut *self.bars.lock().unwrap_or_else(PoisonError::into_inner));
        for bar in bars.nodes.into_values().chain(bars.phase) {
            bar.finish_and_clear();
        }
    }

    fn is_live(&self) -> bool {
        true
    }

    fn pause(&self, during: &mut dyn FnMut()) {
        self.all.suspend(during);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use indicatif::{ProgressDrawTarget, TermLike};

    /// A terminal that records its output.
    #[derive(Debug, Clone)]
    struct Paper(u16, Arc<Mutex<Vec<String>>>);

    impl Paper {
        fn note(&self, text: &str) -> std::io::Result<()> {
            self.1.lock().unwrap().push(text.to_owned());
            Ok(())
        }
    }

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            self.0
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.note(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.note(text)
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines of a copy on a terminal with that many columns.
    fn shown(name: &str, template: &str, columns: u16) -> String {
        let paper = Paper(columns, Arc::default());
        let target = ProgressDrawTarget::term_like(Box::new(paper.clone()));
        let bar = ProgressBar::with_draw_target(Some(3 << 30), target);
        bar.set_style(style(template));
        bar.set_prefix(name.to_owned());
        bar.set_message("copying 1234 paths (3.00 GiB)");
        bar.set_position(1 << 30);
        bar.force_draw();
        let written = paper.1.lock().unwrap();
        let line = written.iter().rfind(|text| text.contains(&name[..2]));
        line.unwrap_or_else(|| panic!("{written:?}")).clone()
    }

    #[test]
    fn a_copy_takes_one_line_whatever_the_name_and_the_terminal() {
        let name = "a".repeat(63);
        for name in ["al", "alder", &name] {
            let mut bars = Bars::default();
            let names = bars.widened(&name.parse().unwrap());
            for columns in [60, 80, 120] {
                for template in [copying(names, columns), spinner(names)] {
                    let line = shown(name, &template, u16::try_from(columns).unwrap());
                    assert!(line.chars().count() <= columns, "{columns}: {line}");
                }
            }
            let narrow = shown(name, &copying(names, 40), 40);
            assert!(!narrow.contains("/s"), "{narrow}");
        }
    }

    #[test]
    fn names_are_as_wide_as_the_longest() {
        let mut bars = Bars::default();
        assert_eq!(bars.widened(&"al".parse().unwrap()), 6);
        assert_eq!(bars.widened(&"dogwood-2".parse().unwrap()), 9);
        assert_eq!(bars.widened(&"al".parse().unwrap()), 9);
    }
}
