//! Decides about a node that waits for its confirmation.

use clap::ValueEnum;

use super::outcome::{Outcome, Report};

/// What to do with a degraded switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Go back to the system before
    Rollback,
    /// Keep the new system, and report what is wrong
    Keep,
}

/// What to do with a node that waits for confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Confirm(&'static str),
    /// It restarts.
    Restart,
    /// It goes back, for this reason.
    Return(String),
}

/// The conditions of a verdict.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What to do with a degraded one.
    pub on_degraded: Policy,
    /// Whether the node ran the system already.
    pub repair: bool,
    /// Whether only a restart is missing, and the node may be restarted.
    pub restart: bool,
}

/// Judges a switch by its report.
pub fn judge(report: &Report, terms: Terms) -> Verdict {
    if terms.restart {
        return Verdict::Restart;
    }
    let failed = report.failed_units();
    let degraded = match report.outcome {
        Outcome::Done if !failed.is_empty() => format!("failed: {}", failed.join(", ")),
        Outcome::Done if !report.as_wanted => return Verdict::Return("not as wanted".into()),
        Outcome::Done => return Verdict::Confirm("confirmed"),
        Outcome::RebootNeeded => return Verdict::Confirm("needs a reboot"),
        Outcome::UnitsFailed => format!("failed: {}", failed.join(", ")),
        Outcome::ScriptFailed => "failed activation".to_owned(),
        Outcome::Unknown(_) | Outcome::Refused => {
            return Verdict::Return(format!("the switch failed: {}", report.why()));
        }
        _ => return Verdict::Return(report.outcome.keyword().to_owned()),
    };
    match terms.on_degraded {
        // There is nothing to go back to.
        _ if terms.repair && !report.restarted => Verdict::Confirm("degraded"),
        Policy::Keep => Verdict::Confirm("kept, degraded"),
        Policy::Rollback => Verdict::Return(degraded),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::super::outcome::Told;
    use super::*;

    const NEW: &str = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-new";
    const OLD: &str = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-old";

    fn heard(printed: &str) -> Told {
        let printed = format!("{printed}generation \nend\n");
        Told::read(&crate::node::ssh::answer::tests::read(&printed).unwrap()).unwrap()
    }

    fn verdict(text: &str, before: &[&str], policy: Policy) -> Verdict {
        let told = heard(text);
        let before: Vec<String> = before.iter().map(ToString::to_string).collect();
        let report = Report::read(&told, &NEW.parse().unwrap(), Mode::Switch, String::new());
        let terms = Terms {
            on_degraded: policy,
            repair: false,
            restart: false,
        };
        judge(&report.failing(told.failed_since(&before)), terms)
    }

    fn told(code: &str, more: &str) -> String {
        format!("code {code}\nbegun yes\nnow {NEW}\ngeneration {NEW}\n{more}")
    }

    #[test]
    fn a_system_that_runs_and_boots_without_new_failures_is_confirmed() {
        assert_eq!(
            verdict(&told("0", ""), &[], Policy::Rollback),
            Verdict::Confirm("confirmed")
        );
        let failed = told("0", "failed a.service\n");
        assert_eq!(
            verdict(&failed, &["a.service"], Policy::Rollback),
            Verdict::Confirm("confirmed")
        );
    }

    #[test]
    fn a_degraded_switch_is_kept_or_not_by_policy() {
        let failed = told("0", "failed a.service\nfailed b.service\n");
        assert_eq!(
            verdict(&failed, &["b.service"], Policy::Rollback),
            Verdict::Return("failed: a.service".into())
        );
        assert_eq!(
            verdict(&failed, &[], Policy::Keep),
            Verdict::Confirm("kept, degraded")
        );
        for code in ["2", "4"] {
            assert!(matches!(
                verdict(&told(code, ""), &[], Policy::Rollback),
                Verdict::Return(_)
            ));
            assert!(matches!(
                verdict(&told(code, ""), &[], Policy::Keep),
                Verdict::Confirm(_)
            ));
        }
    }

    #[test]
    fn a_switch_that_died_or_is_not_as_it_says_is_taken_back_under_every_policy() {
        for policy in [Policy::Rollback, Policy::Keep] {
            assert!(matches!(
                verdict("code died\nnow /x\n", &[], policy),
                Verdict::Return(_)
            ));
            assert!(matches!(
                verdict(&told("101", ""), &[], policy),
                Verdict::Return(_)
            ));
            let old = format!("code 0\nnow {OLD}\ngeneration {NEW}\n");
            assert!(matches!(verdict(&old, &[], policy), Verdict::Return(_)));
        }
    }

    #[test]
    fn what_needs_a_reboot_is_kept_for_it() {
        let text = format!("code 100\nnow {OLD}\ngeneration {NEW}\n");
        assert_eq!(
            verdict(&text, &[], Policy::Rollback),
            Verdict::Confirm("needs a reboot")
        );
    }

    fn awaits_restart(text: &str, mode: Mode) -> bool {
        let toplevel = NEW.parse().unwrap();
        Report::read(&heard(text), &toplevel, mode, String::new()).awaits_restart(&toplevel, mode)
    }

    #[test]
    fn a_node_is_restarted_for_what_only_a_restart_brings_and_once() {
        let boots = format!("now {OLD}\ngeneration {NEW}\n");
        assert!(awaits_restart(&format!("code 100\n{boots}"), Mode::Switch));
        let kernel = format!("code 0\n{boots}restart kernel\n");
        assert!(awaits_restart(&kernel, Mode::Switch));
        assert!(!awaits_restart(&told("0", ""), Mode::Switch));
        assert!(awaits_restart(&told("0", ""), Mode::Boot));
        assert!(!awaits_restart(
            &told("4", "restart kernel\n"),
            Mode::Switch
        ));
        assert!(!awaits_restart(
            &told("restarted", "restart kernel\n"),
            Mode::Switch
        ));
    }

    #[test]
    fn a_restart_counts_only_where_the_node_was_started_with_the_new_system() {
        let right = told("restarted", &format!("booted {NEW}\n"));
        assert_eq!(
            verdict(&right, &[], Policy::Rollback),
            Verdict::Confirm("confirmed")
        );
        let other = told("restarted", &format!("booted {OLD}\n"));
        assert!(matches!(
            verdict(&other, &[], Policy::Keep),
            Verdict::Return(_)
        ));
    }
}
