//! The command line: one sub-command an operation, named as the flake's apps.

use clap::{Parser, Subcommand};

use crate::apps;
use crate::deploy;
use crate::error::Result;
use crate::event::Reporter;
use crate::generations;
use crate::init;
use crate::nomad::scheduler;
use crate::password;
use crate::pki;
use crate::remote;
use crate::secret::Secret;
use crate::secrets;
use crate::status;
use crate::tlsproxy;
use crate::upgrade;

/// Runs a NixOS cluster.
#[derive(Debug, Parser)]
#[command(name = "nixcfg", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    operation: Operation,
}

const EXIT_CODES: &str = "\
Environment:
  SUDO_PASS   the sudo password on the nodes (asked for if it is needed and not set)
  SSH_USER    log in to the nodes as this user
  NIXCFG_LOG  diagnostics of nixcfg itself, such as debug

Exit codes:
  0    every node is as wanted
  1    something unexpected
  2    wrong arguments or cluster files
  3    a node cannot be reached or used; nothing was changed
  4    a system does not evaluate or build
  5    some nodes are not as wanted
  130  stopped by ^C";

#[derive(Debug, Subcommand)]
enum Operation {
    /// Write the files of a new cluster
    Init(init::Args),
    /// Write the files of a new node
    AddNode(init::add::Args),
    /// Bring nodes to the NixOS configuration of the flake
    DeployNixos(deploy::Args),
    /// Update nixpkgs, show what that changes, and deploy it
    UpgradeNixos(upgrade::Args),
    /// Go back to a generation that nodes have already
    Rollback(generations::rollback::Args),
    /// List the generations of nodes' systems
    Generations(generations::Args),
    /// Tell how the nodes are
    Status(status::Args),
    /// Run a command on nodes
    Exec(remote::exec::Args),
    /// Log in to a node
    Ssh(remote::shell::Args),
    /// Set an administrator's password in the password store, as a hash
    Passwd(password::Args),
    /// Set Nomad's scheduler as cluster.nix has it
    NomadScheduler(scheduler::Args),
    /// Run the cluster's apps on Nomad
    DeployApps(apps::deploy::Args),
    /// Make the secrets that an app reads from Consul
    AppSecrets(apps::secrets::Args),
    /// Serve the cluster's Nomad and Consul as plain HTTP on this machine
    Tlsproxy(tlsproxy::Args),
    /// Make the certificates of Consul and Nomad that are missing
    GenPki(pki::generate::Args),
    /// Bring the certificates of Consul and Nomad to the nodes
    DeployPki(pki::deploy::Args),
    /// Tell what certificates there are, and how long they last
    PkiStatus(pki::status::Args),
    /// Bring the store's password hashes to the nodes, and prove that sudo still works
    DeployPasswords(password::deploy::Args),
    /// Make the cluster's secrets that are missing in the password store
    GenSecrets(secrets::Args),
    /// Write the cluster's secrets to the nodes, and tell the units that use them
    DeploySecrets(secrets::deploy::Args),
    /// Replace the authority of Consul or Nomad, step by step
    RotateCa(pki::rotate::Args),
}

impl Cli {
    /// Where the operation reports to.
    pub fn reporter(&self) -> Reporter {
        Reporter::new(match &self.operation {
            Operation::Init(args) => args.json(),
            Operation::AddNode(args) => args.json(),
            Operation::DeployNixos(args) => args.json(),
            Operation::UpgradeNixos(args) => args.json(),
            Operation::Rollback(args) => args.json(),
            Operation::Generations(args) => args.json(),
            Operation::Status(args) => args.json(),
            Operation::Exec(args) => args.json(),
            Operation::Ssh(args) => args.json(),
            Operation::Passwd(args) => args.json(),
            Operation::NomadScheduler(args) => args.json(),
            Operation::DeployApps(args) => args.json(),
            Operation::AppSecrets(args) => args.json(),
            Operation::Tlsproxy(args) => args.json(),
            Operation::GenPki(args) => args.json(),
            Operation::DeployPki(args) => args.json(),
            Operation::PkiStatus(args) => args.json(),
            Operation::DeployPasswords(args) => args.json(),
            Operation::GenSecrets(args) => args.json(),
            Operation::DeploySecrets(args) => args.json(),
            Operation::RotateCa(args) => args.json(),
        })
    }

    /// Whether the operation itself does what ^C asks for.
    pub fn minds_interrupts(&self) -> bool {
        matches!(&self.operation, Operation::Tlsproxy(_))
    }

    /// Carries out the operation.
    pub async fn run(self, reporter: Reporter, password: Option<Secret>) -> Result<()> {
        match self.operation {
            Operation::Init(args) => init::run(&args, reporter).await,
            Operation::AddNode(args) => init::add::run(&args, reporter).await,
            Operation::DeployNixos(args) => deploy::run(&args, reporter, password).await,
            Operation::UpgradeNixos(args) => upgrade::run(&args, reporter, password).await,
            Operation::Rollback(args) => {
                generations::rollback::run(&args, reporter, password).await
            }
            Operation::Generations(args) => generations::run(&args, reporter, password).await,
            Operation::Status(args) => status::run(&args, reporter, password).await,
            Operation::Exec(args) => remote::exec::run(&args, reporter, password).await,
            Operation::Ssh(args) => remote::shell::run(&args, reporter).await,
            Operation::Passwd(args) => password::run(&args, reporter).await,
            Operation::NomadScheduler(args) => scheduler::run(&args, reporter, password).await,
            Operation::DeployApps(args) => apps::deploy::run(&args, reporter, password).await,
            Operation::AppSecrets(args) => apps::secrets::run(&args, reporter, password).await,
            Operation::Tlsproxy(args) => tlsproxy::run(&args, reporter, password).await,
            Operation::GenPki(args) => pki::generate::run(&args, reporter).await,
            Operation::DeployPki(args) => pki::deploy::run(&args, reporter, password).await,
            Operation::PkiStatus(args) => pki::status::run(&args, reporter, password).await,
            Operation::DeployPasswords(args) => {
                password::deploy::run(&args, reporter, password).await
            }
            Operation::GenSecrets(args) => secrets::run(&args, reporter).await,
            Operation::DeploySecrets(args) => secrets::deploy::run(&args, reporter, password).await,
            Operation::RotateCa(args) => pki::rotate::run(&args, reporter, password).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::collections::BTreeMap;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nodes_may_follow_and_precede_options() {
        let line = [
            "nixcfg",
            "deploy-nixos",
            "prod",
            "alder",
            "--mode",
            "boot",
            "birch",
            "!cedar",
        ];
        assert!(Cli::try_parse_from(line).is_ok());
    }

    #[test]
    fn a_heading_has_the_same_options_everywhere() {
        let mut headings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for operation in Cli::command().get_subcommands() {
            let mut own: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for arg in operation.get_arguments() {
                if let Some(heading) = arg.get_help_heading() {
                    let options = own.entry(heading.to_owned()).or_default();
                    options.push(arg.get_id().to_string());
                }
            }
            for (heading, options) in own {
                let known = headings.entry(heading).or_insert_with(|| options.clone());
                assert_eq!(*known, options, "{}", operation.get_name());
            }
        }
        assert!(headings["Common options"].contains(&"flake".to_owned()));
    }

    #[test]
    fn an_unknown_mode_is_a_usage_error() {
        let error =
            Cli::try_parse_from(["nixcfg", "deploy-nixos", "prod", "--mode", "swich"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
