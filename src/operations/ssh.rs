//! `ssh`: logs in to one node, as every operation does.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use crate::cluster::Name;
use crate::error::{Error, Result};
use crate::node::ssh::Patience;
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

/// Executes `ssh` in place of this process; returns only if that fails.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start(&args.cluster, invocation).await?;
    operation.select(&[args.node.to_string()])?;
    let mut options = operation.access.options(&args.node);
    if let Some(seconds) = args.cluster.login.login_timeout {
        options.extend(Patience::seconds(seconds).options());
    }
    // Removes the private folder before this process is replaced.
    drop(operation);
    reporter.finish();
    let mut ssh = std::process::Command::new("ssh");
    ssh.args(arguments(options, args.node.as_str()))
        .args(&args.command);
    let error = ssh.exec();
    Err(Error::usage(format!("ssh cannot be started: {error}")).help("install OpenSSH's client"))
}

/// The arguments of ssh before the command. `--` ends its options: ssh reads options after the host
/// as well, and the command may begin with one.
fn arguments(mut options: Vec<OsString>, host: &str) -> Vec<OsString> {
    options.extend(["--", host].map(OsString::from));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_begins_with_a_dash_is_the_nodes() {
        let output = std::process::Command::new("ssh")
            .args(arguments(vec!["-G".into()], "alder"))
            .arg("-V")
            .output()
            .unwrap();
        // `ssh -V` would print its version; `ssh -G` prints the host's configuration.
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("hostname alder"), "{told}");
    }
}
