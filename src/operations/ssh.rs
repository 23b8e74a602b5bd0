//! `ssh`: a login on one node, as every operation logs in.

use std::os::unix::process::CommandExt;

use crate::cluster::Name;
use crate::error::{Error, Result};
use crate::operation::{ClusterArgs, Invocation, Operation};

/// The arguments of `ssh`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Exits with the exit code of the node's shell or command.")]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The node
    node: Name,

    /// A command instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Becomes `ssh`; comes back only where that cannot be started.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start(&args.cluster, invocation).await?;
    operation.select(&[args.node.to_string()])?;
    let options = operation.access.options();
    // Its private folder goes before this process becomes another.
    drop(operation);
    reporter.finish();
    let mut ssh = std::process::Command::new("ssh");
    ssh.args(options)
        .arg(args.node.as_str())
        .args(&args.command);
    let error = ssh.exec();
    Err(Error::usage(format!("ssh cannot be started: {error}")).help("install OpenSSH's client"))
}
