//! Listeners on loopback, of both families.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::holder;
use crate::error::{Error, Result};

/// The pause after a failure to accept, such as too many open files.
const REST: Duration = Duration::from_millis(200);

/// The most connections of a port. Further ones wait until one ends.
const AT_ONCE: usize = 1024;

/// The right to be one of a port's connections. Dropping it returns the right.
pub struct Place(#[allow(dead_code)] OwnedSemaphorePermit);

/// A port of loopback, on IPv4 and, if the machine has it, IPv6.
pub struct Loopback {
    port: u16,
    v4: TcpListener,
    v6: Option<TcpListener>,
    places: Arc<Semaphore>,
}

impl Loopback {
    /// Listens on `port` for `purpose`, such as `Nomad`.
    pub async fn bind(port: u16, purpose: &str) -> Result<Self> {
        let taken = |e: std::io::Error| cannot_listen(port, purpose, &e);
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(taken)?;
        let port = v4.local_addr().map_err(taken)?.port();
        let v6 = match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(listener) => Some(listener),
            // A machine without IPv6 has no ::1, and `localhost` is 127.0.0.1 there.
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::AddrNotAvailable | ErrorKind::Unsupported
                ) =>
            {
                None
            }
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
                None
            }
            Err(e) => return Err(taken(e)),
        };
        Ok(Self {
            port,
            v4,
            v6,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a place and the next connection. Temporary failures only delay it.
    pub async fn accept(&self) -> (TcpStream, Place) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let accepted = match &self.v6 {
                Some(v6) => tokio::select! {
                    accepted = self.v4.accept() => accepted,
                    accepted = v6.accept() => accepted,
                },
                None => self.v4.accept().await,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Both sides send small messages, which must not be delayed.
                    let _ = stream.set_nodelay(true);
                    return (stream, Place(place));
                }
                Err(e) => {
                    tracing::warn!(port = self.port, "accept: {e}");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// The addresses listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let both = [Some(&self.v4), self.v6.as_ref()];
        both.into_iter()
            .flatten()
            .filter_map(|l| l.local_addr().ok())
            .collect()
    }
}

fn cannot_listen(port: u16, purpose: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::AddrInUse => {
            let by = holder::of_port(port).unwrap_or_else(|| "another program".into());
            Error::usage(format!("port {port}, for {purpose}, is taken by {by}")).help(
                "end that program, or move all local ports by a number, for example: --port-offset 10000",
            )
        }
        ErrorKind::PermissionDenied => {
            Error::usage(format!("port {port}, for {purpose}, is not yours to use"))
                .help("ports below 1024 are the system's: choose another")
        }
        _ => Error::unexpected(format!(
            "cannot listen on port {port} for {purpose}: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_listened_on() {
        let loopback = Loopback::bind(0, "tests").await.unwrap();
        for address in loopback.addresses() {
            assert!(address.ip().is_loopback(), "{address}");
            assert_eq!(address.port(), loopback.port());
            TcpStream::connect(address).await.unwrap();
            loopback.accept().await;
        }
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_waits_until_another_one_ends() {
        use futures_util::FutureExt;
        let mut loopback = Loopback::bind(0, "tests").await.unwrap();
        loopback.places = Arc::new(Semaphore::new(2));
        let address = ("127.0.0.1", loopback.port());
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let first = loopback.accept().await;
        let _second = loopback.accept().await;
        // All three have connected; the third is not accepted.
        assert!(loopback.accept().now_or_never().is_none());
        drop(first);
        loopback.accept().await;
    }

    #[tokio::test]
    async fn a_taken_port_is_reported_with_its_holder_and_a_way_out() {
        let first = Loopback::bind(0, "tests").await.unwrap();
        let Err(error) = Loopback::bind(first.port(), "Nomad").await else {
            panic!("bound twice");
        };
        assert_eq!(error.exit, crate::error::Exit::Usage);
        assert!(error.what.contains("for Nomad, is taken by"), "{error}");
        #[cfg(target_os = "linux")]
        assert!(
            error
                .what
                .contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(error.help.unwrap().contains("--port-offset"));
    }
}
