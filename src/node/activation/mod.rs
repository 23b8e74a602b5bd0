//! Activation: switches a node to a system in its store, and judges the answers of its scripts.

pub mod checks;
pub mod outcome;
pub mod scripts;
pub mod start;
pub mod verdict;

use clap::ValueEnum;
use data_encoding::HEXLOWER;

use crate::error::{Error, Result};
use crate::nix::store::StorePath;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script};
pub use outcome::{End, Outcome, Report};
use scripts::WAY_BACK;
pub use verdict::Policy;

const DRY: Script = Script {
    name: "nixcfg-dry-activate",
    text: &[include_str!("dry-activate.sh")],
    // The new system compares every unit.
    seconds: 300,
};

const INHIBITED: Script = Script {
    name: "nixcfg-inhibited",
    text: &[WAY_BACK, "inhibited \"$1\" || exit\necho end\n"],
    seconds: MINUTE,
};

/// What to do with a system on a node: the actions of `switch-to-configuration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Run it now, and boot it from then on
    Switch,
    /// Boot it from the next start on
    Boot,
    /// Run it now, but do not boot it
    Test,
    /// Only show what switching would restart
    DryActivate,
}

impl Mode {
    /// The action's name, as an argument of `switch-to-configuration`.
    pub const fn action(self) -> &'static str {
        match self {
            Mode::Switch => "switch",
            Mode::Boot => "boot",
            Mode::Test => "test",
            Mode::DryActivate => "dry-activate",
        }
    }
}

/// A unique name for a run's units and folders on nodes.
pub fn run_name() -> Result<String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|e| Error::unexpected(format!("no randomness: {e}")))?;
    Ok(HEXLOWER.encode(&random))
}

/// Shows what a switch would do, and changes nothing.
pub async fn dry_activate(
    connection: &Connection,
    how: &Elevation,
    toplevel: &StorePath,
) -> Result<String> {
    let toplevel = toplevel.to_string();
    let told = connection.ask_root(how, DRY, &[&toplevel], b"").await?;
    let told = told.did(connection.node(), DRY.name, ("asked", &toplevel))?;
    let lines = told.text().split_inclusive('\n');
    Ok(lines.skip(1).collect())
}

/// The inhibitors that forbid a node to change live to a system that it has.
pub async fn inhibited(connection: &Connection, system: &StorePath) -> Result<Vec<String>> {
    let args = [&*system.to_string()];
    let told = connection.ask(INHIBITED, &args).await?;
    Ok(told.text().lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_two_names() {
        assert_ne!(run_name().unwrap(), run_name().unwrap());
    }

    #[test]
    fn a_node_compares_the_inhibitors_of_two_systems_as_they_are_compared_here() {
        use crate::nix::inhibitors::{FILE, Inhibitors};
        let dir = tempfile::tempdir().unwrap();
        let (ran, new) = (dir.path().join("ran"), dir.path().join("new"));
        let text = INHIBITED
            .text()
            .replace("/run/current-system", &ran.display().to_string());
        let kept = r#"{"b": "a \"x\": \\", "c": "1", "d e": "f\tg"}"#;
        let cases = [
            (None, None),
            (None, Some("{}")),
            (Some(kept), None),
            (Some(kept), Some(kept)),
            (Some("{}"), Some(kept)),
            (
                Some(kept),
                Some("{\n  \"d e\": \"f\\tg\",\n  \"b\": \"a \\\"x\\\": \\\\\"\n}\n"),
            ),
            (
                Some(kept),
                Some(r#"{"b": "a \"x\": ", "c": "2", "d e": "f"}"#),
            ),
            (Some("/nix/store/firmware\n"), Some("{}")),
            (Some("/nix/store/firmware\n"), None),
        ];
        for case in cases {
            for (folder, content) in [(&ran, case.0), (&new, case.1)] {
                let _ = std::fs::remove_dir_all(folder);
                std::fs::create_dir(folder).unwrap();
                if let Some(content) = content {
                    std::fs::write(folder.join(FILE), content).unwrap();
                }
            }
            let told = std::process::Command::new("sh")
                .args(["-c", &text, "sh"])
                .arg(&new)
                .output()
                .unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            let told = told.strip_suffix("end\n").unwrap();
            let here = Inhibitors::of(&ran).against(&Inhibitors::of(&new));
            assert_eq!(told.lines().collect::<Vec<_>>(), here, "{case:?}");
        }
    }
}
