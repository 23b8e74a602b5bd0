//! `upgrade-nixos`: updates nixpkgs, and shows the changes before it deploys them.
//!
//! The lock file is written before evaluation, so that the preview, the deployment and the
//! repository agree. It is restored unless a node was changed.

pub(crate) mod closure;
mod diff;
mod lock;
mod note;
pub(crate) mod preview;

use std::io::{BufRead, IsTerminal};

use crate::deployment;
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::nix::source::Flake;
use crate::operation::{Invocation, Operation};
use crate::operations::deploy_nixos::conclude;
use lock::{Target, Update};
use note::Guard;

/// The arguments of `upgrade-nixos`.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "upgrade")] // deploy-nixos's arguments, which these hold, have the default's name
#[command(after_help = "\
Changes flake.lock, shows what that changes on each node, asks, and deploys as deploy-nixos does.
If no node was changed in the end, flake.lock is restored.")]
pub struct Args {
    #[command(flatten)]
    deploy: deployment::Args,

    /// Take this revision of nixpkgs, not the newest of its branch
    #[arg(long, value_name = "REV", conflicts_with = "no_update")]
    to: Option<String>,

    /// Leave flake.lock as it is; show and deploy its revision
    #[arg(long)]
    no_update: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs `upgrade-nixos`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    args.deploy.check()?;
    if !args.yes && !args.deploy.plans_only() && !std::io::stdin().is_terminal() {
        return Err(
            Error::usage("there is no terminal to ask on; nothing was changed")
                .help("--yes deploys without asking; --plan only shows"),
        );
    }
    let nix = &args.deploy.cluster().described.nix;
    let cwd = std::env::current_dir()
        .map_err(|e| Error::usage(format!("there is no working directory: {e}")))?;
    let flake = Flake::locate(&invocation.flake, &cwd)?;
    if !flake.is_folder() {
        return Err(
            Error::usage("upgrade-nixos changes the lock file of a flake in a folder")
                .help("run it in the repository of your cluster, or name that with --flake"),
        );
    }
    let settings = nix.settings(&cwd);
    let guard = Guard::open(&flake, &reporter)?;
    let guard = if args.no_update {
        guard
    } else {
        let target = args.to.clone().map_or(Target::Newest, Target::Revision);
        reporter.phase("looking for nixpkgs");
        let update = Update::find(&flake, &settings, &target).await?;
        update.tell(&reporter);
        guard.write(&update)?
    };
    let outcome = upgrade(args, invocation, &guard).await;
    guard.close()?;
    outcome
}

async fn upgrade(args: &Args, invocation: Invocation, guard: &Guard) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let deploy = args.deploy.noting("upgrade-nixos", guard.changed());
    let mut operation = Operation::start(deploy.cluster(), invocation).await?;
    let mut prepared = deployment::prepare(&deploy, &mut operation).await?;
    preview::show(&deploy, &operation, &mut prepared).await?;
    if deploy.plans_only() {
        return prepared.planned(&deploy, &operation);
    }
    prepared.possible(&reporter)?;
    if !args.yes && prepared.changes() && !agreed(&reporter).await? {
        return Err(Error::new(
            Exit::Interrupted,
            "not agreed to; nothing was changed",
        ));
    }
    guard.deploying()?;
    let ended = deployment::carry_out(&deploy, &operation, prepared).await?;
    conclude(&deploy, &operation, ended).await
}

/// Asks on the terminal.
async fn agreed(reporter: &Reporter) -> Result<bool> {
    let asked = reporter.ask(|| {
        eprint!("deploy this? [y/N] ");
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        Ok(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"))
    });
    asked.await
}
