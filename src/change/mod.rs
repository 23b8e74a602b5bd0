//! A change that the node undoes by itself unless it is confirmed.
//!
//! The node prepares its way back, in a timer and in a record that it reads at its start. Then it
//! switches. This side logs in anew, as the new configuration says, checks the node, and confirms
//! it or makes it go back. Whatever is lost in between, the node ends in one of the two systems.

mod args;
pub mod leases;
pub mod restart;
pub mod settle;
pub mod target;

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Exit, Kind, Result};
use crate::event::Reporter;
use crate::nix::parts::PARTS;
use crate::nix::store::StorePath;
use crate::node::activation::outcome::{End, Outcome, Report, Told};
use crate::node::activation::scripts::{ACTIVATE, CONFIRM, GO_BACK, LONGEST_SWITCH, OUTCOME};
use crate::node::activation::start::Answered;
use crate::node::activation::verdict::{Policy, Terms, Verdict, judge};
use crate::node::activation::{Mode, checks, run_name};
use crate::node::probe::LEASE_AGE;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::{Access, at_most, named};
pub use args::{Changed, WatchArgs};
use leases::Leases;
use restart::{Asker, Restarting, Restarts, of_a_restart};
use target::Target;

/// How long to wait for a node that goes back, by a restart if needed.
fn going_back() -> Duration {
    at_most("going back", Duration::from_secs(180))
}

/// The pauses between two looks at a node: the first and the longest. sshd blocks clients that fail
/// to log in too often.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// The watch over a change.
#[derive(Clone)]
pub struct Watch {
    /// How long the node waits for its confirmation after the switch.
    pub timeout: Duration,
    /// What to do with a degraded system.
    pub on_degraded: Policy,
    /// The operator, as `user@machine`.
    pub who: String,
    /// The operation, for the node's journal.
    pub what: &'static str,
    /// The ID of the claim.
    pub lease: String,
    /// The run's leases; a restart of the node ends its own.
    pub leases: Leases,
    /// Set before a node is confirmed.
    pub changed: Changed,
    /// How to restart the node; none if that is not allowed.
    pub restarts: Option<Restarts>,
}

/// A change of one node.
pub struct Change<'a> {
    /// The node.
    pub target: Target<'a>,
    /// The wanted system.
    pub toplevel: &'a StorePath,
    /// What to do with it.
    pub mode: Mode,
    /// The existing generation to return to; none for a new one.
    pub generation: Option<u64>,
    pub watch: &'a Watch,
    pub reporter: &'a Reporter,
}

impl Change<'_> {
    /// Carries out the change, and waits for its end.
    pub async fn run(&self) -> Result<Report> {
        let run = run_name()?;
        self.watch.leases.check(self.target.node())?;
        let (started, ways) = tokio::join!(self.start(&run), self.target.ways());
        let (started, ways) = (started?, ways?);
        let most = match started {
            // A silent node with a working connection gets no more time: others wait for it.
            Started::Ended(_) | Started::Silent => self.watch.timeout + going_back(),
            Started::Lost => {
                at_most("a switch", Duration::from_secs(LONGEST_SWITCH))
                    + self.watch.timeout
                    + going_back()
            }
        };
        let started = match started {
            Started::Ended(printed) => Some(printed),
            Started::Silent | Started::Lost => None,
        };
        let mut tried = Tried::new(most);
        tried.at_once = started.is_some() && self.watch.restarts.is_none();
        let ended = self.see_through(&run, &ways, started, &mut tried).await;
        if tried.restarting.begun() && ended.is_ok() {
            self.lease_again().await;
        }
        match (&tried.restarting.drained, &self.watch.restarts) {
            (Some(id), Some(restarts)) => restarts.undrain(&self.target, ended, id).await,
            _ => ended,
        }
    }

    /// Takes the leases again that ended with the restart, as the run goes on with other nodes.
    async fn lease_again(&self) {
        let taken = async {
            let ways = self.target.ways().await?;
            let (_, connection) = self.target.connect(&ways).await?;
            let leases = &self.watch.leases;
            leases
                .again(&connection, self.target.how, self.reporter)
                .await
        };
        if let Err(error) = taken.await {
            let what = format!(
                "its lease ended with its restart, and could not be taken again: {}",
                error.what
            );
            self.reporter.warning(Some(self.target.node()), what);
        }
    }

    /// Starts the switch and waits for it. After a lost connection the switch may continue.
    async fn start(&self, run: &str) -> Result<Started> {
        let toplevel = self.toplevel.to_string();
        let seconds = self.watch.timeout.as_secs().to_string();
        let generation = self.generation.map(|n| n.to_string()).unwrap_or_default();
        let restart = match (&self.watch.restarts, self.mode) {
            (Some(_), Mode::Switch | Mode::Boot) => "needed",
            _ => "never",
        };
        let args = named([
            ("toplevel", &toplevel),
            ("action", self.mode.action()),
            ("run", run),
            ("lease", &self.watch.lease),
            ("seconds", &seconds),
            ("number", &generation),
            ("who", &self.watch.who),
            ("what", self.watch.what),
            ("restart", restart),
            ("longest", &LONGEST_SWITCH.to_string()),
            ("lease_age", &LEASE_AGE.to_string()),
            ("parts", &PARTS.join(" ")),
        ]);
        let args = args.each_ref().map(String::as_str);
        let connection = self.target.connection;
        let switching = async {
            let script = connection.spawn_root_script(self.target.how, ACTIVATE, &args);
            script.await?.beating().finish(b"").await
        };
        match switching.await {
            Ok(output) => match Answered::read(&output.stdout) {
                Answered::Refused(refusal) => {
                    Err(refusal.error(&output.stderr).on(self.target.node()))
                }
                Answered::Switched(log) if output.status.success() => {
                    Ok(Started::Ended(log.to_owned()))
                }
                // A lost login may exit with any code; a script that died says why.
                _ if matches!(output.status.code(), None | Some(0 | 255)) => Ok(Started::Lost),
                _ => Ok(Started::Ended(format!(
                    "{}\n{}",
                    output.stdout, output.stderr
                ))),
            },
            Err(e) if e.kind == Kind::SudoRefused => Err(e),
            Err(e) => {
                tracing::debug!(node = %self.target.node(), "the switch is not heard of: {e}");
                Ok(match e.kind {
                    Kind::NoAnswer => Started::Silent,
                    _ => Started::Lost,
                })
            }
        }
    }

    /// Looks at the node over new connections until it is confirmed or has gone back.
    async fn see_through(
        &self,
        run: &str,
        ways: &[Access],
        printed: Option<String>,
        tried: &mut Tried,
    ) -> Result<Report> {
        let log = printed.unwrap_or_default();
        let mut pause = PAUSES.0;
        let mut last = None;
        while Instant::now() < tried.until {
            let until = tried.until;
            let look = self.look(ways, run, &log, tried);
            let looked = tokio::time::timeout_at(until, look).await;
            match looked.unwrap_or_else(|_| Err(self.silent())) {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(node = %self.target.node(), "{error}");
                    if last.is_none() && !tried.restarting.begun() {
                        let what = format!(
                            "cannot be confirmed yet; unless it is, it goes back by itself {} s after its switch: {}",
                            self.watch.timeout.as_secs(),
                            error.what
                        );
                        self.reporter.warning(Some(self.target.node()), what);
                    }
                    last = Some(error);
                }
            }
            tokio::time::sleep(pause).await;
            pause = if tried.restarting.begun() {
                PAUSES.0
            } else {
                (pause * 2).min(PAUSES.1)
            };
        }
        let said = last.map(|e| e.to_string()).unwrap_or_default();
        Err(Error::new(Exit::Partial, "cannot be reached after the switch: its state is not known")
            .on(self.target.node())
            .saying(said)
            .help(format!(
                "without a confirmation it goes back by itself, also when it starts anew; see `journalctl -t nixcfg` and /var/lib/nixcfg/rollback on it (run {run})"
            )))
    }

    /// The error of a node that does not answer within its time.
    fn silent(&self) -> Error {
        Error::new(Kind::NoAnswer, "does not answer").on(self.target.node())
    }

    /// Looks at the node once. Returns its report if the change has ended.
    async fn look(
        &self,
        ways: &[Access],
        run: &str,
        log: &str,
        tried: &mut Tried,
    ) -> Result<Option<Report>> {
        let (way, connection) = self.target.connect(ways).await?;
        let seconds = LONGEST_SWITCH.to_string();
        let toplevel = self.toplevel.to_string();
        let args = named([
            ("run", run),
            ("seconds", &seconds),
            ("toplevel", &toplevel),
            ("parts", &PARTS.join(" ")),
        ]);
        let args = args.each_ref().map(String::as_str);
        // The confirming script becomes root meanwhile, and waits for the verdict.
        let ready = async {
            if std::mem::take(&mut tried.at_once) {
                Some(
                    connection
                        .spawn_root_script(self.target.how, CONFIRM, &[run])
                        .await,
                )
            } else {
                None
            }
        };
        let asked = async {
            let script = connection.spawn_script(OUTCOME, &args);
            let printed = script.await?.beating().finish_ok(OUTCOME, b"").await?;
            Answer::read(self.target.node(), OUTCOME.name, &printed)
        };
        let (told, ready) = tokio::join!(asked, ready);
        let told = Told::read(&told?).map_err(|e| e.on(self.target.node()))?;
        let before = &self.target.facts.failed_units;
        let report = Report::read(&told, self.toplevel, self.mode, log.to_owned())
            .failing(told.failed_since(before));
        if let Some((outcome, reason)) = &told.went {
            let reason = tried.reason.clone().unwrap_or_else(|| reason.clone());
            return Ok(Some(report.ended(End::Returned {
                whole: outcome == "returned",
                reason,
            })));
        }
        if !told.pending {
            let end = if tried.confirmed {
                End::Confirmed
            } else {
                End::Untouched
            };
            return Ok(Some(report.ended(end)));
        }
        if self.target.refused_root() || told.returning || told.is_restarting() {
            return Ok(None);
        }
        let (ready, (connection, how)) = match ready {
            Some(Ok(child)) => (Some(child), (connection, self.target.how.clone())),
            Some(Err(e)) if e.kind == Kind::SudoRefused => {
                (None, self.target.root_anew(&way).await?)
            }
            Some(Err(e)) => return Err(e),
            None if self.target.told.checks.is_empty() => {
                (None, (connection, self.target.how.clone()))
            }
            None => (None, self.target.root(&way, connection).await?),
        };
        let restarts = self.watch.restarts.as_ref();
        let restarts = restarts.filter(|_| report.awaits_restart(self.toplevel, self.mode));
        let live = self.mode != Mode::Boot || report.restarted;
        let report = match report.outcome {
            Outcome::Done if live && restarts.is_none() && tried.reason.is_none() => {
                let failing = checks::failing(&connection, &how, self.target.told).await?;
                report.failing(failing)
            }
            _ => report,
        };
        let terms = Terms {
            on_degraded: self.watch.on_degraded,
            repair: self.target.facts.current.as_ref() == Some(self.toplevel),
            restart: restarts.is_some() && tried.reason.is_none(),
        };
        let verdict = match (judge(&report, terms), restarts) {
            (Verdict::Restart, Some(restarts)) => {
                let root = (&way, &connection, &how);
                let asker = Asker {
                    who: &self.watch.who,
                    what: self.watch.what,
                    leases: &self.watch.leases,
                };
                let begun = &mut tried.restarting;
                match restarts
                    .restart(&self.target, root, run, asker, begun)
                    .await?
                {
                    None => {
                        let most = of_a_restart(Duration::ZERO) + self.watch.timeout + going_back();
                        tried.until = Instant::now() + most;
                        return Ok(None);
                    }
                    Some(reason) => Verdict::Return(reason),
                }
            }
            (verdict, _) => verdict,
        };
        match verdict {
            Verdict::Restart => Ok(None),
            Verdict::Confirm(word) => {
                tried.confirmed = true;
                self.watch.changed.set();
                let word = format!("{word}\n");
                // A truncated answer is no confirmation; the next look decides.
                let node = self.target.node();
                let told = match ready {
                    Some(child) => {
                        let printed = child.finish_ok(CONFIRM, word.as_bytes()).await?;
                        Answer::read(node, CONFIRM.name, &printed)?
                    }
                    None => {
                        let (args, word) = ([run], word.as_bytes());
                        self.target
                            .as_root(&way, &connection, &how, (CONFIRM, &args, word))
                            .await?
                    }
                };
                told.did(node, CONFIRM.name, ("confirmed", run))?;
                if way.number > 0 {
                    let what = format!(
                        "is reached by `{}` now: bring ssh_config in line",
                        way.access.command(self.target.node())
                    );
                    self.reporter.warning(Some(self.target.node()), what);
                }
                Ok(Some(report.ended(End::Confirmed)))
            }
            Verdict::Return(reason) => {
                if tried.reason.is_none() {
                    self.reporter
                        .step(self.target.node(), format!("going back: {reason}"));
                    let args = [run, &reason];
                    let told = self
                        .target
                        .as_root(&way, &connection, &how, (GO_BACK, &args, b""))
                        .await?;
                    told.did(self.target.node(), GO_BACK.name, ("returning", run))?;
                    tried.reason = Some(reason);
                }
                Ok(None)
            }
        }
    }
}

/// The result of starting a switch.
enum Started {
    /// It has ended, with this output.
    Ended(String),
    /// The connection was lost.
    Lost,
    /// The connection works, but the script is silent.
    Silent,
}

/// The state of a change that waits for its end.
#[derive(Debug)]
struct Tried {
    /// When to give up.
    until: Instant,
    /// The state of its restart.
    restarting: Restarting,
    /// Whether the switch has ended and only the confirmation is missing.
    at_once: bool,
    confirmed: bool,
    reason: Option<String>,
}

impl Tried {
    fn new(most: Duration) -> Self {
        Self {
            until: Instant::now() + most,
            restarting: Restarting::default(),
            at_once: false,
            confirmed: false,
            reason: None,
        }
    }
}
