//! `deploy-nixos`: brings nodes to the NixOS configuration of the flake.

use crate::deployment::{carry_out, prepare};
use crate::error::Result;
use crate::event::Reporter;
use crate::operation::Operation;
use crate::secret::Secret;

pub use crate::deployment::Args;

/// Runs `deploy-nixos`.
pub async fn run(args: &Args, reporter: Reporter, password: Option<Secret>) -> Result<()> {
    args.check()?;
    let mut operation = Operation::start(args.cluster(), reporter.clone(), password).await?;
    let prepared = prepare(args, &mut operation).await?;
    match args.plan {
        true => prepared.planned(args, &operation),
        false => carry_out(args, &operation, prepared).await,
    }
}
