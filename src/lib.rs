//! nixcfg runs a NixOS cluster: the library behind the command of that name.
//!
//! An operation begins in [`cli`], learns about its cluster in [`operation`],
//! and is told as a story by a module of its own, such as [`deploy`]. Plans
//! are values computed apart from their execution; what happens is reported
//! as [`event`]s and shown elsewhere.

pub mod apps;
pub mod cli;
pub mod cluster;
pub mod deploy;
pub mod error;
pub mod event;
pub mod generations;
pub mod init;
pub mod nix;
pub mod node;
pub mod nomad;
pub mod operation;
pub mod password;
pub mod pki;
pub mod process;
pub mod remote;
pub mod rollout;
pub mod secret;
pub mod secrets;
pub mod signal;
pub mod status;
pub mod store;
pub mod tlsproxy;
pub mod upgrade;
pub mod uplink;
