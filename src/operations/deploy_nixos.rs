//! `deploy-nixos`: brings nodes to the NixOS configuration of the flake.

use crate::deployment::{carry_out, prepare};
use crate::error::Result;
use crate::operation::{Invocation, Operation};

pub use crate::deployment::Args;

/// Runs `deploy-nixos`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let _reporter = invocation.reporter.clone();
    args.check()?;
    let mut operation = Operation::start(args.cluster(), invocation).await?;
    let prepared = prepare(args, &mut operation).await?;
    if args.plan {
        prepared.planned(args, &operation)
    } else {
        prepared.possible(&operation.reporter)?;
        carry_out(args, &operation, prepared).await
    }
}
