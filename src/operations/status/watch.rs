//! `status --watch`: looks at the nodes again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::report::{Look, Report};
use super::{Args, State, one};
use crate::cluster::Name;
use crate::deployment::Evaluation;
use crate::error::{Context, Error, Exit, Result};
use crate::event::screen::Screen;
use crate::event::{self, Event};
use crate::nix::eval::System;
use crate::node::probe::{self, Probed};
use crate::operation::{Invocation, Operation};
use crate::signal::Signals;

/// How long looks that end together are waited for, so that they are drawn at once.
const TOGETHER: Duration = Duration::from_millis(50);

/// The last answer of each node, or why there is none.
#[derive(Default)]
struct Seen {
    nodes: Mutex<BTreeMap<Name, Result<State, Error>>>,
    changed: Notify,
}

impl Seen {
    fn set(&self, node: &Name, looked: Result<State, Error>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(node.clone(), looked);
        self.changed.notify_one();
    }

    /// All that is known, and how many nodes have not answered yet.
    fn look(&self, all: usize) -> (Look, usize) {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut look = Look {
            states: BTreeMap::new(),
            unreached: Vec::new(),
        };
        for (node, looked) in nodes.iter() {
            match looked {
                Ok(state) => drop(look.states.insert(node.clone(), state.clone())),
                Err(error) => look.unreached.push(error.clone()),
            }
        }
        (look, all - nodes.len())
    }
}

/// What is watched: the cluster, its selected nodes, and the systems that they should run.
type Watched = (Operation, BTreeSet<Name>, BTreeMap<Name, System>);

async fn begin(args: &Args, invocation: Invocation) -> Result<Watched> {
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    let systems = if args.no_drift {
        BTreeMap::new()
    } else {
        operation.reporter.phase("evaluating");
        let evaluation = Evaluation::begin(&operation, &nodes);
        evaluation.finish(&mut operation).await?
    };
    Ok((operation, nodes, systems))
}

/// Looks until a signal. Ends as a single look would.
pub async fn run(args: &Args, invocation: Invocation, every: Duration) -> Result<()> {
    let mut signals = Signals::listen()?;
    let watched = tokio::select! {
        watched = begin(args, invocation) => watched?,
        _ = signals.next() => return Err(Error::new(Exit::Interrupted, "stopped")),
    };
    let (operation, nodes, systems) = &watched;
    let seen = Seen::default();
    let follow = join_all(
        nodes
            .iter()
            .map(|node| follow(operation, node, every, &seen)),
    );
    let report = || {
        let (look, waiting) = seen.look(nodes.len());
        (Report::new(look, systems, args.limits()), waiting)
    };
    let html = |report: &Report| match &args.html {
        Some(file) => report.write(operation, file),
        None => Ok(()),
    };
    let screen = operation.reporter.is_live().then(Screen::open).flatten();
    let on_screen = screen.is_some();
    let show = async {
        let Some(mut screen) = screen else {
            loop {
                tokio::time::sleep(every).await;
                report().0.tell(operation, args.html.as_deref())?;
            }
        };
        operation.reporter.finish();
        let mut resized = signal(SignalKind::window_change())
            .context(|| "changes of the terminal's size cannot be listened to".into())?;
        loop {
            let (report, waiting) = report();
            screen.draw(&text(operation, nodes, &report, waiting, every));
            html(&report)?;
            tokio::select! {
                () = seen.changed.notified() => tokio::time::sleep(TOGETHER).await,
                _ = resized.recv() => {}
            }
        }
    };
    // The screen is left with `show`, before the last look is printed.
    let ended: Result<()> = tokio::select! {
        ended = show => ended,
        _ = follow => Ok(()),
        _ = signals.next() => Ok(()),
    };
    ended?;
    let (report, _) = report();
    if on_screen {
        report.tell(operation, None)?;
    }
    report.verdict()
}

/// Looks at a node for ever. Its connection is kept while it works.
async fn follow(operation: &Operation, node: &Name, every: Duration, seen: &Seen) {
    let mut kept: Option<Probed> = None;
    // A password that was wrong is not tried by every login: that could lock the account.
    let mut refused = false;
    loop {
        let began = Instant::now();
        let looked = async {
            let probed = match kept.take() {
                Some(probed) => probed.again().await?,
                None if refused => probe::probe(&operation.access, node, None).await?,
                None => operation.probe_one(node).await?,
            };
            refused |= probed.facts.sudo.is_wrong_password();
            let state = one(&operation.cluster, node, &probed).await?;
            Ok((probed, state))
        };
        let looked = looked.await.map(|(probed, state)| {
            kept = Some(probed);
            state
        });
        seen.set(node, looked);
        tokio::time::sleep_until(began + every).await;
    }
}

/// The screen: when it was drawn, the table, and what is wrong with nodes that do not answer.
fn text(
    operation: &Operation,
    nodes: &BTreeSet<Name>,
    report: &Report,
    waiting: usize,
    every: Duration,
) -> String {
    let names = event::width(nodes.iter().map(Name::as_str));
    let shown = |event: Event| event::shown(&event, names);
    let now = OffsetDateTime::now_utc();
    let time = now.format(format_description!("[hour]:[minute]:[second] UTC"));
    let mut lines = vec![format!(
        "{}, {}, every {} s, ends with ^C",
        operation.cluster.name,
        time.unwrap_or_default(),
        every.as_secs()
    )];
    lines.extend(report.lines().into_iter().map(shown));
    lines.extend(report.failures().into_iter().map(shown));
    lines.push(match waiting {
        0 => shown(report.summary()),
        _ => format!("{} not looked at yet", event::count(waiting, "node")),
    });
    lines.join("\n")
}
