//! nixcfg runs a NixOS cluster: the library behind the command of that name.
//!
//! An operation is a module of [`operations`]. It gets its cluster from [`operation`]. Plans are
//! values, computed before anything is executed. The work reports [`event`]s, and renderers show
//! them. `doc/architecture.md` shows the floors that the modules stand on.

pub mod apps;
pub mod change;
pub mod cli;
pub mod cluster;
pub mod completion;
pub mod deployment;
pub mod error;
pub mod event;
pub mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod nix;
pub mod node;
pub mod nomad;
pub mod operation;
pub mod operations;
pub mod password;
pub mod pki;
pub mod private;
pub mod process;
pub mod rollout;
pub mod scaffold;
pub mod secret;
pub mod secrets;
pub mod signal;
pub mod store;
pub mod uplink;

/// Compares a text with `checks/snapshots/<name>.snap`.
#[cfg(test)]
#[track_caller]
fn is_as_reviewed(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../checks/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
