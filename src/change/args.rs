//! Options of every operation that changes nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Watch;
use super::leases::Leases;
use super::restart::Restarts;
use crate::error::{Error, Result};
use crate::node::activation::run_name;
use crate::node::activation::verdict::Policy;
use crate::node::lease::Claim;
use crate::operation::Operation;

/// The heading in `--help`. Set on each option: on the struct it would apply to the
/// options flattened after it.
const SAFETY: &str = "Safety";

/// Options of the watch over changes.
#[derive(Debug, Clone, clap::Args)]
pub struct WatchArgs {
    /// How long a node waits for its new system to be confirmed before it goes back by itself
    /// [default: 60]
    #[arg(help_heading = SAFETY, long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(5..=3600))]
    confirm_timeout: Option<u16>,

    /// What to do with a system if units, checks or a part of the activation failed
    #[arg(help_heading = SAFETY, long, value_enum, value_name = "ACTION", default_value = "rollback")]
    pub on_degraded: Policy,

    /// Restart nodes whose new system needs it (for kernel, initrd, kernel modules, systemd or
    /// switch inhibitors), after draining them in Nomad
    #[arg(help_heading = SAFETY, long)]
    pub reboot: bool,

    /// How long jobs may take to leave a node before its restart; then Nomad stops them [default:
    /// 600]
    #[arg(help_heading = SAFETY, long, value_name = "SECONDS", requires = "reboot", value_parser = clap::value_parser!(u32).range(1..=86400))]
    drain_timeout: Option<u32>,

    /// Take nodes over from another operator who holds them
    #[arg(help_heading = SAFETY, long)]
    pub steal: bool,

    /// Set when a node is changed.
    #[arg(skip)]
    pub changed: Changed,
}

/// Whether a run has changed a node or may have.
#[derive(Debug, Clone, Default)]
pub struct Changed(Arc<AtomicBool>);

impl Changed {
    /// Records that a node is changed.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether one was.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl WatchArgs {
    /// Refuses options without effect in a dry run.
    pub fn check_for_dry_run(&self) -> Result<()> {
        match self.confirm_timeout {
            Some(_) => Err(Error::usage(
                "--confirm-timeout has no effect with --mode dry-activate: nothing is changed",
            )),
            None => Ok(()),
        }
    }

    /// The claim of a new run.
    pub fn claim(&self, what: &'static str) -> Result<Claim> {
        Ok(Claim {
            id: run_name()?,
            who: operator(),
            what,
            steal: self.steal,
        })
    }

    /// The watch over changes under a claim and its leases.
    pub fn watch(&self, claim: &Claim, leases: &Leases, operation: &Operation) -> Watch {
        let drain = Duration::from_secs(self.drain_timeout.unwrap_or(600).into());
        Watch {
            timeout: Duration::from_secs(self.confirm_timeout.unwrap_or(60).into()),
            on_degraded: self.on_degraded,
            who: claim.who.clone(),
            what: claim.what,
            lease: claim.id.clone(),
            leases: leases.clone(),
            changed: self.changed.clone(),
            restarts: self.reboot.then(|| Restarts::of(operation, drain)),
        }
    }
}

/// The user of this process, for environments without `USER` (cron, some containers).
fn login_name() -> Option<String> {
    let id = std::process::Command::new("id").arg("-un").output().ok()?;
    let name = String::from_utf8(id.stdout).ok()?.trim().to_owned();
    (id.status.success() && !name.is_empty()).then_some(name)
}

/// The operator, as `user@machine`: for other operators and the journal to read.
fn operator() -> String {
    let user = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let user = user.or_else(login_name);
    let user = user.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    let machine = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let plain = |c: char| c.is_alphanumeric() || "-_.@".contains(c);
    format!("{user}@{machine}")
        .chars()
        .filter(|c| plain(*c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_it_has_a_name_without_an_environment() {
        let name = login_name().unwrap();
        assert!(name.parse::<u32>().is_err(), "{name}");
    }
}
