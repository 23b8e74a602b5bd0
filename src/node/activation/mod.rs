//! Activation: what is run on a node to switch it to a system that is in its
//! store, and how its answers are judged.

pub mod checks;
pub mod outcome;
pub mod scripts;
pub mod verdict;

use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::nix::store::StorePath;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, Script};
pub use outcome::{End, Outcome, Report};
pub use verdict::Policy;

const DRY: Script = Script {
    name: "nixcfg-dry-activate",
    text: include_str!("dry-activate.sh"),
};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_two_names() {
        assert_ne!(run_name().unwrap(), run_name().unwrap());
    }
}
