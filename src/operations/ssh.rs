//! `ssh`: a login on one node, as every operation logs in.

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

/// Becomes `ssh`; comes back only where that cannot be started.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start(&args.cluster, invocation).await?;
    operation.select(&[args.node.to_string()])?;
    let mut options = operation.access.options(&args.node);
    if let Some(seconds) = args.cluster.login.login_timeout {
        options.extend(Patience::seconds(seconds).options());
    }
    // Its private folder goes before this process becomes another.
    drop(operation);
    reporter.finish();
    let mut ssh = std::process::Command::new("ssh");
    ssh.args(arguments(options, args.node.as_str()))
        .args(&args.command);
    let error = ssh.exec();
    Err(Error::usage(format!("ssh cannot be started: {error}")).help("install OpenSSH's client"))
}

/// What ssh is called with before the command. `--` ends its options: it reads them after
/// the host as well, and the command may begin with one.
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
        // `ssh -V` would tell its version; `ssh -G` prints what holds for the host.
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("hostname alder"), "{told}");
    }
}
