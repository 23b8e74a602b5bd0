//! Why there is no connection to an API, by what can be done about it.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError};

use super::route::Way;
use crate::cluster::Daemon;
use crate::error::{Error, Exit};

/// A failure, with the error to show for it.
#[derive(Debug, Clone)]
pub enum Failure {
    /// No server answers.
    Unreachable(Error),
    /// The other end does not prove that it is the cluster's server.
    Untrusted(Error),
    /// The server refuses the operator's certificate.
    Refused(Error),
    /// The connection broke off, or did not speak HTTP.
    Broken(Error),
    /// The operator's own certificates cannot be used.
    Store(Error),
}

impl Failure {
    pub fn error(&self) -> &Error {
        match self {
            Failure::Unreachable(e)
            | Failure::Untrusted(e)
            | Failure::Refused(e)
            | Failure::Broken(e)
            | Failure::Store(e) => e,
        }
    }

    /// Adds the help for a request that is not sent twice, as it may change something.
    pub(super) fn of_one_chance(self) -> Self {
        match self {
            Failure::Broken(e) => Failure::Broken(
                e.help("it may have been carried out: look before you send it again"),
            ),
            other => other,
        }
    }

    /// No way leads to the daemon.
    pub(super) fn unreachable(daemon: Daemon, failures: &[Error]) -> Self {
        let title = daemon.title();
        let each: Vec<String> = failures
            .iter()
            .map(|e| {
                let said = e.output.as_deref().and_then(|said| said.lines().last());
                let node = e.node.iter().map(|node| format!("{node}: "));
                let said = said.map(|said| format!(" ({})", said.trim()));
                node.chain([e.what.clone()]).chain(said).collect::<String>()
            })
            .collect();
        let mut error =
            Error::new(Exit::Probe, format!("{title} cannot be reached")).saying(each.join("\n"));
        // If all failed for one reason, its own help applies.
        error.help = match failures {
            [only] => only.help.clone(),
            _ => failures.iter().find_map(|e| e.help.clone()),
        };
        Failure::Unreachable(error)
    }

    /// A server that does not answer.
    pub fn silent(daemon: Daemon, way: &Way, after: Duration) -> Self {
        let title = daemon.title();
        Failure::Unreachable(Error::new(
            Exit::Probe,
            format!(
                "{title} at {way} does not answer within {} seconds",
                after.as_secs()
            ),
        ))
    }

    /// A handshake that failed.
    pub(super) fn of_handshake(
        daemon: Daemon,
        server: &ServerName<'_>,
        way: &Way,
        error: &io::Error,
    ) -> Self {
        let title = daemon.title();
        let new = |what: String| Error::new(Exit::Probe, what);
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(reason)) => {
                let (what, help) = untrusted(reason, &server.to_str());
                Failure::Untrusted(
                    new(format!("{title} at {way} is not trusted: {what}"))
                        .saying(detail(reason))
                        .help(help),
                )
            }
            Some(rustls::Error::AlertReceived(alert)) => refused(daemon, &format!("{alert:?}")),
            Some(other) => Failure::Broken(new(format!(
                "{title} at {way} does not speak TLS as expected: {other}"
            ))),
            None => Failure::Unreachable(new(format!(
                "{title} at {way} does not answer: {}",
                plain(error)
            ))),
        }
    }

    /// A request that failed on an open connection.
    pub fn of_request(daemon: Daemon, error: &(dyn std::error::Error + 'static)) -> Self {
        if let Some(failure) = causes(error).find_map(|e| e.downcast_ref::<Failure>()) {
            return failure.clone();
        }
        let alert = causes(error)
            .filter_map(|e| e.downcast_ref::<io::Error>())
            .find_map(|e| match tls_error(e) {
                Some(rustls::Error::AlertReceived(alert)) => Some(format!("{alert:?}")),
                _ => None,
            });
        match alert {
            Some(alert) => refused(daemon, &alert),
            None => {
                let title = daemon.title();
                let said: Vec<String> = causes(error).map(ToString::to_string).collect();
                Failure::Broken(
                    Error::new(Exit::Probe, format!("the connection to {title} broke off"))
                        .saying(said.join(": ")),
                )
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl std::error::Error for Failure {}

/// An error and its causes, outermost first. `source` of an I/O error skips the error that it
/// wraps, so this adds it.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |e| {
        match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => e.source(),
        }
    })
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection is closed at once".into(),
        _ => error.to_string(),
    }
}

/// What is wrong with a server's certificate, and the help for it.
fn untrusted(reason: &CertificateError, server: &str) -> (String, String) {
    use CertificateError as E;
    let deploy = "put a certificate of this year on the server: deploy-pki".to_owned();
    match reason {
        E::Expired | E::ExpiredContext { .. } => {
            ("its certificate has expired".into(), deploy)
        }
        E::NotValidYet | E::NotValidYetContext { .. } => (
            "its certificate is not valid yet".into(),
            "compare this machine's clock and the server's".into(),
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => (
            format!("its certificate is not for ‘{server}’"),
            "is it a raft server of this cluster? only these may have that name; deploy-pki gives it to them".into(),
        ),
        E::UnknownIssuer | E::BadSignature => (
            "its certificate is not by the CA in the password store".into(),
            "is the store up to date, and of this cluster? deploy-pki gives the server one by that CA".into(),
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => (
            "its certificate is not one for a server".into(),
            deploy,
        ),
        other => (format!("{other}"), deploy),
    }
}

fn detail(reason: &CertificateError) -> String {
    use CertificateError as E;
    match reason {
        E::ExpiredContext { .. }
        | E::NotValidYetContext { .. }
        | E::NotValidForNameContext { .. } => reason.to_string(),
        _ => String::new(),
    }
}

fn refused(daemon: Daemon, alert: &str) -> Failure {
    let title = daemon.title();
    Failure::Refused(
        Error::new(
            Exit::Probe,
            format!("{title} does not take the operator's certificate ({alert})"),
        )
        .help("has it expired, or is it by another CA than the server's? gen-pki makes a new one, deploy-pki brings the servers the CA"),
    )
}
