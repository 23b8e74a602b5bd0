//! The outcome of an activation.

use crate::error::{Error, Kind, Result};
use crate::nix::store::StorePath;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::tail;

use super::Mode;

/// How many lines of a switch's log are shown.
const LOG_LINES: usize = 25;

/// How a switch ended, with the exit code of `switch-to-configuration-ng` in nixpkgs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The node is as wanted (0).
    Done,
    /// It runs the new system, but part of the activation script failed (2).
    ScriptFailed,
    /// It runs the new system, but some unit does not (4).
    UnitsFailed,
    /// It cannot change live: the new system runs from the next boot on (100).
    RebootNeeded,
    /// A check, the bootloader or something else failed before the switch began (1 or an errno).
    Refused,
    /// Another switch is going on (11).
    Locked,
    /// The profile could not be set, so the node was not switched.
    ProfileFailed,
    /// The switch ended without an outcome: it was killed, or the node restarted.
    Died,
    /// It failed half-way, with this code: 1, an errno, or 101, a panic.
    Unknown(i32),
}

impl Outcome {
    /// `begun`: it has stopped units or activated. `runs`: the node runs the new system. These
    /// decide, as an errno may equal the code of an outcome (`die` in switch-to-configuration-ng).
    fn from_code(code: i32, begun: bool, runs: bool) -> Self {
        match code {
            0 => Outcome::Done,
            11 if !begun => Outcome::Locked,
            100 if !begun => Outcome::RebootNeeded,
            _ if !begun => Outcome::Refused,
            2 if runs => Outcome::ScriptFailed,
            4 if runs => Outcome::UnitsFailed,
            other => Outcome::Unknown(other),
        }
    }

    pub fn keyword(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::ScriptFailed => "activationScriptFailed",
            Outcome::UnitsFailed => "unitsFailed",
            Outcome::RebootNeeded => "rebootNeeded",
            Outcome::Refused => "refused",
            Outcome::Locked => "locked",
            Outcome::ProfileFailed => "profileFailed",
            Outcome::Died => "died",
            Outcome::Unknown(_) => "unknown",
        }
    }
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The new system was confirmed.
    Confirmed,
    /// The switch did not happen, and left everything as it was.
    Untouched,
    /// The node went back to the system and the generation before.
    Returned {
        /// Whether it runs and will boot that system.
        whole: bool,
        reason: String,
    },
}

impl End {
    pub fn keyword(&self) -> &'static str {
        match self {
            End::Confirmed => "activated",
            End::Untouched => "notSwitched",
            End::Returned { whole: true, .. } => "rolledBack",
            End::Returned { whole: false, .. } => "stuck",
        }
    }
}

/// A node's answer about a switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    code: Option<String>,
    begun: bool,
    why: Option<String>,
    now: Option<StorePath>,
    booted: Option<StorePath>,
    generation: Option<StorePath>,
    restart: Vec<String>,
    failed: Vec<String>,
    /// Whether it waits for confirmation.
    pub pending: bool,
    /// Whether it is going back.
    pub returning: bool,
    /// How it went back, and why; none if it did not.
    pub went: Option<(String, String)>,
}

impl Told {
    /// An error where a part is missing: of what is not told nothing follows.
    pub fn read(answer: &Answer) -> Result<Self> {
        for word in ["code", "now", "generation"] {
            if answer.all(word).next().is_none() {
                let what = format!("does not tell how its switch ended: there is no ‘{word}’");
                return Err(Error::new(Kind::BadAnswer, what).saying(tail(answer.text())));
            }
        }
        let all = |key| answer.all(key).map(str::to_owned);
        let one = |key| all(key).next();
        Ok(Self {
            code: one("code"),
            begun: one("begun").as_deref() == Some("yes"),
            why: one("why").filter(|why| !why.is_empty()),
            now: one("now").and_then(|path| path.parse().ok()),
            booted: one("booted").and_then(|path| path.parse().ok()),
            restart: all("restart").collect(),
            generation: one("generation").and_then(|path| path.parse().ok()),
            failed: all("failed").collect(),
            pending: one("pending").is_some(),
            returning: one("returning").is_some(),
            went: one("went").map(|outcome| (outcome, one("because").unwrap_or_default())),
        })
    }

    /// Whether it was told to restart and has not restarted yet.
    pub fn is_restarting(&self) -> bool {
        self.code.as_deref() == Some("restarting")
    }

    /// The failed units that are not among those that had failed before.
    pub fn failed_since(&self, before: &[String]) -> Vec<String> {
        let new = self.failed.iter().filter(|unit| !before.contains(unit));
        new.cloned().collect()
    }
}

/// The state of a node after a switch, over a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How the switch ended.
    pub outcome: Outcome,
    /// Whether the node runs, and will boot if that is wanted, the wanted system.
    pub as_wanted: bool,
    /// The system that the node runs now.
    pub current: Option<StorePath>,
    /// Its profile's newest generation.
    pub profile: Option<StorePath>,
    /// Parts of the wanted system that only a restart brings: kernel, initrd, …
    pub restart_for: Vec<String>,
    /// Whether the node was restarted for it.
    pub restarted: bool,
    /// Whether Nomad still places no jobs on it.
    pub drained: bool,
    /// The output of the switch.
    pub log: String,
    /// The switch's reason for its failure.
    pub why: Option<String>,
    /// Units that failed and had not failed before, and checks that failed.
    pub failed: Vec<String>,
    /// How the change ended.
    pub end: End,
}

impl Report {
    pub fn read(told: &Told, toplevel: &StorePath, mode: Mode, log: String) -> Self {
        let outcome = match told.code.as_deref() {
            Some("profile") => Outcome::ProfileFailed,
            Some("restarted") => Outcome::Done,
            Some(code) => code.parse().map_or(Outcome::Died, |code| {
                let runs = told.now.as_ref() == Some(toplevel);
                Outcome::from_code(code, told.begun, runs)
            }),
            None => Outcome::Died,
        };
        let (current, profile) = (told.now.clone(), told.generation.clone());
        let runs = current.as_ref() == Some(toplevel);
        let boots = profile.as_ref() == Some(toplevel);
        let restarted = told.code.as_deref() == Some("restarted");
        let as_wanted = outcome == Outcome::Done
            && match mode {
                _ if restarted => runs && boots && told.booted.as_ref() == Some(toplevel),
                Mode::Switch => runs && boots,
                Mode::Boot => boots,
                Mode::Test => runs,
                Mode::DryActivate => true,
            };
        Self {
            outcome,
            as_wanted,
            current,
            profile,
            restart_for: told.restart.clone(),
            restarted,
            drained: false,
            log,
            why: told.why.clone(),
            failed: Vec::new(),
            end: End::Untouched,
        }
    }

    /// Whether only a restart is missing: the profile has the wanted system.
    pub fn awaits_restart(&self, toplevel: &StorePath, mode: Mode) -> bool {
        let can = matches!(mode, Mode::Switch | Mode::Boot) && !self.restarted;
        let must = match self.outcome {
            Outcome::RebootNeeded => true,
            Outcome::Done => mode == Mode::Boot || !self.restart_for.is_empty(),
            _ => false,
        };
        can && must && self.profile.as_ref() == Some(toplevel)
    }

    /// Adds newly failed units or failed checks.
    pub fn failing(mut self, what: Vec<String>) -> Self {
        self.as_wanted &= what.is_empty();
        self.failed.extend(what);
        self
    }

    /// Sets that Nomad still places no jobs on it.
    pub fn still_drained(mut self) -> Self {
        self.as_wanted = false;
        self.drained = true;
        self
    }

    pub fn ended(mut self, end: End) -> Self {
        self.as_wanted &= end == End::Confirmed;
        self.end = end;
        self
    }

    /// The outcome in words.
    pub fn words(&self, mode: Mode) -> String {
        let mut words = self.end_in_words(mode);
        let boots_later = mode == Mode::Boot && !self.restarted;
        if self.as_wanted && !self.restart_for.is_empty() && !boots_later {
            words.push_str(&format!(
                "; needs a reboot for its {}",
                self.restart_for.join(", ")
            ));
        }
        if self.drained {
            words.push_str("; Nomad still places no jobs on it");
        }
        words
    }

    fn end_in_words(&self, mode: Mode) -> String {
        match &self.end {
            End::Returned {
                whole: true,
                reason,
            } => {
                let reason = match reason.as_str() {
                    "unconfirmed" => "it could not be confirmed",
                    "abandoned" => "its operator was gone before it restarted",
                    "other-system" => "its restart brought another system",
                    "restarted" => "it restarted before it was confirmed",
                    "overdue" => "the switch did not end in time",
                    "died" => "the switch was ended before its time",
                    other => other,
                };
                return format!("rolled back to {}: {reason}", self.running());
            }
            End::Returned {
                whole: false,
                reason,
            } => {
                return format!("could not go back ({reason}): it runs {}", self.running());
            }
            _ => {}
        }
        match self.outcome {
            Outcome::Done if !self.failed.is_empty() => {
                format!("switched, but failed: {}", self.failed.join(", "))
            }
            Outcome::Done if self.as_wanted && self.restarted => "restarted with it".into(),
            Outcome::Done if self.as_wanted => match mode {
                Mode::Switch => "switched".into(),
                Mode::Boot => "boots the new system from the next start on".into(),
                Mode::Test => "runs the new system until its next start".into(),
                Mode::DryActivate => "not changed".into(),
            },
            Outcome::Done => format!("said that it switched, but runs {}", self.running()),
            Outcome::ScriptFailed => "switched, but part of its activation script failed".into(),
            Outcome::UnitsFailed => match self.failed_units() {
                units if units.is_empty() => "switched, but some units failed".into(),
                units => format!("switched, but failed: {}", units.join(", ")),
            },
            Outcome::RebootNeeded => {
                "needs a reboot: it cannot change to the new system live".into()
            }
            Outcome::Refused => format!("not switched: {}", self.why()),
            Outcome::Locked => "not switched: another switch is going on there".into(),
            Outcome::ProfileFailed => "not switched: its system profile could not be set".into(),
            Outcome::Died => format!(
                "the switch was ended before its time; it runs {}",
                self.running()
            ),
            Outcome::Unknown(code) => format!(
                "the switch failed half-way ({}, exit code {code}); it runs {}",
                self.why(),
                self.running()
            ),
        }
    }

    /// The switch's reason for its failure.
    pub(super) fn why(&self) -> &str {
        let why = self.why.as_deref().unwrap_or("it says no more");
        why.strip_prefix("Error: ").unwrap_or(why)
    }

    fn running(&self) -> &str {
        self.current
            .as_ref()
            .map_or("an unknown system", StorePath::name)
    }

    /// The end of the switch's output.
    pub fn last_lines(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()
    }

    /// The failed units: those that the switch reported, and those that failed later.
    pub fn failed_units(&self) -> Vec<&str> {
        let mut units: Vec<&str> = self
            .log
            .lines()
            .filter_map(|line| line.split_once("the following units failed:"))
            .flat_map(|(_, units)| units.split(','))
            .map(str::trim)
            .filter(|unit| !unit.is_empty())
            .collect();
        for unit in &self.failed {
            if !units.contains(&unit.as_str()) {
                units.push(unit);
            }
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-new";
    const OLD: &str = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-old";

    fn told(printed: &str) -> Told {
        let printed = format!("{printed}generation \nend\n");
        Told::read(&crate::node::ssh::answer::tests::read(&printed).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_that_does_not_tell_all_is_refused() {
        let all = ["code died\n", "now \n", "generation \n"];
        let read = |lines: &[&str]| {
            let printed = [&lines.concat(), "end\n"].concat();
            Told::read(&crate::node::ssh::answer::tests::read(&printed).unwrap())
        };
        assert!(read(&all).is_ok());
        for missing in 0..all.len() {
            let mut lines = all.to_vec();
            lines.remove(missing);
            assert_eq!(read(&lines).unwrap_err().kind, Kind::BadAnswer);
        }
    }

    fn report(code: &str, now: &str, generation: &str, mode: Mode) -> Report {
        let told = told(&format!("{code}\nnow {now}\ngeneration {generation}\n"));
        Report::read(&told, &NEW.parse().unwrap(), mode, String::new()).ended(End::Confirmed)
    }

    #[test]
    fn exit_codes_are_told_apart() {
        let (early, half_way, through) = ((false, false), (true, false), (true, true));
        let cases = [
            (0, through, "done"),
            (1, early, "refused"),
            (1, half_way, "unknown"),
            (1, through, "unknown"),
            (2, early, "refused"),
            (2, half_way, "unknown"),
            (2, through, "activationScriptFailed"),
            (4, half_way, "unknown"),
            (4, through, "unitsFailed"),
            (11, early, "locked"),
            (11, through, "unknown"),
            (100, early, "rebootNeeded"),
            (101, early, "refused"),
            (101, half_way, "unknown"),
        ];
        for (code, (begun, runs), keyword) in cases {
            let outcome = Outcome::from_code(code, begun, runs);
            assert_eq!(outcome.keyword(), keyword, "{code} {begun} {runs}");
        }
    }

    #[test]
    fn why_a_switch_failed_is_in_its_own_words() {
        let told = format!("code 1\nbegun no\nwhy Pre-switch check 'x' failed\nnow {OLD}\n");
        let read = |told: &str| {
            let toplevel = NEW.parse().unwrap();
            Report::read(&self::told(told), &toplevel, Mode::Switch, String::new())
        };
        assert_eq!(
            read(&told).words(Mode::Switch),
            "not switched: Pre-switch check 'x' failed"
        );
        let told = format!("code 1\nbegun yes\nwhy Error: no bus\nnow {NEW}\n");
        assert_eq!(
            read(&told).words(Mode::Switch),
            "the switch failed half-way (no bus, exit code 1); it runs new"
        );
    }

    #[test]
    fn success_is_believed_only_if_the_node_runs_and_boots_the_new_system() {
        assert!(report("code 0", NEW, NEW, Mode::Switch).as_wanted);
        assert!(!report("code 0", OLD, NEW, Mode::Switch).as_wanted);
        assert!(!report("code 0", NEW, OLD, Mode::Switch).as_wanted);
        assert!(report("code 0", OLD, NEW, Mode::Boot).as_wanted);
        assert!(report("code 0", NEW, OLD, Mode::Test).as_wanted);
        assert!(!report("code 4", NEW, NEW, Mode::Switch).as_wanted);
    }

    #[test]
    fn a_switch_that_left_no_outcome_died() {
        assert_eq!(
            report("code died", OLD, OLD, Mode::Switch).outcome,
            Outcome::Died
        );
    }

    #[test]
    fn failed_units_are_found_in_the_log() {
        let mut report = report("code 4\nbegun yes", NEW, NEW, Mode::Switch);
        report.log =
            "restarting\nwarning: the following units failed: a.service, b.service\n".into();
        assert_eq!(report.failed_units(), ["a.service", "b.service"]);
        assert_eq!(
            report.words(Mode::Switch),
            "switched, but failed: a.service, b.service"
        );
    }
}
