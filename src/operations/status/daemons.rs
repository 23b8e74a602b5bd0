//! The state of Consul and Nomad on a node.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::{Cluster, Daemon, Name};
use crate::error::{Error, Result};
use crate::node::ssh::Connection;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::rollout::daemons;
use crate::rollout::guard::State;
use crate::rollout::quorum::Health;

/// The state of a daemon on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its unit.
    pub unit: String,
    /// Whether it runs.
    pub running: bool,
    /// The leader, as this node sees it.
    pub leader: Option<String>,
    /// The numbers of healthy servers and of all servers.
    pub servers: Option<(usize, usize)>,
    /// What is wrong with its servers, as this node sees them.
    pub trouble: Option<String>,
}

impl Agent {
    /// A daemon that does not run.
    pub fn stopped(unit: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            running: false,
            leader: None,
            servers: None,
            trouble: None,
        }
    }

    fn running(unit: &str, health: Result<&Health, &Error>) -> Self {
        let mut this = Self::stopped(unit);
        this.running = true;
        match health {
            Ok(health) => {
                this.leader = health.leader().map(str::to_owned);
                let well = health.servers.iter().filter(|server| server.healthy);
                this.servers = Some((well.count(), health.servers.len()));
                this.trouble = health.whole().err().map(|error| error.what);
            }
            Err(error) => this.trouble = Some(error.what.clone()),
        }
        this
    }

    /// What is wrong, in words.
    pub fn trouble(&self, of: Daemon) -> Option<String> {
        if !self.running {
            return Some(format!("{} does not run", of.title()));
        }
        let told = self.trouble.as_ref()?;
        Some(if told.starts_with("the servers") {
            told.replacen("the servers", &format!("{}’s servers", of.title()), 1)
        } else {
            told.clone()
        })
    }

    /// Its state in a few words.
    pub fn words(&self, of: Daemon) -> String {
        let title = of.title();
        match (self.running, &self.leader, self.servers) {
            (false, ..) => format!("{title} stopped"),
            (true, Some(leader), Some((well, all))) => {
                format!("{title} led by {leader}, {well}/{all} servers")
            }
            (true, ..) if self.trouble.is_some() => format!("{title} without a leader"),
            (true, ..) => format!("{title} runs"),
        }
    }
}

/// The daemons' states from systemd, which every user may ask.
pub fn units(cluster: &Cluster, told: &Answer) -> BTreeMap<Daemon, Agent> {
    let active: Vec<&str> = told.all("active").collect();
    let daemons = cluster.daemons().into_iter();
    daemons
        .map(|daemon| {
            let unit = daemon.place(cluster).unit.as_str();
            let mut agent = Agent::stopped(unit);
            agent.running = active.contains(&unit);
            (daemon, agent)
        })
        .collect()
}

/// Asks the daemons themselves, as root.
pub async fn look(
    cluster: &Cluster,
    node: &Name,
    connection: &Connection,
    how: &Elevation,
) -> Result<BTreeMap<Daemon, Agent>> {
    let seen = daemons::ask(cluster, node, connection, how).await?;
    let seen = seen.into_iter();
    Ok(seen
        .map(|(daemon, (_, state))| {
            let unit = daemon.place(cluster).unit.as_str();
            let title = daemon.title();
            let never = || Error::unexpected(format!("{title} has never had a leader"));
            let agent = match &state {
                State::Down => Agent::stopped(unit),
                State::Unformed => Agent::running(unit, Err(&never())),
                State::Up(health) => Agent::running(unit, health.as_ref()),
            };
            (daemon, agent)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::tests::example;

    fn health(second: bool) -> Health {
        let text = format!(
            r#"{{"Healthy": {second}, "FailureTolerance": 0, "Servers": [
                {{"Name": "alder", "Leader": true, "Healthy": true}},
                {{"Name": "cedar", "Leader": false, "Healthy": {second}}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_leader_and_the_servers_that_are_well_are_told() {
        let agent = Agent::running("consul.service", Ok(&health(true)));
        assert_eq!(
            agent.words(Daemon::Consul),
            "Consul led by alder, 2/2 servers"
        );
        assert_eq!(agent.trouble(Daemon::Consul), None);
        let agent = Agent::running("consul.service", Ok(&health(false)));
        assert_eq!(
            agent.words(Daemon::Consul),
            "Consul led by alder, 1/2 servers"
        );
        assert_eq!(
            agent.trouble(Daemon::Consul).unwrap(),
            "Consul’s servers are not healthy: cedar"
        );
    }

    #[test]
    fn a_daemon_that_runs_without_a_leader_is_not_well() {
        let error = Health::read("Consul", 500, b"No cluster leader").unwrap_err();
        let agent = Agent::running("consul.service", Err(&error));
        assert_eq!(agent.words(Daemon::Consul), "Consul without a leader");
        assert_eq!(
            agent.trouble(Daemon::Consul).unwrap(),
            "Consul’s servers have no leader"
        );
    }

    #[test]
    fn systemd_tells_everybody_what_runs_and_the_cluster_what_should() {
        let mut cluster = example();
        cluster.nomad.enable = false;
        let told = Answer::of(&["active consul.service".to_owned()]);
        let units = units(&cluster, &told);
        assert_eq!(units.len(), 1);
        assert_eq!(units[&Daemon::Consul].words(Daemon::Consul), "Consul runs");
    }
}
