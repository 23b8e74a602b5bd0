//! Restarting a node into its new system: drained in Nomad before, watched by
//! the node across the restart, and eligible for jobs again at the end, whatever
//! that end is.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;

use super::target::{Target, Way};
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::node::activation::outcome::Report;
use crate::node::activation::scripts::{DRAINED, HOLD, RESTART};
use crate::node::probe::Probed;
use crate::node::ssh::Connection;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::nomad;
use crate::nomad::drain;
use crate::operation::Operation;
use crate::uplink::api::Api;
use crate::uplink::reach::Reach;

/// How long a machine may take to go down and to come up again.
pub const RESTARTING: Duration = Duration::from_secs(600);
/// What draining takes beyond its deadline, with the questions before it.
const SLACK: Duration = Duration::from_secs(120);

/// How nodes may be restarted.
#[derive(Clone)]
pub struct Restarts {
    /// Nomad's API, where the cluster runs Nomad; or why it cannot be had.
    nomad: Option<Result<Api>>,
    /// Nomad's unit on the nodes.
    unit: String,
    /// How long jobs may take to leave a node.
    drain: Duration,
    reporter: Reporter,
}

impl Restarts {
    /// For the operation's cluster; no connection is made yet.
    pub fn of(operation: &Operation, drain: Duration) -> Self {
        let cluster = &operation.cluster;
        Self {
            nomad: cluster
                .nomad
                .enable
                .then(|| nomad::api(operation, &Reach::default())),
            unit: cluster.pki.nomad.unit.clone(),
            drain,
            reporter: operation.reporter.clone(),
        }
    }

    fn api(&self) -> Result<Option<Api>> {
        self.nomad.clone().transpose()
    }
}

/// What a restart has come to.
#[derive(Debug, Default)]
pub struct Restarting {
    /// By which name Nomad drained the node, where it did.
    pub drained: Option<String>,
    /// Whether the node has been told to restart.
    pub begun: bool,
}

/// Who restarts nodes, and for what: for Nomad and the node to tell.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The operator, as `user@machine`.
    pub who: &'a str,
    /// The operation.
    pub what: &'a str,
}

impl Restarts {
    /// Drains the node, where Nomad runs on it, and tells it to restart. Why
    /// it goes back instead, if it has to.
    pub async fn restart(
        &self,
        target: &Target<'_>,
        (way, connection, how): (&Way, &Connection, &Elevation),
        run: &str,
        asker: Asker<'_>,
        restarting: &mut Restarting,
    ) -> Result<Option<String>> {
        let held = self.drain + SLACK + RESTARTING;
        let seconds = held.as_secs().to_string();
        let args = [run, &seconds, &self.unit];
        let told = target
            .as_root(way, connection, how, (HOLD, &args, b""))
            .await?;
        let told = Answer::read(target.node(), HOLD.name, &told)?;
        let root = (way, connection, how);
        if told.one("unit") == "active"
            && let Err(error) = self.drain(target, root, asker, restarting).await
        {
            self.reporter.failure(&error.clone().on(target.node()));
            return Ok(Some(format!("it could not be drained: {}", error.what)));
        }
        self.reporter.step(target.node(), "restarting");
        let restarted = target
            .as_root(way, connection, how, (RESTART, &[run], b""))
            .await;
        // The answer may be lost with the connection: the next look tells.
        if let Err(e) = restarted {
            tracing::debug!(node = %target.node(), "the restart: {e}");
        }
        restarting.begun = true;
        Ok(None)
    }

    async fn drain(
        &self,
        target: &Target<'_>,
        (way, connection, how): (&Way, &Connection, &Elevation),
        asker: Asker<'_>,
        restarting: &mut Restarting,
    ) -> Result<()> {
        let Some(api) = self.api()? else {
            return Ok(());
        };
        let Some(client) = drain::find(&api, target.node()).await? else {
            return Ok(());
        };
        // Somebody wants it so, and it stays so: it is emptied, and not made eligible afterwards.
        let stays = !client.is_eligible() && restarting.drained.is_none();
        let doing = match stays {
            true => "draining in Nomad, where it stays ineligible as it was",
            false => "draining in Nomad",
        };
        self.reporter.step(target.node(), doing);
        if !stays {
            self.note_drain(target, (way, connection, how), asker)
                .await?;
            restarting.drained = Some(client.id.clone());
        }
        let why = format!("{} by {}", asker.what, asker.who);
        let tell = |what: String| self.reporter.step(target.node(), what);
        drain::drain(&api, &client, self.drain, &why, tell).await
    }

    /// Notes on the node that it is drained, and by whom: the next run makes it eligible if this one cannot.
    async fn note_drain(
        &self,
        target: &Target<'_>,
        (way, connection, how): (&Way, &Connection, &Elevation),
        asker: Asker<'_>,
    ) -> Result<()> {
        let since = time::OffsetDateTime::now_utc()
            .format(&time::format_description::well_known::Rfc3339)
            .map_err(|e| Error::unexpected(format!("no time of day: {e}")))?;
        let args = [since.as_str(), asker.who, asker.what];
        target
            .as_root(way, connection, how, (DRAINED, &args, b""))
            .await?;
        Ok(())
    }

    /// Lets Nomad place jobs on the node again.
    pub async fn undrain(
        &self,
        target: &Target<'_>,
        ended: Result<Report>,
        id: &str,
    ) -> Result<Report> {
        let report = match ended {
            Ok(report) => report,
            Err(error) => {
                let what = "is still drained in Nomad: running again makes it eligible";
                self.reporter.warning(Some(target.node()), what);
                return Err(error);
            }
        };
        let eligible = async {
            if let Some(api) = self.api()? {
                drain::make_eligible(&api, id).await?;
            }
            let ways = target.ways().await?;
            let (way, connection) = target.connect(&ways).await?;
            target
                .as_root(&way, &connection, target.how, (DRAINED, &[], b""))
                .await
        };
        Ok(match eligible.await {
            Ok(_) => report,
            Err(error) => {
                let error = error.on(target.node());
                self.reporter
                    .failure(&error.help("running again makes it eligible"));
                report.still_drained()
            }
        })
    }
}

/// Finishes what an earlier run did not: nodes that it drained, and that
/// nobody works on any more, are made eligible again.
pub async fn finish_drains(
    operation: &Operation,
    probed: &mut BTreeMap<Name, Probed>,
) -> Result<()> {
    let drained: Vec<Name> = probed
        .iter()
        .filter(|(_, p)| p.facts.drained.is_some())
        .map(|(name, _)| name.clone())
        .collect();
    if drained.is_empty() {
        return Ok(());
    }
    let restarts = Restarts::of(operation, Duration::ZERO);
    let mut tasks = JoinSet::new();
    for name in drained {
        let Some(p) = probed.get_mut(&name) else {
            continue;
        };
        p.facts.drained = None;
        let (connection, how) = (p.connection.clone(), operation.elevation(p)?);
        let restarts = restarts.clone();
        tasks.spawn(async move { finish(&restarts, &connection, &how).await });
    }
    let mut failed = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let finished = joined.map_err(|e| Error::unexpected(format!("a node was lost: {e}")))?;
        failed.extend(finished.err());
    }
    match failed.is_empty() {
        true => Ok(()),
        false => {
            for error in &failed {
                operation.reporter.failure(error);
            }
            let what = "nodes that an earlier run drained cannot be made eligible in Nomad; nothing was changed";
            Err(Error::new(Exit::Probe, what)
                .help("once they are, by hand: remove /var/lib/nixcfg/drained on them"))
        }
    }
}

async fn finish(restarts: &Restarts, connection: &Connection, how: &Elevation) -> Result<()> {
    let node = connection.node();
    restarts.reporter.step(
        node,
        "making it eligible in Nomad: an earlier run drained it",
    );
    let eligible = async {
        if let Some(api) = restarts.api()?
            && let Some(client) = drain::find(&api, node).await?
        {
            drain::make_eligible(&api, &client.id).await?;
        }
        Ok(())
    };
    eligible.await.map_err(|e: Error| e.on(node))?;
    connection.run_root_ok(how, DRAINED, &[], b"").await?;
    Ok(())
}
