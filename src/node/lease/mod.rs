//! Leases: one operator at a time on a node and on a cluster.
//!
//! A lease is a file in the node's `/run`. A process there renews it while signs of life come over
//! the connection. It ends with its holder, with the connection's silence, and with a restart of
//! the node.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use crate::error::{Error, Exit, Kind, Result};
use crate::nix::store::StorePath;
use crate::node::probe::{Holder, LEASE_AGE};
use crate::node::ssh::bounded::Lines;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script, at_most, named, within};

/// The functions that read what is recorded of leases on a node.
pub const RECORD: &str = include_str!("record.sh");

const LEASE: Script = Script {
    name: "nixcfg-lease",
    text: &[RECORD, include_str!("lease.sh")],
    seconds: MINUTE,
};

/// The pause between two signs of life.
const BEAT: Duration = Duration::from_secs(10);
/// How long a node waits for one.
const SILENCE: Duration = Duration::from_secs(40);
/// How long a node may take to release a lease.
const LET_GO: Duration = Duration::from_secs(3);

/// The object of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The node alone.
    Node,
    /// The cluster; the node is one of the keepers of its lease.
    Cluster,
}

impl Scope {
    const fn word(self) -> &'static str {
        match self {
            Scope::Node => "node",
            Scope::Cluster => "cluster",
        }
    }
}

/// A run's claim to leases.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Unique for each run.
    pub id: String,
    /// The operator, as `user@machine`.
    pub who: String,
    /// The operation.
    pub what: &'static str,
    /// Whether to take leases that somebody else holds.
    pub steal: bool,
}

/// Leases held on one node. Dropping this releases them.
#[derive(Debug)]
pub struct Lease {
    beat: JoinHandle<()>,
    letting_go: Option<tokio::sync::oneshot::Sender<()>>,
    /// The system that the node ran when the lease was taken.
    pub current: Option<StorePath>,
    /// The newest generation of its profile at that time.
    pub profile: Option<StorePath>,
}

/// The loss of leases that were held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Somebody took one of them; the node releases the others too.
    Taken(Scope, String),
    /// The connection to the node ended: they expire within a minute.
    Unheard,
}

impl Loss {
    /// Reads the line that `lease.sh` ends with.
    fn read(line: &str) -> Self {
        let taken = line.strip_prefix("lost ");
        match taken.and_then(|rest| rest.split_once(" to ")) {
            Some(("node", who)) => Self::Taken(Scope::Node, who.to_owned()),
            Some(("cluster", who)) => Self::Taken(Scope::Cluster, who.to_owned()),
            _ => Self::Unheard,
        }
    }
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Answer {
    /// The run holds them.
    Taken(Lease),
    /// Somebody else holds the one on the node or the cluster.
    Held(Scope, Holder),
}

/// Claims leases on a node, all of them or none.
pub async fn take(
    connection: &Connection,
    how: &Elevation,
    claim: &Claim,
    from: &str,
    scopes: &[Scope],
    lost: impl FnOnce(Loss) + Send + 'static,
) -> Result<Answer> {
    let node = connection.node();
    let steal = if claim.steal { "steal" } else { "keep" };
    let args = named([
        ("id", &claim.id),
        ("how", steal),
        ("who", &claim.who),
        ("from", from),
        ("what", claim.what),
        ("silence", &SILENCE.as_secs().to_string()),
        ("age", &LEASE_AGE.to_string()),
    ]);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.push("--");
    args.extend(scopes.iter().map(|scope| scope.word()));
    let child = connection.spawn_root_script(how, LEASE, &args).await?;
    let (mut stdin, stdout, ended) = child.into_parts();
    let mut answer = Lines::new(node, stdout);
    let mut told = Vec::new();
    let asked = async {
        while let Some(line) = answer.next().await? {
            if line == "taken" {
                return Ok(true);
            }
            told.push(line);
        }
        Ok(false)
    };
    let taken = within(node, LEASE.name, LEASE.within(), asked).await?;
    let value = |key: &str| {
        let lines = told.iter().filter_map(|line| line.split_once(' '));
        lines
            .clone()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.to_owned())
    };
    if !taken {
        let scope = match value("held").as_deref() {
            Some("node") => Scope::Node,
            Some("cluster") => Scope::Cluster,
            _ => {
                let said = ended.last_words().await;
                return Err(
                    Error::new(Exit::Probe, "the lease on it could not be taken")
                        .on(node)
                        .saying(said),
                );
            }
        };
        return Ok(Answer::Held(scope, holder(&told)));
    }
    let (letting_go, mut asked) = tokio::sync::oneshot::channel();
    let beat = tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {
                    if stdin.write_all(b".").await.is_err() {
                        break;
                    }
                }
                line = answer.next() => {
                    lost(Loss::read(&line.ok().flatten().unwrap_or_default()));
                    break;
                }
                _ = &mut asked => break,
            }
        }
        drop((stdin, answer));
        let _ = tokio::time::timeout(at_most("letting go", LET_GO), ended.last_words()).await;
    });
    Ok(Answer::Taken(Lease {
        beat,
        letting_go: Some(letting_go),
        current: value("current").and_then(|path| path.parse().ok()),
        profile: value("profile").and_then(|path| path.parse().ok()),
    }))
}

pub(crate) fn holder(told: &[String]) -> Holder {
    let its = |key: &str| {
        told.iter()
            .filter_map(|line| line.strip_prefix("its ")?.split_once(' '))
            .find(|(k, _)| *k == key)
            .map_or_else(|| "?".to_owned(), |(_, value)| value.to_owned())
    };
    Holder {
        who: its("who"),
        from: its("from"),
        what: its("for"),
        since: its("since"),
    }
}

impl Lease {
    /// Releases them, and waits for the node to do so.
    pub async fn release(mut self) {
        if let Some(letting_go) = self.letting_go.take() {
            let _ = letting_go.send(());
        }
        let _ = (&mut self.beat).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

/// The error of a lease that somebody else holds.
pub fn held(scope: Scope, holder: &Holder) -> Error {
    let what = match scope {
        Scope::Node => "the node",
        Scope::Cluster => "the cluster",
    };
    Error::new(Kind::Held, format!("{what} is held by {holder}"))
        .help("wait for them, or take it with --steal; a lease ends within a minute of its holder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_was_taken_is_told_from_a_node_that_is_not_heard() {
        let taken = Loss::read("lost cluster to bob@desk");
        assert_eq!(taken, Loss::Taken(Scope::Cluster, "bob@desk".into()));
        for line in ["", "lost", "lost all to bob", "end"] {
            assert_eq!(Loss::read(line), Loss::Unheard, "{line}");
        }
    }

    #[test]
    fn the_holder_of_a_lease_is_named_with_when_from_where_and_for_what() {
        let told = [
            "held node",
            "its id x",
            "its who bob@desk",
            "its from 192.0.2.9",
            "its for deploy-nixos",
            "its since 2026-01-01T00:00:00Z",
        ]
        .map(String::from);
        let error = held(Scope::Node, &holder(&told));
        assert_eq!(
            error.what,
            "the node is held by bob@desk (from 192.0.2.9, since 2026-01-01T00:00:00Z, for deploy-nixos)"
        );
        assert!(error.help.unwrap_or_default().contains("--steal"));
    }
}
