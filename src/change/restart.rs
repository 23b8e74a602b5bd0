//! Restarts a node into its new system: drains it in Nomad before, and makes it eligible for jobs
//! again at any end. The node watches itself across the restart.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;

use super::leases::Leases;
use super::target::{Target, Way};
use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::node::activation::outcome::Report;
use crate::node::activation::scripts::{DRAINED, EXTEND, RESTART};
use crate::node::each::{ALL, each};
use crate::node::probe::Probed;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, at_most, named};
use crate::nomad;
use crate::nomad::drain;
use crate::operation::Operation;
use crate::uplink::api::Api;
use crate::uplink::reach::Reach;

/// How long a machine may take to restart.
const RESTARTING: Duration = Duration::from_secs(600);
/// How long draining may take beyond its deadline, requests included.
const SLACK: Duration = Duration::from_secs(120);

/// How often a node is told to restart: the first time may be lost with the connection.
const TRIES: u32 = 3;

/// How long to wait for a node that restarts, after what comes `before`.
pub fn of_a_restart(before: Duration) -> Duration {
    at_most("a restart", before + RESTARTING)
}

/// How nodes may be restarted.
#[derive(Clone)]
pub struct Restarts {
    /// Nomad's API or the error of it; none if the cluster does not run Nomad.
    nomad: Option<Result<Api>>,
    /// Nomad's unit on the nodes.
    unit: String,
    /// How long jobs may take to leave a node.
    drain: Duration,
    reporter: Reporter,
}

impl Restarts {
    /// Restarts in the operation's cluster. Makes no connection yet.
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

/// The state of a restart.
#[derive(Debug, Default)]
pub struct Restarting {
    /// Nomad's ID of the node, if it was drained.
    pub drained: Option<String>,
    /// How often the node was told to restart.
    pub told: u32,
}

impl Restarting {
    /// Whether the node was told to restart.
    pub fn begun(&self) -> bool {
        self.told > 0
    }
}

/// Who restarts nodes, and for what, as Nomad and the node record it.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The operator, as `user@machine`.
    pub who: &'a str,
    /// The operation.
    pub what: &'a str,
    /// Its leases, which end with a node's restart.
    pub leases: &'a Leases,
}

impl Restarts {
    /// Drains the node, if Nomad runs on it, and tells it to restart. Returns why it has to go back
    /// instead, if it does.
    pub async fn restart(
        &self,
        target: &Target<'_>,
        (way, connection, how): (&Way, &Connection, &Elevation),
        run: &str,
        asker: Asker<'_>,
        restarting: &mut Restarting,
    ) -> Result<Option<String>> {
        // Each time extends the node's wait for its confirmation.
        if restarting.told >= TRIES {
            return Ok(Some("it does not restart".to_owned()));
        }
        let held = of_a_restart(self.drain + SLACK);
        let seconds = held.as_secs().to_string();
        let args = named([("run", run), ("seconds", &seconds), ("unit", &self.unit)]);
        let args = args.each_ref().map(String::as_str);
        let told = target
            .as_root(way, connection, how, (EXTEND, &args, b""))
            .await?;
        let told = told.did(target.node(), EXTEND.name, ("extended", run))?;
        let root = (way, connection, how);
        if told.one("unit") == "active"
            && let Err(error) = self.drain(target, root, asker, restarting).await
        {
            self.reporter.failure(&error.clone().on(target.node()));
            return Ok(Some(format!("it could not be drained: {}", error.what)));
        }
        self.reporter.step(target.node(), "restarting");
        asker.leases.ends(target.node());
        let restarted = target
            .as_root(way, connection, how, (RESTART, &[run], b""))
            .await;
        // The connection may be lost with the answer; the next look decides.
        if let Err(e) = restarted {
            tracing::debug!(node = %target.node(), "the restart: {e}");
        }
        restarting.told += 1;
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
        // Somebody else made it ineligible, so it stays so: it is emptied, but not made eligible
        // afterwards.
        let stays = !client.is_eligible() && restarting.drained.is_none();
        let doing = if stays {
            "draining in Nomad, where it stays ineligible as it was"
        } else {
            "draining in Nomad"
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

    /// Notes on the node that it is drained, and by whom, so that the next run can make it
    /// eligible.
    async fn note_drain(
        &self,
        target: &Target<'_>,
        (way, connection, how): (&Way, &Connection, &Elevation),
        asker: Asker<'_>,
    ) -> Result<()> {
        let since = time::OffsetDateTime::now_utc()
            .format(&time::format_description::well_known::Rfc3339)
            .map_err(|e| Error::unexpected(format!("no time of day: {e}")))?;
        let args = named([("since", &since), ("who", asker.who), ("what", asker.what)]);
        let args = args.each_ref().map(String::as_str);
        let told = target
            .as_root(way, connection, how, (DRAINED, &args, b""))
            .await?;
        told.did(target.node(), DRAINED.name, ("drained", "yes"))
            .map(drop)
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
            let told = target
                .as_root(&way, &connection, target.how, (DRAINED, &[], b""))
                .await?;
            told.did(target.node(), DRAINED.name, ("drained", "no"))
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

/// Makes nodes eligible that an earlier run drained and nobody works on any more.
pub async fn finish_drains(
    operation: &Operation,
    probed: &mut BTreeMap<Name, Probed>,
) -> Result<()> {
    let mut drained = BTreeMap::new();
    for (name, p) in probed {
        if p.facts.drained.take().is_some() {
            drained.insert(name, (operation.elevation(p)?, &p.connection));
        }
    }
    if drained.is_empty() {
        return Ok(());
    }
    let restarts = &Restarts::of(operation, Duration::ZERO);
    let finished = each(ALL, drained, async |_, (how, connection)| {
        finish(restarts, connection, &how).await
    });
    let failed = finished.filter_map(async |(_, finished)| finished.err());
    let failed: Vec<Error> = failed.collect().await;
    if failed.is_empty() {
        Ok(())
    } else {
        operation.reporter.failures(&failed);
        let what = "nodes that an earlier run drained cannot be made eligible in Nomad; nothing was changed";
        Err(Error::new(Exit::Probe, what)
            .help("once they are, by hand: remove /var/lib/nixcfg/drained on them"))
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
    let told = connection.ask_root(how, DRAINED, &[], b"").await?;
    told.did(node, DRAINED.name, ("drained", "no")).map(drop)
}
