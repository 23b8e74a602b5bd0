//! Restarting a node into its new system: drained in Nomad before, watched by
//! the node across the restart, and eligible for jobs again at the end, whatever
//! that end is.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::outcome::Report;
use super::watched::{Change, GOING_BACK, Tried, Way};
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::node::probe::Probed;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, Script};
use crate::nomad;
use crate::nomad::drain;
use crate::operation::Operation;
use crate::uplink::api::Api;
use crate::uplink::reach::Reach;

pub(super) const HOLD: Script = Script {
    name: "nixcfg-hold",
    text: concat!(include_str!("way-back.sh"), include_str!("hold.sh")),
};
pub(super) const RESTART: Script = Script {
    name: "nixcfg-restart",
    text: concat!(include_str!("way-back.sh"), include_str!("restart.sh")),
};
const DRAINED: Script = Script {
    name: "nixcfg-drained",
    text: include_str!("drained.sh"),
};

/// How long a machine may take to go down and to come up again.
const RESTARTING: Duration = Duration::from_secs(600);
/// What draining takes beyond its deadline, with the questions before it.
const SLACK: Duration = Duration::from_secs(120);

/// How nodes may be restarted.
#[derive(Debug, Clone)]
pub struct Restarts {
    /// Nomad's API, where the cluster runs Nomad; or why it cannot be had.
    nomad: Option<Result<Api>>,
    /// Nomad's unit on the nodes.
    unit: String,
    /// How long jobs may take to leave a node.
    drain: Duration,
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
        }
    }

    fn api(&self) -> Result<Option<Api>> {
        self.nomad.clone().transpose()
    }
}

impl Change<'_> {
    /// Drains the node, where Nomad runs on it, and tells it to restart. Why
    /// it goes back instead, if it has to.
    pub(super) async fn restart(
        &self,
        restarts: &Restarts,
        way: &Way,
        root: (&Connection, &Elevation),
        run: &str,
        tried: &mut Tried,
    ) -> Result<Option<String>> {
        let (connection, how) = root;
        let held = restarts.drain + SLACK + RESTARTING;
        let seconds = held.as_secs().to_string();
        let args = [run, &seconds, &restarts.unit];
        let told = self
            .as_root(way, connection, how, (HOLD, &args, b""), tried)
            .await?;
        if told.trim() == "active"
            && let Err(error) = self.drain(restarts, way, root, tried).await
        {
            self.reporter.failure(&error.clone().on(self.node()));
            return Ok(Some(format!("it could not be drained: {}", error.what)));
        }
        self.reporter.step(self.node(), "restarting");
        let restarted = self
            .as_root(way, connection, how, (RESTART, &[run], b""), tried)
            .await;
        // The answer may be lost with the connection: the next look tells.
        if let Err(e) = restarted {
            tracing::debug!(node = %self.node(), "the restart: {e}");
        }
        tried.restarting = true;
        tried.until = Instant::now() + RESTARTING + self.watch.timeout + GOING_BACK;
        Ok(None)
    }

    async fn drain(
        &self,
        restarts: &Restarts,
        way: &Way,
        root: (&Connection, &Elevation),
        tried: &mut Tried,
    ) -> Result<()> {
        let Some(api) = restarts.api()? else {
            return Ok(());
        };
        let Some(client) = drain::find(&api, self.node()).await? else {
            return Ok(());
        };
        if !client.is_eligible() && tried.drained.is_none() {
            // Somebody wants it so; it stays so.
            self.reporter
                .step(self.node(), "is not eligible in Nomad already");
            return Ok(());
        }
        self.reporter.step(self.node(), "draining in Nomad");
        let since = time::OffsetDateTime::now_utc()
            .format(&time::format_description::well_known::Rfc3339)
            .map_err(|e| Error::unexpected(format!("no time of day: {e}")))?;
        let args = [since.as_str(), &self.watch.who, self.watch.what];
        self.as_root(way, root.0, root.1, (DRAINED, &args, b""), tried)
            .await?;
        tried.drained = Some(client.id.clone());
        let why = format!("{} by {}", self.watch.what, self.watch.who);
        drain::drain(&api, &client, restarts.drain, &why).await
    }

    /// Takes the leases again that ended with the restart: the run goes on with other nodes.
    pub(super) async fn lease_again(&self) {
        let taken = async {
            let ways = self.ways().await?;
            let (_, connection) = self.connect(&ways).await?;
            self.watch.leases.again(&connection, self.how).await
        };
        if let Err(error) = taken.await {
            let what = format!(
                "its lease ended with its restart, and could not be taken again: {}",
                error.what
            );
            self.reporter.warning(Some(self.node()), what);
        }
    }

    /// Lets Nomad place jobs on the node again.
    pub(super) async fn undrain(
        &self,
        ended: Result<Report>,
        id: &str,
        restarts: &Restarts,
    ) -> Result<Report> {
        let report = match ended {
            Ok(report) => report,
            Err(error) => {
                let what = "is still drained in Nomad: running again makes it eligible";
                self.reporter.warning(Some(self.node()), what);
                return Err(error);
            }
        };
        let eligible = async {
            if let Some(api) = restarts.api()? {
                drain::make_eligible(&api, id).await?;
            }
            let ways = self.ways().await?;
            let (way, connection) = self.connect(&ways).await?;
            let mut tried = Tried::new(Duration::ZERO);
            self.as_root(&way, &connection, self.how, (DRAINED, &[], b""), &mut tried)
                .await
        };
        Ok(match eligible.await {
            Ok(_) => report,
            Err(error) => {
                let error = error.on(self.node());
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
        let (restarts, reporter) = (restarts.clone(), operation.reporter.clone());
        tasks.spawn(async move { finish(&restarts, &reporter, &connection, &how).await });
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

async fn finish(
    restarts: &Restarts,
    reporter: &Reporter,
    connection: &Connection,
    how: &Elevation,
) -> Result<()> {
    let node = connection.node();
    reporter.step(
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
