//! The operator's side of mutual TLS: the year's certificates from the password store, in memory
//! only, and what a server has to prove.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use super::Failure;
use super::verifier::{Seen, Verifier};
use crate::cluster::{Cluster, Daemon, Role};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::pass::Pass;
use crate::store::{EntryName, Store};

/// How long after a reading an untrusted server causes no new one: each may ask for a passphrase.
const REST: Duration = Duration::from_secs(10);

/// The store's entries for one daemon, as PEM.
#[derive(Debug)]
pub struct Material {
    /// The certificates of the CA; two while it is being replaced.
    pub ca: Secret,
    /// The operator's certificate.
    pub certificate: Secret,
    pub key: Secret,
}

/// A source of the operator's certificates.
pub trait Source: Send + Sync {
    /// Reads those for one daemon.
    fn read(&self, daemon: Daemon) -> Reading<'_>;
}

/// The future of [`Source::read`].
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Material>> + Send + 'a>>;

/// The year's certificates in the operator's `pass`.
pub struct OfYear {
    store: Pass,
}

impl OfYear {
    /// The certificates in a cluster's folder.
    pub fn of(store: Pass) -> Self {
        Self { store }
    }

    async fn read(&self, daemon: Daemon) -> Result<Material> {
        let wanted = Entries::of(daemon, year_of(SystemTime::now()))?;
        let present = self.store.list().await?;
        wanted.check(&present, |name| self.store.place(name))?;
        let names =
            BTreeSet::from([&wanted.ca, &wanted.certificate, &wanted.key].map(Clone::clone));
        let mut values = self.store.show(&names).await?;
        let mut take = |name: &EntryName| {
            values.remove(name).ok_or_else(|| {
                Error::unexpected(format!("{} was not read", self.store.place(name)))
            })
        };
        Ok(Material {
            ca: take(&wanted.ca)?,
            certificate: take(&wanted.certificate)?,
            key: take(&wanted.key)?,
        })
    }
}

impl Source for OfYear {
    fn read(&self, daemon: Daemon) -> Reading<'_> {
        Box::pin(self.read(daemon))
    }
}

/// The names of a daemon's entries of a year.
struct Entries {
    daemon: Daemon,
    year: i64,
    ca: EntryName,
    certificate: EntryName,
    key: EntryName,
}

impl Entries {
    fn of(daemon: Daemon, year: i64) -> Result<Self> {
        let lower = daemon.name();
        Ok(Self {
            daemon,
            year,
            ca: format!("{lower}-ca.crt").parse()?,
            certificate: format!("{lower}{year}-client.crt").parse()?,
            key: format!("{lower}{year}-client.key").parse()?,
        })
    }

    /// Fails if an entry is missing, and names the years that exist.
    fn check(
        &self,
        present: &BTreeSet<EntryName>,
        place: impl Fn(&EntryName) -> String,
    ) -> Result<()> {
        let missing: Vec<String> = [&self.ca, &self.certificate, &self.key]
            .into_iter()
            .filter(|name| !present.contains(*name))
            .map(place)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (daemon, title, year) = (self.daemon, self.daemon.title(), self.year);
        let what = if !present.contains(&self.ca) {
            format!("the password store has no PKI of {title} for this cluster")
        } else {
            format!("the password store has no operator certificate of {title} for {year}")
        };
        let years: Vec<&str> = present
            .iter()
            .filter_map(|name| {
                let year = name.as_str().strip_prefix(daemon.name())?;
                year.strip_suffix("-client.crt")
            })
            .collect();
        let help = if years.is_empty() {
            "make it with gen-pki, or pull the store if others did".to_owned()
        } else {
            format!(
                "there is one for {}: gen-pki makes this year's, or pull the store if others did",
                years.join(", ")
            )
        };
        Err(Error::usage(what)
            .saying(format!("missing: {}", missing.join(", ")))
            .help(help))
    }
}

/// The year of a moment, in UTC.
fn year_of(moment: SystemTime) -> i64 {
    i64::from(time::OffsetDateTime::from(moment).year())
}

/// The TLS configuration of connections to a daemon.
pub struct Identity {
    /// The operator's certificate, and the CA of servers.
    pub config: Arc<ClientConfig>,
    /// The name that a server has to prove.
    pub server: ServerName<'static>,
    digest: [u8; 32],
}

impl Identity {
    /// Parses the PEM texts, for servers that prove `name`. Fails unless they fit each other and
    /// are valid now.
    pub fn new(daemon: Daemon, name: &str, material: &Material) -> Result<Self> {
        let title = daemon.title();
        let provider = Arc::new(ring::default_provider());
        let unreadable = |what: &str, e: &dyn std::fmt::Display| {
            Error::usage(format!(
                "the {what} of {title} in the password store cannot be read: {e}"
            ))
        };
        let ca: Vec<CertificateDer<'static>> =
            certificates(&material.ca).map_err(|e| unreadable("CA certificate", &e))?;
        let chain = certificates(&material.certificate)
            .map_err(|e| unreadable("operator certificate", &e))?;
        let key = PrivateKeyDer::from_pem_slice(material.key.expose().as_bytes())
            .map_err(|e| unreadable("operator's key", &e))?;
        let mut roots = RootCertStore::empty();
        for certificate in ca {
            roots
                .add(certificate)
                .map_err(|e| unreadable("CA certificate", &e))?;
        }
        check_own(daemon, &chain, Arc::new(roots.clone()), &provider)?;
        let names = [name.to_owned()];
        let this = Self::of(roots, chain, key, &names, Seen::default());
        let digest = digest(material);
        Ok(Self { digest, ..this? })
    }

    /// The identity of a client with `key`. A server has to prove one of `names` by a
    /// certificate under `roots`; `seen` records its certificate.
    pub fn of(
        roots: RootCertStore,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        names: &[String],
        seen: Seen,
    ) -> Result<Self> {
        let unusable = |e: &dyn std::fmt::Display| {
            Error::usage(format!(
                "the certificates in the password store cannot be used for TLS: {e}"
            ))
        };
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots);
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|e| unusable(&e))?;
        let names: Vec<ServerName<'static>> = names
            .iter()
            .map(|name| ServerName::try_from(name.clone()).map_err(|e| unusable(&e)))
            .collect::<Result<_>>()?;
        let server = names.first().cloned();
        let server = server.ok_or_else(|| unusable(&"no name is wanted"))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(&e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { inner, names, seen }))
            .with_client_auth_cert(chain, key)
            .map_err(|e| unusable(&e))?;
        // A session ticket would resume a connection that a renewed configuration would refuse.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            server,
            digest: [0; 32],
        })
    }
}

fn certificates(pem: &Secret) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.expose().as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| e.to_string())?;
    if all.is_empty() {
        Err("it holds no certificate".into())
    } else {
        Ok(all)
    }
}

/// Verifies the operator's certificate as a server will.
fn check_own(
    daemon: Daemon,
    chain: &[CertificateDer<'static>],
    roots: Arc<RootCertStore>,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<()> {
    let Some((own, others)) = chain.split_first() else {
        return Ok(());
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|e| Error::unexpected(format!("TLS cannot be used: {e}")))?;
    let what = match verifier.verify_client_cert(own, others, UnixTime::now()) {
        Ok(_) => return Ok(()),
        Err(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "is not valid yet: is this machine's clock right?".to_owned()
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "is not by the CA that the store holds".to_owned()
            }
            other => format!("cannot be used: {other}"),
        },
        Err(other) => format!("cannot be used: {other}"),
    };
    Err(Error::usage(format!(
        "the operator certificate of {} in the password store {what}",
        daemon.title()
    ))
    .help("gen-pki makes a new one"))
}

fn digest(material: &Material) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [&material.ca, &material.certificate, &material.key] {
        hash.update(part.expose().len().to_le_bytes());
        hash.update(part.expose());
    }
    hash.finalize().into()
}

/// The identities of a run by daemon, read when needed.
pub struct Identities {
    names: BTreeMap<Daemon, String>,
    source: Arc<dyn Source>,
    known: Mutex<BTreeMap<Daemon, Known>>,
}

struct Known {
    identity: Arc<Identity>,
    read: Instant,
}

impl Identities {
    /// Those of `cluster`, from `source`.
    pub fn new(cluster: &Cluster, source: Arc<dyn Source>) -> Self {
        let name = |daemon: Daemon| (daemon, daemon.agent_name(cluster, Role::Server));
        Self {
            names: Daemon::ALL.map(name).into(),
            source,
            known: Mutex::default(),
        }
    }

    /// The identity for a daemon.
    pub async fn of(&self, daemon: Daemon) -> Result<Arc<Identity>, Failure> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.get(&daemon) {
            return Ok(known.identity.clone());
        }
        let identity = self.read(daemon).await.map_err(Failure::Store)?;
        known.insert(
            daemon,
            Known {
                identity: identity.clone(),
                read: Instant::now(),
            },
        );
        Ok(identity)
    }

    /// The identity that has replaced `used` meanwhile, here or in the store: the CA may be
    /// replaced during a run.
    pub async fn renewed(
        &self,
        daemon: Daemon,
        used: &Arc<Identity>,
    ) -> Result<Option<Arc<Identity>>> {
        let mut known = self.known.lock().await;
        let Some(entry) = known.get_mut(&daemon) else {
            return Ok(None);
        };
        if !Arc::ptr_eq(&entry.identity, used) {
            return Ok(Some(entry.identity.clone()));
        }
        if entry.read.elapsed() < REST {
            return Ok(None);
        }
        entry.read = Instant::now();
        let identity = self.read(daemon).await?;
        if identity.digest == used.digest {
            return Ok(None);
        }
        entry.identity = identity.clone();
        Ok(Some(identity))
    }

    async fn read(&self, daemon: Daemon) -> Result<Arc<Identity>> {
        let material = self.source.read(daemon).await?;
        let name = self.names.get(&daemon);
        let name = name.ok_or_else(|| Error::unexpected(format!("{daemon} has no name")))?;
        Identity::new(daemon, name, &material).map(Arc::new)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(e)
            | Failure::Untrusted(e)
            | Failure::Refused(e)
            | Failure::Broken(e)
            | Failure::Store(e) => e,
        }
    }
}
