//! A change of passwords that undoes itself unless confirmed.
//!
//! A process on the node, root since before the change, makes the change and waits. The tool proves
//! over a new connection that sudo still works, and then tells the process to keep the change.
//! Without that, or when the connection ends or time is over, the process restores everything.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::node::install;
use crate::node::ssh::bounded::Lines;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Connection, Script, within};

/// Writes password files like all others, and changes accounts with them.
pub const GUARD: Script = Script {
    name: "nixcfg-passwords",
    text: &[
        install::FUNCTIONS,
        include_str!("field.sh"),
        include_str!("guard.sh"),
    ],
    // Another run may hold the lock for 150 seconds.
    seconds: 300,
};

/// How long a node waits for the word to keep a change, in seconds.
const PATIENCE: &str = "120";
/// How long the proof may take: less, so that the node can still answer.
const PROOF_TIMEOUT: Duration = Duration::from_secs(90);

/// How to prove that the operator is not locked out.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By becoming root in this way.
    Root(Elevation),
    /// By a login alone: the operator's new password is not known here.
    Login,
}

/// Makes the change that `input` describes (see `guard.sh`), proves that the operator is not locked
/// out, and keeps it. On any error the node undoes it.
pub async fn change(
    access: &Access,
    connection: &Connection,
    how: &Elevation,
    proof: &Proof,
    input: &[u8],
) -> Result<()> {
    let node = connection.node();
    let mut child = connection
        .spawn_root_script(how, GUARD, &[PATIENCE])
        .await?;
    // If the script refuses, its message is the reason.
    within(node, GUARD.name, GUARD.within(), async {
        let _ = child.stdin.write_all(input).await;
        let _ = child.stdin.flush().await;
        Ok(())
    })
    .await?;
    let applied = async {
        let mut answer = Lines::new(node, &mut child.stdout);
        while let Some(line) = answer.next().await? {
            if line == "applied" {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if !within(node, GUARD.name, GUARD.within(), applied).await? {
        let ended = child.finish(b"").await?;
        let what = "the passwords could not be changed";
        return Err(failed(node, what, &ended.stderr));
    }
    let proved = match tokio::time::timeout(PROOF_TIMEOUT, prove(access, node, proof)).await {
        Ok(proved) => proved,
        Err(_) => Err(Error::unexpected("the proof took too long")),
    };
    match proved {
        Ok(()) => {
            let ended = child.finish(b"keep\n").await?;
            if ended.status.success() && ended.stdout.lines().last() == Some("kept") {
                Ok(())
            } else {
                Err(failed(
                    node,
                    "the change could not be concluded",
                    &ended.stderr,
                ))
            }
        }
        Err(error) => {
            let ended = child.finish(b"").await?;
            let what = format!(
                "sudo was not proved to work after the change: {}",
                error.what
            );
            let said = [error.output.unwrap_or_default(), ended.stderr].join("\n");
            Err(failed(node, &what, &said))
        }
    }
}

/// Logs in anew, and becomes root there.
async fn prove(access: &Access, node: &Name, proof: &Proof) -> Result<()> {
    let connection = access.connect(node).await?;
    let Proof::Root(how) = proof else {
        return Ok(());
    };
    let child = connection.spawn_root(how, &["true"]).await?;
    let ended = child.finish(b"").await?;
    if ended.status.success() {
        Ok(())
    } else {
        Err(Error::unexpected("root’s first command failed").saying(ended.stderr))
    }
}

fn failed(node: &Name, what: &str, said: &str) -> Error {
    Error::new(Exit::Partial, what).on(node).saying(said)
}
