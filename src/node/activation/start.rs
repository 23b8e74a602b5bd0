//! What a node answers that is asked to start a switch.

use crate::error::{Error, Exit, Kind};
use crate::nix::inhibitors;

/// The answer of `activate.sh`, by its first line.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered<'a> {
    /// The switch has ended, and printed this.
    Switched(&'a str),
    /// It was not begun; nothing was changed.
    Refused(Refusal),
    /// None that is known: it was cut off, or died.
    Nothing,
}

/// Why a switch was not begun.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The system is not there.
    Absent,
    /// Only a restart brings these.
    Inhibited(Vec<String>),
    /// Another run is at work there, or goes back.
    Busy,
    /// The way back could not be prepared.
    Unarmed,
}

impl<'a> Answered<'a> {
    pub fn read(printed: &'a str) -> Self {
        let Some((first, rest)) = printed.split_once('\n') else {
            return Self::Nothing;
        };
        let words: Vec<&str> = first.split_whitespace().collect();
        match words.as_slice() {
            ["switched"] => Self::Switched(rest),
            ["refused", "absent"] => Self::Refused(Refusal::Absent),
            ["refused", "busy"] => Self::Refused(Refusal::Busy),
            ["refused", "unarmed"] => Self::Refused(Refusal::Unarmed),
            ["refused", "inhibited", names @ ..] if !names.is_empty() => {
                let names = names.iter().map(|name| (*name).to_owned());
                Self::Refused(Refusal::Inhibited(names.collect()))
            }
            _ => Self::Nothing,
        }
    }
}

impl Refusal {
    /// The same as an error; `said` is what the script's standard error had.
    pub fn error(&self, said: &str) -> Error {
        let not_started = |kind: Kind| {
            let what = "the switch could not be started; nothing was changed";
            Error::new(kind, what).exit(Exit::Partial).saying(said)
        };
        match self {
            Self::Absent => not_started(Kind::NotAsWanted)
                .help("was the system collected as garbage meanwhile? run again"),
            Self::Busy => not_started(Kind::Held)
                .help("somebody else is at work on the node; run again when they have ended"),
            Self::Unarmed => not_started(Kind::NotAsWanted)
                .help("is there space left on the node, and can its /var/lib be written?"),
            Self::Inhibited(names) => {
                let names = inhibitors::in_words(names);
                let what = format!("was not changed: only a restart brings its {names}");
                Error::new(Exit::Partial, what).help("--reboot restarts it for that")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripts::ACTIVATE;
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_first_line_and_by_no_other_word() {
        let log = "refused busy\nlease\n";
        let switched = format!("switched\n{log}");
        assert_eq!(Answered::read(&switched), Answered::Switched(log));
        for nothing in [
            "",
            "switched",
            "end\n",
            "refused\n",
            "refused inhibited\n",
            "\nswitched\n",
        ] {
            assert_eq!(Answered::read(nothing), Answered::Nothing, "{nothing}");
        }
        let names = ["dbus", "init"].map(String::from).to_vec();
        assert_eq!(
            Answered::read("refused inhibited dbus init\n"),
            Answered::Refused(Refusal::Inhibited(names))
        );
    }

    #[test]
    fn who_is_kept_out_by_a_node_that_goes_back_is_told_to_wait() {
        let Answered::Refused(refusal) = Answered::read("refused busy\n") else {
            panic!("not refused")
        };
        let error = refusal.error("the node is going back from an earlier switch");
        assert_eq!((error.kind, error.exit), (Kind::Held, Exit::Partial));
        assert!(
            error
                .help
                .unwrap()
                .contains("run again when they have ended")
        );
    }

    #[test]
    fn a_system_that_is_not_there_is_refused_by_its_mark() {
        let names = [
            "toplevel",
            "action",
            "run",
            "lease",
            "seconds",
            "number",
            "who",
            "what",
            "restart",
            "longest",
            "lease_age",
            "parts",
        ];
        let args = names.map(|name| format!("{name}=/none"));
        let args = args.each_ref().map(String::as_str);
        let argv = ACTIVATE.argv(&args);
        let output = std::process::Command::new(&argv[0])
            .args(&argv[1..])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(Answered::read(&printed), Answered::Refused(Refusal::Absent));
    }
}
