//! The proxy of one API: takes plain HTTP from loopback, checks each request, and passes it to the
//! cluster.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::guard;
use super::listen::{Loopback, Place};
use crate::event::{Event, Reporter};
use crate::uplink::Failure;
use crate::uplink::client::{Body, Client};
use crate::uplink::patient::Patient;

/// The size of a block of an upgraded connection, in bytes.
const CHUNK: usize = 64 * 1024;

/// How long a request's head may take, and how long a connection may have no request. Go's HTTP
/// client, which `nomad` and `consul` use, closes unused connections itself after 90 seconds.
const HEAD: Duration = Duration::from_secs(120);
/// How long the next part of a request's body may take.
const PART: Duration = Duration::from_secs(60);

/// Headers that belong to one connection (RFC 9110, section 7.6.1).
const OF_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::PROXY_AUTHORIZATION,
];

/// The proxy of one API.
pub struct Proxy {
    client: Client,
    reporter: Reporter,
    /// The last reported trouble, which is not repeated.
    trouble: Mutex<Option<String>>,
    /// Upgraded connections, which end with the proxy.
    upgraded: Arc<Mutex<JoinSet<()>>>,
    port: u16,
}

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// Serves the API of `client` on a port of loopback, until dropped.
pub async fn serve(listener: Loopback, client: Client, reporter: Reporter) -> Infallible {
    let proxy = Arc::new(Proxy {
        client,
        reporter,
        trouble: Mutex::default(),
        upgraded: Arc::default(),
        port: listener.port(),
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, place) = listener.accept() => {
                connections.spawn(proxy.clone().connection(stream, place));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Proxy {
    async fn connection(self: Arc<Self>, stream: TcpStream, place: Place) {
        let place = Arc::new(place);
        let service = service_fn(|request| {
            let (proxy, place) = (self.clone(), place.clone());
            async move { Ok::<_, Infallible>(proxy.answer(request, place).await) }
        });
        let served = http(HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(e) = served {
            tracing::debug!(port = self.port, "connection: {e}");
        }
    }

    async fn answer(&self, request: Request<Incoming>, place: Arc<Place>) -> Answer {
        let admitted = guard::admit(
            request.method(),
            request.uri(),
            request.headers(),
            self.port,
        );
        if let Err(refusal) = admitted {
            return plain(StatusCode::FORBIDDEN, refusal.reason());
        }
        match self.forward(request, place).await {
            Ok(answer) => {
                self.working();
                answer
            }
            Err(failure) => {
                self.failing(&failure);
                let status = match failure {
                    Failure::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::BAD_GATEWAY,
                };
                plain(status, &failure.to_string())
            }
        }
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        place: Arc<Place>,
    ) -> Result<Answer, Failure> {
        let upgrade = request
            .headers()
            .contains_key(header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let body = if body.is_end_stream() {
            Either::Left(Full::default())
        } else {
            Either::Right(Patient::new(body, PART))
        };
        let mut outgoing: Request<Body> = Request::new(body);
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = parts.uri;
        *outgoing.headers_mut() = passed_on(parts.headers);
        let mut response = self.client.send(outgoing).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let theirs = hyper::upgrade::on(&mut response);
            if let Some(ours) = upgrade {
                self.join(ours, theirs, place);
            }
        }
        let (mut parts, body) = response.into_parts();
        parts.headers = passed_on(parts.headers);
        Ok(Response::from_parts(parts, Either::Left(body)))
    }

    /// Carries bytes between both sides after an upgrade to another protocol.
    fn join(
        &self,
        ours: hyper::upgrade::OnUpgrade,
        theirs: hyper::upgrade::OnUpgrade,
        place: Arc<Place>,
    ) {
        let carry = async move {
            // An upgraded connection outlives its request, and counts until it ends.
            let _place = place;
            let (ours, theirs) = match tokio::try_join!(ours, theirs) {
                Ok(both) => both,
                Err(e) => return tracing::debug!("upgrade: {e}"),
            };
            let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
            let carried =
                tokio::io::copy_bidirectional_with_sizes(&mut ours, &mut theirs, CHUNK, CHUNK);
            if let Err(e) = carried.await {
                tracing::debug!("upgraded connection: {e}");
            }
        };
        let mut upgraded = self.upgraded.lock().unwrap_or_else(PoisonError::into_inner);
        while upgraded.try_join_next().is_some() {}
        upgraded.spawn(carry);
    }

    fn failing(&self, failure: &Failure) {
        let said = failure.to_string();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_deref() != Some(&said) {
            self.reporter.failure(failure.error());
            *trouble = Some(said);
        }
    }

    fn working(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.take().is_some() {
            self.reporter.emit(Event::Log {
                node: None,
                line: format!("{} answers again", self.client.daemon().title()),
            });
        }
    }
}

/// The HTTP server. It closes a connection whose next request head takes too long.
fn http(head: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head);
    builder
}

/// The headers without those of the connection. An upgrade is passed on.
fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::UPGRADE)
        .collect();
    for name in named.iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
    if headers.contains_key(header::UPGRADE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    headers
}

fn plain(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Either::Right(Full::from(format!("nixcfg: {text}\n"))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn headers_about_the_connection_stay_behind() {
        let passed = passed_on(headers(&[
            ("connection", "keep-alive, X-Private"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("x-nomad-token", "secret"),
            ("host", "localhost:4646"),
        ]));
        let mut names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "x-nomad-token"]);
    }

    /// The answer to `sent`, until the connection closes.
    async fn heard(sent: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let served = async {
            let service = service_fn(async |_| Ok::<_, Infallible>(plain(StatusCode::OK, "heard")));
            let head = Duration::from_millis(50);
            let connection = http(head).serve_connection(TokioIo::new(theirs), service);
            assert!(connection.await.is_err());
        };
        let asked = async {
            ours.write_all(sent.as_bytes()).await.unwrap();
            let mut heard = String::new();
            ours.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let both = async { tokio::join!(served, asked).1 };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, both)
            .await
            .expect("it is kept open")
    }

    #[tokio::test]
    async fn a_connection_ends_whose_request_does_not_come() {
        assert_eq!(heard("").await, "");
        assert_eq!(heard("GET / HTTP/1.1\r\nHost: x\r\n").await, "");
        let whole = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(heard(whole).await.matches("nixcfg: heard").count(), 1);
        let more = format!("{whole}GET / HTTP");
        assert_eq!(heard(&more).await.matches("nixcfg: heard").count(), 1);
    }

    #[test]
    fn an_upgrade_is_passed_on() {
        let passed = passed_on(headers(&[
            ("connection", "Upgrade, keep-alive"),
            ("upgrade", "websocket"),
        ]));
        assert_eq!(passed["connection"], "upgrade");
        assert_eq!(passed["upgrade"], "websocket");
    }
}
