//! Admits only requests that were meant for this proxy.
//!
//! Any web page can make a browser send requests to a port on loopback. A page whose name resolves
//! to 127.0.0.1 can even read the answers (DNS rebinding). The browser sends the page's name in
//! `Host`, and the origin of a request in `Origin` or, for requests without that, in
//! `Sec-Fetch-Site` (W3C Fetch Metadata).

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Uri};

/// The hosts of loopback in URLs.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It asks for a tunnel.
    Tunnel,
    /// It names no host, or several.
    NoHost,
    /// It is addressed to another host or port.
    OtherHost,
    /// A page of another origin sent it.
    OtherOrigin,
}

impl Refusal {
    /// The reason as a sentence for the sender.
    pub const fn reason(self) -> &'static str {
        match self {
            Refusal::Tunnel => "this proxy opens no tunnels",
            Refusal::NoHost => "the request must have one Host header",
            Refusal::OtherHost => {
                "the Host header is not this proxy's own: use http://localhost with its port"
            }
            Refusal::OtherOrigin => "requests from pages of other origins are refused",
        }
    }
}

/// Admits or refuses a request to the listener on `port`.
pub fn admit(method: &Method, uri: &Uri, headers: &HeaderMap, port: u16) -> Result<(), Refusal> {
    if method == Method::CONNECT {
        return Err(Refusal::Tunnel);
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        _ => return Err(Refusal::NoHost),
    };
    if !host.to_str().is_ok_and(|host| is_own(host, port)) {
        return Err(Refusal::OtherHost);
    }
    // A request in absolute form has a host in its target.
    if let Some(authority) = uri.authority()
        && !is_own(authority.as_str(), port)
    {
        return Err(Refusal::OtherHost);
    }
    if headers
        .get_all(ORIGIN)
        .iter()
        .any(|origin| !is_own_origin(origin, port))
    {
        return Err(Refusal::OtherOrigin);
    }
    if headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| site != "same-origin" && site != "none")
        && !is_followed_link(method, headers)
    {
        return Err(Refusal::OtherOrigin);
    }
    Ok(())
}

/// Whether an authority means loopback and `port`.
fn is_own(authority: &str, port: u16) -> bool {
    let (name, given) = match authority.rsplit_once(':') {
        Some((name, given)) if !authority.ends_with(']') => (name, Some(given)),
        _ => (authority, None),
    };
    NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
        && given.map_or(port == 80, |given| given.parse() == Ok(port))
}

fn is_own_origin(origin: &HeaderValue, port: u16) -> bool {
    origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("http://"))
        .is_some_and(|authority| is_own(authority, port))
}

/// Whether the operator followed a link on another page: that changes nothing, and the other page
/// cannot read the answer.
fn is_followed_link(method: &Method, headers: &HeaderMap) -> bool {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    method == Method::GET
        && one("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
        && one("sec-fetch-dest").is_some_and(|dest| dest == "document")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        admit(&method, &uri.parse().unwrap(), &map, 4646)
    }

    fn get(headers: &[(&str, &str)]) -> Result<(), Refusal> {
        request(Method::GET, "/v1/jobs", headers)
    }

    #[test]
    fn a_client_on_loopback_is_let_through() {
        for host in [
            "localhost:4646",
            "LocalHost:4646",
            "127.0.0.1:4646",
            "[::1]:4646",
        ] {
            assert_eq!(get(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_made_to_point_at_loopback_is_refused() {
        for host in [
            "evil.example:4646",
            "localhost.evil.example:4646",
            "localhost:8500",
            "localhost",
            "localhost:",
            "127.0.0.1.:4646",
            "::1:4646",
            "[::1]",
            "user@localhost:4646",
            "",
        ] {
            assert_eq!(get(&[("host", host)]), Err(Refusal::OtherHost), "{host}");
        }
        assert_eq!(get(&[]), Err(Refusal::NoHost));
        let twice = [("host", "localhost:4646"), ("host", "evil.example")];
        assert_eq!(get(&twice), Err(Refusal::NoHost));
    }

    #[test]
    fn the_host_of_an_absolute_target_counts_too() {
        let own = [("host", "localhost:4646")];
        let to = |uri| request(Method::GET, uri, &own);
        assert_eq!(to("http://localhost:4646/v1/jobs"), Ok(()));
        assert_eq!(
            to("http://evil.example:4646/v1/jobs"),
            Err(Refusal::OtherHost)
        );
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let from = |origin| get(&[("host", "localhost:4646"), ("origin", origin)]);
        assert_eq!(from("http://localhost:4646"), Ok(()));
        for origin in [
            "http://evil.example",
            "https://localhost:4646",
            "http://localhost:3000",
            "http://localhost:4646.evil.example",
            "null",
            "",
        ] {
            assert_eq!(from(origin), Err(Refusal::OtherOrigin), "{origin}");
        }
    }

    #[test]
    fn what_a_page_embeds_without_an_origin_is_refused_too() {
        let fetch = |site, mode, dest| {
            get(&[
                ("host", "localhost:4646"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ])
        };
        assert_eq!(fetch("same-origin", "cors", "empty"), Ok(()));
        assert_eq!(fetch("none", "navigate", "document"), Ok(()));
        for site in ["cross-site", "same-site", "new-kind"] {
            assert_eq!(fetch(site, "no-cors", "image"), Err(Refusal::OtherOrigin));
            assert_eq!(fetch(site, "navigate", "iframe"), Err(Refusal::OtherOrigin));
        }
    }

    #[test]
    fn a_link_of_another_page_may_be_followed_but_a_form_not_sent() {
        let headers = [
            ("host", "localhost:4646"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(request(Method::GET, "/ui/jobs", &headers), Ok(()));
        assert_eq!(
            request(Method::POST, "/v1/jobs", &headers),
            Err(Refusal::OtherOrigin)
        );
    }

    #[test]
    fn a_tunnel_is_refused() {
        let own = [("host", "localhost:4646")];
        assert_eq!(
            request(Method::CONNECT, "localhost:4646", &own),
            Err(Refusal::Tunnel)
        );
    }
}
