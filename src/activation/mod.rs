//! Activation: switching a node to a system that is in its store, and
//! learning the outcome over a new connection.

pub mod outcome;

use std::time::Duration;

use clap::ValueEnum;

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::nix::store::StorePath;
use crate::ssh::elevate::Elevation;
use crate::ssh::{Access, Connection, Script};
pub use outcome::{Outcome, Report};

const ACTIVATE: Script = Script {
    name: "nixcfg-activate",
    text: include_str!("activate.sh"),
};
/// The program of the transient unit; given to [`ACTIVATE`] as an argument.
const SWITCH: &str = include_str!("switch.sh");
const OUTCOME: Script = Script {
    name: "nixcfg-outcome",
    text: include_str!("outcome.sh"),
};
const DRY: Script = Script {
    name: "nixcfg-dry-activate",
    text: include_str!("dry-activate.sh"),
};

/// How long the outcome of a switch is waited for once its own connection was lost.
const WAIT: Duration = Duration::from_secs(600);
/// How often a new connection is tried after a switch, and the pause between.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_secs(3);

/// What to do with a system on a node: the actions of `switch-to-configuration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Run it now, and boot it from now on
    Switch,
    /// Boot it from the next start on
    Boot,
    /// Run it now, without making it the one that is booted
    Test,
    /// Only show what switching would restart
    DryActivate,
}

impl Mode {
    /// The argument of `switch-to-configuration`.
    pub const fn action(self) -> &'static str {
        match self {
            Mode::Switch => "switch",
            Mode::Boot => "boot",
            Mode::Test => "test",
            Mode::DryActivate => "dry-activate",
        }
    }
}

/// A name for a run's unit and folder on nodes, unlike that of any other run.
pub fn run_name() -> Result<String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|e| Error::unexpected(format!("no randomness: {e}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Shows what a switch would do, and changes nothing.
pub async fn dry_activate(
    connection: &Connection,
    how: &Elevation,
    toplevel: &StorePath,
) -> Result<String> {
    let toplevel = toplevel.to_string();
    connection.run_root_ok(how, DRY, &[&toplevel], b"").await
}

/// Switches a node and tells the outcome.
///
/// The switch goes on if the connection is lost, and is then waited for over
/// a new one. The outcome itself is always read over a new connection, which
/// shows that the new system can be logged in to.
pub async fn activate(
    access: &Access,
    connection: &Connection,
    how: &Elevation,
    toplevel: &StorePath,
    mode: Mode,
    run: &str,
) -> Result<Report> {
    let node = connection.node();
    let path = toplevel.to_string();
    let started = connection
        .run_root(how, ACTIVATE, &[&path, mode.action(), run, SWITCH], b"")
        .await;
    let mut log = String::new();
    match started {
        Ok(output) if output.status.success() => log = output.stdout,
        Ok(output)
            if output
                .status
                .code()
                .is_some_and(|code| code == 64 || code == 65) =>
        {
            return Err(not_started(node, &output.stderr));
        }
        Ok(output) if output.status.code().is_some() => {
            log = format!("{}\n{}", output.stdout, output.stderr);
        }
        // Without an exit code the connection went away: the unit may well go on.
        Ok(_) => {}
        Err(e) if e.exit == Exit::Partial => return Err(e),
        Err(e) => tracing::debug!(%node, "the switch's connection was lost: {e}"),
    }
    let told = told_over_new_connection(access, node, run).await?;
    Ok(Report::read(&told, toplevel, mode, log))
}

fn not_started(node: &Name, said: &str) -> Error {
    let error = Error::new(
        Exit::Partial,
        "the switch could not be started; nothing was changed",
    )
    .on(node)
    .saying(said);
    match said.contains("No space left") {
        true => error.help("free space on the node"),
        false => error.help("was the system collected as garbage meanwhile? run again"),
    }
}

async fn told_over_new_connection(access: &Access, node: &Name, run: &str) -> Result<String> {
    let seconds = WAIT.as_secs().to_string();
    let mut last = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let told = async {
            let connection = access.connect(node).await?;
            connection.run_ok(OUTCOME, &[run, &seconds], b"").await
        };
        match told.await {
            Ok(told) => return Ok(told),
            Err(e) => last = Some(e),
        }
    }
    let said = last.map(|e| e.to_string()).unwrap_or_default();
    Err(Error::new(Exit::Partial, "cannot be reached after the switch: its outcome is not known")
        .on(node)
        .saying(said)
        .help(format!("the switch ran as nixcfg-switch-{run} on the node; look at it from its console, or run again when it is back")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_two_names() {
        assert_ne!(run_name().unwrap(), run_name().unwrap());
    }

    #[test]
    fn the_scripts_are_shell_that_parses() {
        for text in [ACTIVATE.text, SWITCH, OUTCOME.text, DRY.text] {
            let status = std::process::Command::new("sh")
                .args(["-n", "-c", text])
                .status()
                .unwrap();
            assert!(status.success(), "{text}");
        }
    }
}
