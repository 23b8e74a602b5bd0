//! A change that the node takes back by itself unless it is confirmed.
//!
//! The node is told its way back, in a timer and in a record that it looks for
//! when it starts; then it switches; then this side logs in anew, as the new
//! configuration says, looks, and confirms or has it go back. Whatever is lost
//! in between, the node ends in one of the two systems.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::checks;
use super::outcome::{End, Outcome, Report, Told};
use super::restart::Restarts;
use super::verdict::{Policy, Terms, Verdict, judge};
use super::{Changed, Mode, run_name};
use crate::cluster::{Name, Node};
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::nix::store::StorePath;
use crate::node::lease::cluster::Leases;
use crate::node::probe::{self, Facts};
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Connection, Script};
use crate::secret::Secret;

const ACTIVATE: Script = Script {
    name: "nixcfg-activate",
    text: concat!(
        // The program of the transient unit, and the one that goes back, which
        // lies on the node until then.
        "switch_text() {\ncat <<'NIXCFG_TEXT'\n",
        include_str!("way-back.sh"),
        include_str!("switch.sh"),
        "NIXCFG_TEXT\n}\nreturn_text() {\ncat <<'NIXCFG_TEXT'\n",
        include_str!("way-back.sh"),
        include_str!("return.sh"),
        "NIXCFG_TEXT\n}\n",
        include_str!("way-back.sh"),
        include_str!("arm.sh"),
        include_str!("activate.sh")
    ),
};
const OUTCOME: Script = Script {
    name: "nixcfg-outcome",
    text: concat!(include_str!("way-back.sh"), include_str!("outcome.sh")),
};
const CONFIRM: Script = Script {
    name: "nixcfg-confirm",
    text: concat!(include_str!("way-back.sh"), include_str!("confirm.sh")),
};
const GO_BACK: Script = Script {
    name: "nixcfg-go-back",
    text: concat!(include_str!("way-back.sh"), include_str!("go-back.sh")),
};

/// How long a switch may take: the node ends it then (`return.sh` says so too).
const LONGEST_SWITCH: Duration = Duration::from_secs(900);
/// How long a node that goes back, by a restart if need be, is waited for.
pub(super) const GOING_BACK: Duration = Duration::from_secs(180);
/// The pause between two looks at a node: the first, and the longest. sshd
/// shuts out who fails to log in too often.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How long the way that `ssh_config` names is tried alone.
const HEAD_START: Duration = Duration::from_secs(1);

/// How a change is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    /// How long the node waits for its confirmation once it has switched.
    pub timeout: Duration,
    /// What to do with a degraded one.
    pub on_degraded: Policy,
    /// Who asks, as `user@machine`.
    pub who: String,
    /// The operation, for the node's journal.
    pub what: &'static str,
    /// The claim under which the node is changed.
    pub lease: String,
    /// The leases that it had, which a restart of the node ends.
    pub leases: Leases,
    /// Set before a node is confirmed.
    pub changed: Changed,
    /// How the node is restarted, where it may be.
    pub restarts: Option<Restarts>,
}

/// A change of one node.
pub struct Change<'a> {
    /// How the node is reached.
    pub access: &'a Access,
    /// What its configuration says of it.
    pub told: &'a Node,
    /// The present connection.
    pub connection: &'a Connection,
    /// What was found before.
    pub facts: &'a Facts,
    /// How root is had.
    pub how: &'a Elevation,
    /// The password, for a node that begins to ask for it.
    pub password: Option<&'a Arc<Secret>>,
    /// The system it is to have.
    pub toplevel: &'a StorePath,
    /// What to do with that.
    pub mode: Mode,
    /// The generation that it has already, for a return to that.
    pub generation: Option<u64>,
    /// How it is watched.
    pub watch: &'a Watch,
    /// Where it is reported.
    pub reporter: &'a Reporter,
}

impl Change<'_> {
    pub(super) fn node(&self) -> &Name {
        self.connection.node()
    }

    /// Carries the change out and sees it to its end.
    pub async fn run(&self) -> Result<Report> {
        let run = run_name()?;
        let (started, ways) = tokio::join!(self.start(&run), self.ways());
        let (started, ways) = (started?, ways?);
        let most = match started {
            Some(_) => self.watch.timeout + GOING_BACK,
            None => LONGEST_SWITCH + self.watch.timeout + GOING_BACK,
        };
        let mut tried = Tried::new(most);
        tried.at_once = started.is_some() && self.watch.restarts.is_none();
        let ended = self.see_through(&run, &ways, started, &mut tried).await;
        if tried.restarting && ended.is_ok() {
            self.lease_again().await;
        }
        match (&tried.drained, &self.watch.restarts) {
            (Some(id), Some(restarts)) => self.undrain(ended, id, restarts).await,
            _ => ended,
        }
    }

    /// Starts the switch and waits for it; what it printed, or nothing where
    /// the connection was lost, in which case the switch may well go on.
    async fn start(&self, run: &str) -> Result<Option<String>> {
        let toplevel = self.toplevel.to_string();
        let seconds = self.watch.timeout.as_secs().to_string();
        let generation = self.generation.map(|n| n.to_string()).unwrap_or_default();
        let restart = match (&self.watch.restarts, self.mode) {
            (Some(_), Mode::Switch | Mode::Boot) => "needed",
            _ => "never",
        };
        let args = [
            &toplevel,
            self.mode.action(),
            run,
            &self.watch.lease,
            &seconds,
            &generation,
            &self.watch.who,
            self.watch.what,
            restart,
        ];
        match self
            .connection
            .run_root(self.how, ACTIVATE, &args, b"")
            .await
        {
            Ok(output) if output.status.success() => Ok(Some(output.stdout)),
            Ok(output) => match output.status.code() {
                Some(64..=66) => Err(self.not_started(&output.stderr)),
                Some(255) | None => Ok(None),
                Some(_) => Ok(Some(format!("{}\n{}", output.stdout, output.stderr))),
            },
            Err(e) if e.exit == Exit::Partial => Err(e),
            Err(e) => {
                tracing::debug!(node = %self.node(), "the switch's connection was lost: {e}");
                Ok(None)
            }
        }
    }

    fn not_started(&self, said: &str) -> Error {
        let what = "the switch could not be started; nothing was changed";
        let error = Error::new(Exit::Partial, what).on(self.node()).saying(said);
        match said {
            _ if said.contains("No space left") || said.contains("way back") => {
                error.help("is there space left on the node, and can its /var/lib be written?")
            }
            _ if said.contains("lease") || said.contains("confirmed") => {
                error.help("somebody else is at work on the node; run again when they have ended")
            }
            _ => error.help("was the system collected as garbage meanwhile? run again"),
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
            match self.look(ways, run, &log, tried).await {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(node = %self.node(), "{error}");
                    if last.is_none() && !tried.restarting {
                        let what = format!(
                            "cannot be confirmed yet; unless it is, it goes back by itself {} s after its switch: {}",
                            self.watch.timeout.as_secs(),
                            error.what
                        );
                        self.reporter.warning(Some(self.node()), what);
                    }
                    last = Some(error);
                }
            }
            tokio::time::sleep(pause).await;
            pause = match tried.restarting {
                true => PAUSES.0,
                false => (pause * 2).min(PAUSES.1),
            };
        }
        let said = last.map(|e| e.to_string()).unwrap_or_default();
        Err(Error::new(Exit::Partial, "cannot be reached after the switch: its state is not known")
            .on(self.node())
            .saying(said)
            .help(format!(
                "without a confirmation it goes back by itself, also when it starts anew; see `journalctl -t nixcfg` and /var/lib/nixcfg/rollback on it (run {run})"
            )))
    }

    /// The ways to log in to the node with its new system.
    pub(super) async fn ways(&self) -> Result<Vec<Access>> {
        self.access
            .following(self.node(), self.told, &self.facts.addresses)
            .await
    }

    /// One look at the node: its report if it has come to an end.
    async fn look(
        &self,
        ways: &[Access],
        run: &str,
        log: &str,
        tried: &mut Tried,
    ) -> Result<Option<Report>> {
        let (way, connection) = self.connect(ways).await?;
        let seconds = LONGEST_SWITCH.as_secs().to_string();
        let toplevel = self.toplevel.to_string();
        let args = [run, &seconds, &toplevel];
        // What confirms becomes root meanwhile, and waits for its word.
        let ready = async {
            match std::mem::take(&mut tried.at_once) {
                true => Some(
                    connection
                        .spawn_root_script(self.how, CONFIRM, &[run])
                        .await,
                ),
                false => None,
            }
        };
        let (told, ready) = tokio::join!(connection.run_ok(OUTCOME, &args, b""), ready);
        let told = Told::read(&told?);
        let before = &self.facts.failed_units;
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
            let end = match tried.confirmed {
                true => End::Confirmed,
                false => End::Untouched,
            };
            return Ok(Some(report.ended(end)));
        }
        if tried.gave_up || told.returning || told.is_restarting() {
            return Ok(None);
        }
        let (ready, (connection, how)) = match ready {
            Some(Ok(child)) => (Some(child), (connection, self.how.clone())),
            Some(Err(e)) if e.exit == Exit::Partial => (None, self.root_anew(&way, tried).await?),
            Some(Err(e)) => return Err(e),
            None if self.told.checks.is_empty() => (None, (connection, self.how.clone())),
            None => (None, self.root(&way, connection, tried).await?),
        };
        let restarts = self.watch.restarts.as_ref();
        let restarts = restarts.filter(|_| report.awaits_restart(self.toplevel, self.mode));
        let live = self.mode != Mode::Boot || report.restarted;
        let report = match report.outcome {
            Outcome::Done if live && restarts.is_none() && tried.reason.is_none() => {
                let failing = checks::failing(&connection, &how, self.told).await?;
                report.failing(failing)
            }
            _ => report,
        };
        let terms = Terms {
            on_degraded: self.watch.on_degraded,
            repair: self.facts.current.as_ref() == Some(self.toplevel),
            restart: restarts.is_some() && tried.reason.is_none(),
        };
        let verdict = match (judge(&report, terms), restarts) {
            (Verdict::Restart, Some(restarts)) => {
                let root = (&connection, &how);
                match self.restart(restarts, &way, root, run, tried).await? {
                    None => return Ok(None),
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
                match ready {
                    Some(child) => child.finish_ok(CONFIRM, word.as_bytes()).await?,
                    None => {
                        let (args, word) = ([run], word.as_bytes());
                        self.as_root(&way, &connection, &how, (CONFIRM, &args, word), tried)
                            .await?
                    }
                };
                if way.number > 0 {
                    let what = format!(
                        "is reached by `{}` now: bring ssh_config in line",
                        way.access.command(self.node())
                    );
                    self.reporter.warning(Some(self.node()), what);
                }
                Ok(Some(report.ended(End::Confirmed)))
            }
            Verdict::Return(reason) => {
                if tried.reason.is_none() {
                    self.reporter
                        .step(self.node(), format!("going back: {reason}"));
                    let args = [run, &reason];
                    self.as_root(&way, &connection, &how, (GO_BACK, &args, b""), tried)
                        .await?;
                    tried.reason = Some(reason);
                }
                Ok(None)
            }
        }
    }

    /// Logs in by all ways, the one that `ssh_config` names a moment ahead of
    /// the others; the first that gets there is taken.
    pub(super) async fn connect(&self, ways: &[Access]) -> Result<(Way, Connection)> {
        let mut tasks = JoinSet::new();
        for (number, access) in ways.iter().cloned().enumerate() {
            let node = self.node().clone();
            tasks.spawn(async move {
                if number > 0 {
                    tokio::time::sleep(HEAD_START).await;
                }
                let connected = access.connect(&node).await;
                (number, access, connected)
            });
        }
        let mut first = None;
        while let Some(joined) = tasks.join_next().await {
            match joined.map_err(|e| Error::unexpected(format!("a login was lost: {e}")))? {
                (number, access, Ok(connection)) => {
                    return Ok((Way { number, access }, connection));
                }
                (0, _, Err(e)) => first = Some(e),
                (..) => {}
            }
        }
        Err(first.unwrap_or_else(|| Error::unexpected("no way to log in").on(self.node())))
    }

    /// Runs a script with its arguments and input as root, had as given or as
    /// the new system gives it.
    pub(super) async fn as_root(
        &self,
        way: &Way,
        connection: &Connection,
        how: &Elevation,
        (script, args, input): (Script, &[&str], &[u8]),
        tried: &mut Tried,
    ) -> Result<String> {
        match connection.run_root_ok(how, script, args, input).await {
            Ok(told) => return Ok(told),
            Err(e) if e.exit != Exit::Partial => return Err(e),
            Err(e) => tracing::debug!(node = %self.node(), "{e}"),
        }
        let (connection, how) = self.root_anew(way, tried).await?;
        connection.run_root_ok(&how, script, args, input).await
    }

    /// A connection and a way to become root on it that works.
    async fn root(
        &self,
        way: &Way,
        connection: Connection,
        tried: &mut Tried,
    ) -> Result<(Connection, Elevation)> {
        match connection.spawn_root(self.how, &["true"]).await {
            Ok(child) => {
                child.finish(b"").await?;
                Ok((connection, self.how.clone()))
            }
            Err(e) if e.exit != Exit::Partial => Err(e),
            Err(_) => self.root_anew(way, tried).await,
        }
    }

    /// Root as the new system gives it, which may be another way than before.
    /// It is tried once: more tries could lock the account.
    async fn root_anew(&self, way: &Way, tried: &mut Tried) -> Result<(Connection, Elevation)> {
        tried.gave_up = true;
        let password = self.password.cloned();
        let again = probe::probe(&way.access, self.node(), password).await?;
        let how = again.facts.elevation(self.password).ok_or_else(|| {
            Error::new(Exit::Partial, "nobody can become root on the new system").on(self.node())
        })?;
        tried.gave_up = false;
        Ok((again.connection, how))
    }
}

/// A way to log in; the first is as `ssh_config` says.
pub(super) struct Way {
    number: usize,
    access: Access,
}

/// What has been tried so far.
#[derive(Debug)]
pub(super) struct Tried {
    /// When the node is given up.
    pub until: Instant,
    /// Whether it has been told to restart.
    pub restarting: bool,
    /// By which name Nomad drained it.
    pub drained: Option<String>,
    /// Whether the switch has been seen to end, and nothing but its
    /// confirmation is to come.
    at_once: bool,
    confirmed: bool,
    gave_up: bool,
    reason: Option<String>,
}

impl Tried {
    pub(super) fn new(most: Duration) -> Self {
        Self {
            until: Instant::now() + most,
            restarting: false,
            drained: None,
            at_once: false,
            confirmed: false,
            gave_up: false,
            reason: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::restart::{HOLD, RESTART};
    use super::*;

    #[test]
    fn the_scripts_are_shell_that_parses() {
        for text in [
            ACTIVATE.text,
            concat!(include_str!("way-back.sh"), include_str!("switch.sh")),
            concat!(include_str!("way-back.sh"), include_str!("return.sh")),
            OUTCOME.text,
            CONFIRM.text,
            GO_BACK.text,
            HOLD.text,
            RESTART.text,
        ] {
            let status = std::process::Command::new("sh")
                .args(["-n", "-c", text])
                .status()
                .unwrap();
            assert!(status.success(), "{text}");
        }
    }
}
