//! A node during an operation on the PKI: its login, its files, its ports.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::Year;
use super::files::{self, Wanted};
use super::layout::PairId;
use super::live::{Answer, Call, Caller, Look, Port, Tunnels};
use super::node::{self, Action, State};
use super::stored::Stored;
use super::x509::{Authority, Certificate, Key};
use crate::cluster::Daemon;
use crate::cluster::{Cluster, Name, Node, Role};
use crate::error::{Error, Exit, Result};
use crate::node::install::{self, Manifest};
use crate::node::probe::Probed;
use crate::node::ssh::Connection;
use crate::node::ssh::elevate::Elevation;
use crate::operation::Operation;
use crate::rollout::quorum::{self, Health};
use crate::uplink::{Failure, api};

/// The object of an operation.
pub struct Work {
    pub cluster: Arc<Cluster>,
    /// The content of the store.
    pub stored: Stored,
    /// The year of the wanted certificates.
    pub year: Year,
}

/// A usable node.
pub struct Member {
    pub name: Name,
    /// Its data in the cluster.
    pub node: Node,
    probed: Probed,
    how: Elevation,
    tunnels: Tunnels,
}

impl Member {
    /// The connection to it.
    pub fn connection(&self) -> &Connection {
        &self.probed.connection
    }

    /// Makes a member of a probed node.
    pub fn new(operation: &Operation, name: &Name, probed: Probed) -> Result<Self> {
        let node = operation.cluster.nodes.get(name).cloned();
        let node =
            node.ok_or_else(|| Error::unexpected("is not a node of the cluster").on(name))?;
        let how = operation.elevation(&probed)?;
        let tunnels = Tunnels::new(
            probed.connection.clone(),
            operation.access.folder().to_owned(),
        );
        Ok(Self {
            name: name.clone(),
            node,
            probed,
            how,
            tunnels,
        })
    }

    /// Whether it is a server.
    pub fn serves(&self) -> bool {
        self.node.role == Role::Server
    }

    /// Installs the files of `daemons`, and returns the paths that changed.
    pub async fn install(&self, work: &Work, daemons: &[Daemon]) -> Result<BTreeSet<String>> {
        let mut manifest = Manifest::new();
        for daemon in daemons {
            files::manifest(
                &work.cluster,
                *daemon,
                work.year,
                &self.name,
                &work.stored,
                &mut manifest,
            )?;
        }
        let report = install::install(&self.probed.connection, &self.how, &manifest).await?;
        Ok(report.touched().map(str::to_owned).collect())
    }

    /// Reads its files and units of `daemons`.
    pub async fn state(&self, work: &Work, daemons: &[Daemon]) -> Result<State> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for daemon in daemons {
            wanted.extend(self.wanted(work, *daemon)?);
        }
        let units: Vec<&str> = daemons
            .iter()
            .map(|daemon| daemon.place(&work.cluster).unit.as_str())
            .collect();
        State::read(
            &self.probed.connection,
            &self.how,
            &units,
            &wanted.iter().collect::<Vec<_>>(),
        )
        .await
    }

    /// The files that a daemon should have there.
    pub fn wanted(&self, work: &Work, daemon: Daemon) -> Result<Vec<Wanted>> {
        files::wanted(&work.cluster, daemon, work.year, &self.name, &work.stored)
    }

    /// The certificate that a daemon's agent should serve there.
    pub fn certificate<'a>(&self, work: &'a Work, daemon: Daemon) -> Option<&'a Certificate> {
        let pair = PairId::of_node(&work.cluster, daemon, work.year, &self.name);
        work.stored.held(&pair).certificates.first()
    }

    /// Makes a daemon use its files.
    pub async fn act(&self, work: &Work, daemon: Daemon, action: Action) -> Result<()> {
        node::act(
            &self.probed.connection,
            &self.how,
            action,
            &daemon.place(&work.cluster).unit,
        )
        .await
    }

    /// The end of a daemon's log.
    pub async fn log(&self, work: &Work, daemon: Daemon) -> Result<String> {
        let unit = &daemon.place(&work.cluster).unit;
        node::log(&self.probed.connection, &self.how, unit).await
    }

    /// Looks at one port as the year's operator.
    pub async fn look(&self, work: &Work, port: &Port) -> Result<Look> {
        self.tunnels
            .look(
                &work.cluster,
                &self.name,
                port,
                &operator(work, port.daemon)?,
            )
            .await
    }

    /// What is wrong with the first of a daemon's ports that serves the wrong certificate or trusts
    /// the wrong authorities; none if all is as wanted.
    pub async fn lacking(&self, work: &Work, daemon: Daemon) -> Result<Option<String>> {
        let wanted = self.certificate(work, daemon);
        for port in Port::of(&work.cluster, daemon, &self.node) {
            let look = self.look(work, &port).await?;
            if let Some(failure) = look.trouble {
                return Ok(Some(Error::from(failure).what));
            }
            if look.served.as_ref() != wanted {
                return Ok(Some(format!("{port} serves another certificate")));
            }
        }
        // During a replacement there are two authorities, and both must be trusted.
        if work.stored.trusted(daemon).len() > 1 {
            let now = time::OffsetDateTime::now_utc();
            let both = work.stored.authorities(daemon).into_iter();
            // Nobody accepts what an expired authority signed.
            for authority in both.filter(|one| one.certificate.not_after > now) {
                if let Some(failure) = self.takes(work, daemon, &authority).await? {
                    return Ok(Some(format!(
                        "{} does not trust {}: {}",
                        daemon.title(),
                        authority.certificate.subject,
                        failure.error().what
                    )));
                }
            }
        }
        // A retired authority must not be trusted any more.
        if let Some(retired) = work.stored.retired(daemon)
            && self.takes(work, daemon, &retired).await?.is_none()
        {
            return Ok(Some(format!(
                "{} still trusts {}",
                daemon.title(),
                retired.certificate.subject
            )));
        }
        Ok(None)
    }

    /// How a node differs from the store: in its files of `daemons`, or in what `daemon` serves and
    /// trusts. None if it does not.
    pub async fn behind(
        &self,
        work: &Work,
        daemon: Daemon,
        daemons: &[Daemon],
    ) -> Result<Option<String>> {
        let state = self.state(work, daemons).await?;
        for of in daemons {
            let wanted = self.wanted(work, *of)?;
            for file in &wanted {
                if state
                    .file(file.path.as_str())
                    .is_none_or(|found| found.content != file.content)
                {
                    return Ok(Some(format!("{} is not the store’s", file.path)));
                }
            }
            let unit = &of.place(&work.cluster).unit;
            if state.newer(&wanted, &state.unit(unit)) {
                return Ok(Some(format!(
                    "{unit} does not run with the files that it reads at its start"
                )));
            }
        }
        self.lacking(work, daemon).await
    }

    /// Why a daemon's agent refuses a certificate by `authority`; none if it accepts it.
    pub async fn takes(
        &self,
        work: &Work,
        daemon: Daemon,
        authority: &Authority<'_>,
    ) -> Result<Option<Failure>> {
        let key = Key::generate()?;
        let spec = super::spec::Spec::of(&work.cluster, &PairId::operator(daemon, work.year));
        let certificate = authority.sign(&spec, &key, time::OffsetDateTime::now_utc())?;
        let caller = Caller {
            trusted: work.stored.trusted(daemon),
            certificate: &certificate,
            key: &key,
        };
        let port = Port::api(&work.cluster, daemon);
        Ok(self
            .tunnels
            .look(&work.cluster, &self.name, &port, &caller)
            .await?
            .trouble)
    }

    /// The health of a daemon's servers, asked on this node.
    pub async fn health(&self, work: &Work, daemon: Daemon) -> Result<Health> {
        let call = Call {
            method: Method::GET,
            path: quorum::HEALTH,
            body: Bytes::new(),
            with_token: true,
        };
        let answer = self.call(work, daemon, call).await?;
        Health::read(daemon.title(), answer.status, &answer.body).map_err(|e| e.on(&self.name))
    }

    /// Whether a daemon's server there was ever part of a quorum.
    pub async fn formed(&self, work: &Work, daemon: Daemon) -> Result<bool> {
        let call = Call {
            method: Method::GET,
            path: quorum::PEERS,
            body: Bytes::new(),
            with_token: true,
        };
        let answer = self.call(work, daemon, call).await?;
        Ok(!quorum::never_formed(answer.status, &answer.body))
    }

    /// Sends a PUT request to a daemon's API there.
    pub async fn put(&self, work: &Work, daemon: Daemon, path: &str, body: Vec<u8>) -> Result<()> {
        let answer = self
            .call(
                work,
                daemon,
                Call {
                    method: Method::PUT,
                    path,
                    body: body.into(),
                    with_token: true,
                },
            )
            .await?;
        let status = StatusCode::from_u16(answer.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&answer.body);
        let with_token = api::token(daemon).is_some();
        Err(api::refusal(daemon, with_token, path, status, &said)
            .exit(Exit::Partial)
            .on(&self.name))
    }

    async fn call(&self, work: &Work, daemon: Daemon, call: Call<'_>) -> Result<Answer> {
        let answer = self
            .tunnels
            .call(
                &work.cluster,
                &self.name,
                daemon,
                &operator(work, daemon)?,
                call,
            )
            .await?;
        answer.map_err(|failure| Error::from(failure).exit(Exit::Partial).on(&self.name))
    }
}

/// The identity of the year's operator, for looking at ports.
fn operator(work: &Work, daemon: Daemon) -> Result<Caller<'_>> {
    let pair = PairId::operator(daemon, work.year);
    let (certificate, key) = work.stored.held(&pair).pair().ok_or_else(|| {
        Error::usage(format!("{pair}.crt is not in the store"))
            .help("make it with gen-pki, or pull the store if others did")
    })?;
    Ok(Caller {
        trusted: work.stored.trusted(daemon),
        certificate,
        key,
    })
}
