//! A node under change: how to reach it and become root there, before and after the change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::cluster::{Name, Node};
use crate::error::{Error, Kind, Result};
use crate::node::probe::{self, Facts};
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Connection, Script};
use crate::secret::Secret;

/// How long the login by `ssh_config` is tried alone.
const HEAD_START: Duration = Duration::from_secs(1);

/// A node, as it was before the change.
pub struct Target<'a> {
    /// How to reach the node.
    pub access: &'a Access,
    /// Its data in the cluster, which the new system has.
    pub told: &'a Node,
    /// The present connection.
    pub connection: &'a Connection,
    /// Its probe before the change.
    pub facts: &'a Facts,
    /// How to become root.
    pub how: &'a Elevation,
    /// The password, for a node that begins to ask for it.
    pub password: Option<&'a Arc<Secret>>,
    /// Whether the new system refused root.
    pub gave_up: AtomicBool,
}

impl Target<'_> {
    pub fn node(&self) -> &Name {
        self.connection.node()
    }

    /// The ways to log in to the node under its new system.
    pub async fn ways(&self) -> Result<Vec<Access>> {
        self.access
            .following(self.node(), self.told, &self.facts.addresses)
            .await
    }

    /// Logs in by all ways at once, the one by `ssh_config` a moment earlier. The first success
    /// counts.
    pub async fn connect(&self, ways: &[Access]) -> Result<(Way, Connection)> {
        let logins = ways.iter().enumerate().map(async |(number, access)| {
            if number > 0 {
                tokio::time::sleep(HEAD_START).await;
            }
            (number, access, access.connect(self.node()).await)
        });
        let mut logins: FuturesUnordered<_> = logins.collect();
        let mut first = None;
        while let Some(ended) = logins.next().await {
            match ended {
                (number, access, Ok(connection)) => {
                    let access = access.clone();
                    return Ok((Way { number, access }, connection));
                }
                (0, _, Err(e)) => first = Some(e),
                (..) => {}
            }
        }
        Err(first.unwrap_or_else(|| Error::unexpected("no way to log in").on(self.node())))
    }

    /// Runs a script with arguments and input as root, in the former way or in that of the new
    /// system, and reads its answer.
    pub async fn as_root(
        &self,
        way: &Way,
        connection: &Connection,
        how: &Elevation,
        (script, args, input): (Script, &[&str], &[u8]),
    ) -> Result<Answer> {
        match connection.ask_root(how, script, args, input).await {
            Ok(told) => return Ok(told),
            Err(e) if e.kind != Kind::SudoRefused => return Err(e),
            Err(e) => tracing::debug!(node = %self.node(), "{e}"),
        }
        let (connection, how) = self.root_anew(way).await?;
        connection.ask_root(&how, script, args, input).await
    }

    /// A connection with a working way to become root.
    pub async fn root(&self, way: &Way, connection: Connection) -> Result<(Connection, Elevation)> {
        match connection.spawn_root(self.how, &["true"]).await {
            Ok(child) => {
                child.finish(b"").await?;
                Ok((connection, self.how.clone()))
            }
            Err(e) if e.kind != Kind::SudoRefused => Err(e),
            Err(_) => self.root_anew(way).await,
        }
    }

    /// Becomes root under the new system, whose way may differ. Tries once: more tries could lock
    /// the account.
    pub async fn root_anew(&self, way: &Way) -> Result<(Connection, Elevation)> {
        self.gave_up.store(true, Ordering::SeqCst);
        let password = self.password.cloned();
        let again = probe::probe(&way.access, self.node(), password).await?;
        let how = again.facts.elevation(self.password).ok_or_else(|| {
            Error::new(
                Kind::SudoRefused,
                "nobody can become root on the new system",
            )
            .on(self.node())
        })?;
        self.gave_up.store(false, Ordering::SeqCst);
        Ok((again.connection, how))
    }

    /// Whether the new system refused root. The node then goes back by itself.
    pub fn refused_root(&self) -> bool {
        self.gave_up.load(Ordering::SeqCst)
    }
}

/// A way to log in.
pub struct Way {
    /// Its number: 0 is the one by `ssh_config`.
    pub number: usize,
    /// How to reach the node by it.
    pub access: Access,
}
