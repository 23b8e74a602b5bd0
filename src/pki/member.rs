//! A node during an operation on the PKI: its login, its files, its ports.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::Method;

use super::files::{self, Wanted};
use super::layout::PairId;
use super::live::{Answer, Call, Caller, Look, Port, Trouble, Tunnels};
use super::node::{self, Action, State};
use super::stored::Stored;
use super::x509::{Authority, Certificate, Key};
use super::{App, Year};
use crate::cluster::{Cluster, Name, Node, Role};
use crate::error::{Error, Exit, Result};
use crate::node::install::{self, Manifest};
use crate::node::probe::Probed;
use crate::node::ssh::elevate::Elevation;
use crate::operation::Operation;
use crate::rollout::quorum::{self, Health};

/// What an operation is about.
pub struct Work {
    /// The cluster.
    pub cluster: Cluster,
    /// What the store holds.
    pub stored: Stored,
    /// The year whose certificates are wanted.
    pub year: Year,
}

/// A node that can be used.
pub struct Member {
    /// Its name.
    pub name: Name,
    /// What the cluster says of it.
    pub node: Node,
    probed: Probed,
    how: Elevation,
    tunnels: Tunnels,
}

impl Member {
    /// The node of a probe.
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

    /// Brings it the files of `apps`, and gives the paths that changed.
    pub async fn install(&self, work: &Work, apps: &[App]) -> Result<BTreeSet<String>> {
        let mut manifest = Manifest::new();
        for app in apps {
            files::manifest(
                &work.cluster,
                *app,
                work.year,
                &self.name,
                &work.stored,
                &mut manifest,
            )?;
        }
        let report = install::install(&self.probed.connection, &self.how, &manifest).await?;
        Ok(report.touched().map(str::to_owned).collect())
    }

    /// What is on its disk of `apps`.
    pub async fn state(&self, work: &Work, apps: &[App]) -> Result<State> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for app in apps {
            wanted.extend(self.wanted(work, *app)?);
        }
        let units: Vec<&str> = apps
            .iter()
            .map(|app| files::place(&work.cluster, *app).unit.as_str())
            .collect();
        State::read(
            &self.probed.connection,
            &self.how,
            &units,
            &wanted.iter().collect::<Vec<_>>(),
        )
        .await
    }

    /// The files that an app is to have there.
    pub fn wanted(&self, work: &Work, app: App) -> Result<Vec<Wanted>> {
        files::wanted(&work.cluster, app, work.year, &self.name, &work.stored)
    }

    /// The certificate that an app's agent is to serve there.
    pub fn certificate<'a>(&self, work: &'a Work, app: App) -> Option<&'a Certificate> {
        let pair = PairId::of_node(&work.cluster, app, work.year, &self.name);
        work.stored.held(&pair).certificates.first()
    }

    /// Makes an app's program take its files.
    pub async fn act(&self, work: &Work, app: App, action: Action) -> Result<()> {
        node::act(
            &self.probed.connection,
            &self.how,
            action,
            &files::place(&work.cluster, app).unit,
        )
        .await
    }

    /// The end of the log of an app's program.
    pub async fn log(&self, work: &Work, app: App) -> Result<String> {
        let unit = &files::place(&work.cluster, app).unit;
        node::log(&self.probed.connection, &self.how, unit).await
    }

    /// Looks at one port as the year's operator.
    pub async fn look(&self, work: &Work, port: &Port) -> Result<Look> {
        self.tunnels
            .look(&work.cluster, &self.name, port, &operator(work, port.app)?)
            .await
    }

    /// The first of an app's ports that does not serve what it should, or trusts
    /// not just those authorities that it should; none if all is as wanted.
    pub async fn lacking(&self, work: &Work, app: App) -> Result<Option<String>> {
        let wanted = self.certificate(work, app);
        for port in Port::of(&work.cluster, app, &self.node) {
            let look = self.look(work, &port).await?;
            if let Some(trouble) = look.trouble {
                return Ok(Some(format!("{port} {trouble}")));
            }
            if look.served.as_ref() != wanted {
                return Ok(Some(format!("{port} serves another certificate")));
            }
        }
        // While an authority is being replaced there are two, and both must be trusted.
        if work.stored.trusted(app).len() > 1 {
            let now = time::OffsetDateTime::now_utc();
            let both = work.stored.authorities(app).into_iter();
            // Nothing that one signs which has ended is taken by anybody.
            for authority in both.filter(|one| one.certificate.not_after > now) {
                if let Some(trouble) = self.takes(work, app, &authority).await? {
                    return Ok(Some(format!(
                        "{} does not trust {}: {trouble}",
                        app.title(),
                        authority.certificate.subject
                    )));
                }
            }
        }
        // One that is retired must be forgotten.
        if let Some(retired) = work.stored.retired(app)
            && self.takes(work, app, &retired).await?.is_none()
        {
            return Ok(Some(format!(
                "{} still trusts {}",
                app.title(),
                retired.certificate.subject
            )));
        }
        Ok(None)
    }

    /// Why a node is not where the store is: in what it has on its disk of
    /// `apps`, or in what `app` serves and trusts. Nothing if it is.
    pub async fn behind(&self, work: &Work, app: App, apps: &[App]) -> Result<Option<String>> {
        let state = self.state(work, apps).await?;
        for of in apps {
            let wanted = self.wanted(work, *of)?;
            for file in &wanted {
                if state
                    .file(file.path.as_str())
                    .is_none_or(|found| found.content != file.content)
                {
                    return Ok(Some(format!("{} is not the store’s", file.path)));
                }
            }
            let unit = &files::place(&work.cluster, *of).unit;
            if state.newer(&wanted, &state.unit(unit)) {
                return Ok(Some(format!(
                    "{unit} does not run with the files that it reads at its start"
                )));
            }
        }
        self.lacking(work, app).await
    }

    /// Why an app's agent does not take a certificate by `authority`; nothing if it does.
    pub async fn takes(
        &self,
        work: &Work,
        app: App,
        authority: &Authority<'_>,
    ) -> Result<Option<Trouble>> {
        let key = Key::generate()?;
        let spec = super::spec::Spec::of(&work.cluster, &PairId::operator(app, work.year));
        let certificate = authority.sign(&spec, &key, time::OffsetDateTime::now_utc())?;
        let caller = Caller {
            trusted: work.stored.trusted(app),
            certificate: &certificate,
            key: &key,
        };
        let port = Port::api(&work.cluster, app);
        Ok(self
            .tunnels
            .look(&work.cluster, &self.name, &port, &caller)
            .await?
            .trouble)
    }

    /// What an app's servers say of themselves, asked here.
    pub async fn health(&self, work: &Work, app: App) -> Result<Health> {
        let call = Call {
            method: Method::GET,
            path: quorum::HEALTH,
            body: Bytes::new(),
        };
        let answer = self.call(work, app, call).await?;
        Health::read(app.title(), answer.status, &answer.body).map_err(|e| e.on(&self.name))
    }

    /// Whether an app's server there was ever part of a quorum.
    pub async fn formed(&self, work: &Work, app: App) -> Result<bool> {
        let call = Call {
            method: Method::GET,
            path: quorum::PEERS,
            body: Bytes::new(),
        };
        let answer = self.call(work, app, call).await?;
        Ok(!quorum::never_formed(answer.status, &answer.body))
    }

    /// Sends something to an app's API there.
    pub async fn put(&self, work: &Work, app: App, path: &str, body: Vec<u8>) -> Result<()> {
        let answer = self
            .call(
                work,
                app,
                Call {
                    method: Method::PUT,
                    path,
                    body: body.into(),
                },
            )
            .await?;
        match answer.status {
            200 => Ok(()),
            status => Err(Error::new(
                Exit::Partial,
                format!("{} answers {path} with {status}", app.title()),
            )
            .on(&self.name)
            .saying(String::from_utf8_lossy(&answer.body))),
        }
    }

    async fn call(&self, work: &Work, app: App, call: Call<'_>) -> Result<Answer> {
        let answer = self
            .tunnels
            .call(&work.cluster, &self.name, app, &operator(work, app)?, call)
            .await?;
        answer.map_err(|trouble| {
            Error::new(Exit::Partial, format!("{} {trouble}", app.title())).on(&self.name)
        })
    }
}

/// The year's operator, as whom ports are looked at.
fn operator(work: &Work, app: App) -> Result<Caller<'_>> {
    let pair = PairId::operator(app, work.year);
    let (certificate, key) = work.stored.held(&pair).pair().ok_or_else(|| {
        Error::usage(format!("{pair}.crt is not in the store"))
            .help("make it with gen-pki, or pull the store if others did")
    })?;
    Ok(Caller {
        trusted: work.stored.trusted(app),
        certificate,
        key,
    })
}
