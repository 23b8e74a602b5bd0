//! Events on a terminal: one live line a node below what has been said.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::{Stream, line};
use super::{Event, Renderer, printable};
use crate::cluster::Name;

const SPINNER: &str = "{spinner} {prefix:<12} {wide_msg}";
const BAR: &str = "{spinner} {prefix:<12} {msg} {bytes}/{total_bytes} {binary_bytes_per_sec}";
const PHASE: &str = "{spinner} {wide_msg}";
/// How often spinners turn.
const TICK: Duration = Duration::from_millis(120);

pub(super) struct Terminal {
    all: MultiProgress,
    bars: Mutex<Bars>,
}

#[derive(Default)]
struct Bars {
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

    fn bar(&self, template: &str) -> ProgressBar {
        let bar = self.all.add(ProgressBar::new_spinner());
        bar.set_style(style(template));
        bar.enable_steady_tick(TICK);
        bar
    }

    fn print(&self, event: &Event) {
        let Some((stream, text)) = line(event) else {
            return;
        };
        self.all.suspend(|| match stream {
            Stream::Out => println!("{text}"),
            Stream::Err => eprintln!("{text}"),
        });
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Renderer for Terminal {
    fn show(&self, event: &Event) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Phase { doing } => {
                let bar = bars.phase.get_or_insert_with(|| self.bar(PHASE));
                bar.set_message(printable(doing).into_owned());
            }
            Event::Step { node, doing } => {
                let bar = bars.nodes.entry(node.clone()).or_insert_with(|| {
                    let bar = self.bar(SPINNER);
                    bar.set_prefix(node.to_string());
                    bar
                });
                bar.set_style(style(SPINNER));
                bar.set_message(printable(doing).into_owned());
            }
            Event::Progress { node, done, total } => {
                if let Some(bar) = bars.nodes.get(node) {
                    bar.set_style(style(BAR));
                    bar.set_length(*total);
                    bar.set_position(*done);
                }
            }
            Event::Done { node, .. } => {
                if let Some(bar) = bars.nodes.remove(node) {
                    bar.finish_and_clear();
                }
                self.print(event);
            }
            Event::Summary { .. } => {
                drop(bars);
                self.finish();
                self.print(event);
            }
            _ => self.print(event),
        }
    }

    fn finish(&self) {
        let bars = std::mem::take(&mut *self.bars.lock().unwrap_or_else(PoisonError::into_inner));
        for bar in bars.nodes.into_values().chain(bars.phase) {
            bar.finish_and_clear();
        }
    }

    fn pause(&self, during: &mut dyn FnMut()) {
        self.all.suspend(during);
    }
}
