//! Tests that need other programs or nodes. Each module is a stage of `checks/run` or a part of one.
//!
//! `cargo test --test checks -- store::` runs one module. Modules that drive nodes need root and the
//! feature `lab`. `checks/needs` lists the programs that they need.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

mod apps; // also pass, GnuPG, Nix, Python, curl and a mirror of Debian
mod completion;
mod gossip; // what `apps` needs; NOMAD=<binary> for Nomad's half
mod install; // as root
mod modes;
mod passwd;
mod pki; // installs other verifiers
mod recipients;
mod store;
mod terminal;
mod tlsproxy;

#[cfg(feature = "lab")]
mod acls; // what `nomad` needs
#[cfg(feature = "lab")]
mod bad_input;
#[cfg(feature = "lab")]
mod contract; // what `nomad` needs
#[cfg(feature = "lab")]
mod deploy;
#[cfg(feature = "lab")]
mod doctor; // also pass, GnuPG and faketime
#[cfg(feature = "lab")]
mod faults;
#[cfg(feature = "lab")]
mod genuine; // nodes of genuine NixOS: checks/run --nixos
#[cfg(feature = "lab")]
mod hostile;
#[cfg(feature = "lab")]
mod init;
#[cfg(feature = "lab")]
mod logins;
#[cfg(feature = "lab")]
mod nomad; // what `apps` needs, and a real Nomad: NOMAD=<binary>
#[cfg(feature = "lab")]
mod passwords;
#[cfg(feature = "lab")]
mod quorum;
#[cfg(feature = "lab")]
mod reboot;
#[cfg(feature = "lab")]
mod rollout;
#[cfg(feature = "lab")]
mod runbook;
#[cfg(feature = "lab")]
mod secrecy;
#[cfg(feature = "lab")]
mod secrets;
#[cfg(feature = "lab")]
mod status;
#[cfg(feature = "lab")]
mod tlsproxy_nodes;
#[cfg(feature = "lab")]
mod upgrade;
#[cfg(feature = "lab")]
mod versions;
#[cfg(feature = "lab")]
mod watched; // what `apps` needs, and strace
