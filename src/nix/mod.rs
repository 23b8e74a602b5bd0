//! Nix, through its command line: flakes, evaluation, builds, closures, copies.

pub mod build;
pub mod cache;
pub mod closure;
pub mod copy;
pub mod eval;
pub mod inhibitors;
pub mod message;
pub mod parts;
pub mod source;
pub mod store;
pub mod syntax;
pub mod untracked;

use crate::process::Command;

/// The operator's options for every call of Nix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `--override-input INPUT FLAKE`, in the order given.
    pub override_inputs: Vec<(String, String)>,
    /// `--option NAME VALUE`, in the order given.
    pub options: Vec<(String, String)>,
    /// `--show-trace`: Nix's whole trace in errors.
    pub show_trace: bool,
}

impl Settings {
    /// A command that takes flakes, such as `nix eval`.
    pub fn flake_command(&self, subcommand: &[&str]) -> Command {
        let mut command = self.options_of(
            Command::new("nix")
                .args(["--extra-experimental-features", "nix-command flakes"])
                .args(subcommand),
        );
        for (input, flake) in &self.override_inputs {
            command = command.args(["--override-input", input, flake]);
        }
        if self.show_trace {
            command = command.arg("--show-trace");
        }
        command
    }

    /// A command of `nix` that takes store paths alone, such as `nix copy`.
    pub fn store_command(&self, subcommand: &[&str]) -> Command {
        self.options_of(
            Command::new("nix")
                .args(["--extra-experimental-features", "nix-command"])
                .args(subcommand),
        )
    }

    /// A command of `nix-store`. Its interface is the same from Nix 2.8 to 2.34, unlike that of
    /// `nix build` with a `.drv`.
    pub fn nix_store(&self) -> Command {
        self.options_of(Command::new("nix-store"))
    }

    fn options_of(&self, mut command: Command) -> Command {
        for (name, value) in &self.options {
            command = command.args(["--option", name, value]);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_and_options_reach_flake_commands_as_separate_arguments() {
        let settings = Settings {
            override_inputs: vec![("nixpkgs".into(), "path:/x y".into())],
            options: vec![("cores".into(), "1".into())],
            show_trace: false,
        };
        assert_eq!(
            settings.flake_command(&["eval", "--json"]).display(),
            "nix --extra-experimental-features 'nix-command flakes' eval --json --option cores 1 --override-input nixpkgs 'path:/x y'"
        );
        assert_eq!(
            settings.nix_store().arg("--realise").display(),
            "nix-store --option cores 1 --realise"
        );
    }
}
