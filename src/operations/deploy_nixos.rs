//! `deploy-nixos`: brings nodes to the NixOS configuration of the flake.

use crate::deployment::{Concluded, carry_out, prepare};
use crate::error::Result;
use crate::operation::{Invocation, Operation};
use crate::operations::next::after;
use crate::operations::next::steps::Facts;

pub use crate::deployment::Args;

/// Runs `deploy-nixos`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    args.check()?;
    let mut operation = Operation::start(args.cluster(), invocation).await?;
    let prepared = prepare(args, &mut operation).await?;
    if args.plan {
        prepared.planned(args, &operation)
    } else {
        prepared.possible(&operation.reporter)?;
        let ended = carry_out(args, &operation, prepared).await?;
        conclude(args, &operation, ended).await
    }
}

/// Reports the end of a deployment, with what it leaves to do. A dry run leaves everything as it was.
pub async fn conclude(args: &Args, operation: &Operation, ended: Concluded) -> Result<()> {
    let Concluded {
        conclusion,
        changed,
    } = ended;
    let cluster = &operation.cluster;
    let facts = if args.plans_only() {
        Facts::settled(cluster.name.clone(), Vec::new())
    } else {
        let mut facts = after::known(cluster).await;
        if args.activates() {
            after::ask(&mut facts, cluster, &changed).await;
        }
        facts
    };
    after::conclude(&operation.reporter, conclusion, &facts)
}
