//! HTTP over an [`Uplink`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::patient::Patient;
use super::{Failure, Secured, Uplink};
use crate::cluster::Daemon;

/// How long an unused connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(15);
/// How long to repeat a blocking query while no server can be reached.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two requests.
const PAUSE: Duration = Duration::from_secs(1);

/// The body of a request: bytes, which can be sent twice, or a stream.
pub type Body = Either<Full<Bytes>, Patient>;

/// Sends requests to a daemon, and reuses connections.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Connector, Body>,
    uplink: Arc<Uplink>,
    daemon: Daemon,
}

impl Client {
    pub fn new(uplink: Arc<Uplink>, daemon: Daemon) -> Self {
        let connector = Connector {
            uplink: uplink.clone(),
            daemon,
        };
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self {
            inner,
            uplink,
            daemon,
        }
    }

    pub fn daemon(&self) -> Daemon {
        self.daemon
    }

    /// Sends a request and waits for the head of the answer. If the connection breaks, a request
    /// that changes nothing and has a repeatable body is sent once more, as the node may be gone. A
    /// blocking query is repeated until a server can be reached, for a minute.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.uri(&parts.uri)?;
        let again = match &body {
            Either::Left(bytes) if is_safe(&parts.method) => Some((parts.clone(), bytes.clone())),
            _ => None,
        };
        let patient = waits_for_news(&parts.uri);
        let used = self.uplink.identities().of(self.daemon).await?;
        let began = Instant::now();
        let mut sent = self.once(Request::from_parts(parts, body)).await;
        let Some((parts, bytes)) = again else {
            return sent.map_err(Failure::of_one_chance);
        };
        let mut tries = 0;
        loop {
            let failure = match sent {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let waits = patient && began.elapsed() < PATIENCE;
            let retry = match &failure {
                Failure::Broken(_) => tries == 0 || waits,
                Failure::Unreachable(_) => waits,
                // The store may have a renewed certificate or another CA by now.
                Failure::Refused(_) if tries == 0 => {
                    let renewed = self.uplink.identities().renewed(self.daemon, &used).await;
                    matches!(renewed, Ok(Some(_)))
                }
                _ => false,
            };
            if !retry {
                return Err(failure);
            }
            if tries > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            tries += 1;
            tracing::debug!(daemon = %self.daemon, "sent again after: {failure}");
            let body = Either::Left(bytes.clone());
            sent = self.once(Request::from_parts(parts.clone(), body)).await;
        }
    }

    async fn once(&self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        self.inner
            .request(request)
            .await
            .map_err(|e| Failure::of_request(self.daemon, &e))
    }

    /// The request's target with the daemon as host, by which the pool distinguishes connections.
    fn uri(&self, target: &Uri) -> Result<Uri, Failure> {
        let path = target.path_and_query().map_or("/", |p| p.as_str());
        Uri::builder()
            .scheme("http")
            .authority(self.daemon.name())
            .path_and_query(path)
            .build()
            .map_err(|e| {
                Failure::Broken(crate::error::Error::usage(format!(
                    "‘{path}’ cannot be asked for: {e}"
                )))
            })
    }
}

/// Whether a request changes nothing (RFC 9110, section 9.2.1).
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Whether a request is a blocking query of Nomad or Consul, with an `index`. A repetition gets the
/// same answer.
fn waits_for_news(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| {
        pair.strip_prefix("index=")
            .is_some_and(|index| index.bytes().any(|digit| digit != b'0'))
    })
}

/// Makes connections for the pool.
#[derive(Clone)]
struct Connector {
    uplink: Arc<Uplink>,
    daemon: Daemon,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Pooled>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (uplink, daemon) = (self.uplink.clone(), self.daemon);
        Box::pin(async move {
            let secured = uplink.connect(daemon).await?;
            Ok(TokioIo::new(Pooled(secured)))
        })
    }
}

/// A connection in the pool.
struct Pooled(Secured);

impl Connection for Pooled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pooled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pooled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_with_an_index_wait_for_news() {
        let waits = |uri: &str| waits_for_news(&uri.parse().unwrap());
        assert!(waits("/v1/kv/a?wait=5m&index=7"));
        assert!(waits("/v1/jobs?index=10"));
        for other in [
            "/v1/jobs",
            "/v1/jobs?index=0",
            "/v1/jobs?index=",
            "/v1/kv/index=7?x=index=7",
        ] {
            assert!(!waits(other), "{other}");
        }
    }
}
