//! Refuses what other web pages make a browser send.
//!
//! A page from anywhere can send requests to `http://127.0.0.1:8000`, and a browser then lets it use
//! the model and the processor. Two checks keep them out:
//!
//! - Host: a name that was made to point to 127.0.0.1 (DNS rebinding) is the browser's idea of the
//!   page's own server, so it would even let the page read the answers. A server that only this
//!   machine can reach is called by a loopback name or address, or by the name that the user says it
//!   has behind a proxy, so others are refused. No such page has an address for a name.
//! - Whose page it is that sends a POST. Browsers say so in Origin, and newer ones in Sec-Fetch-Site,
//!   neither of which a page can choose. Programs send none of the two.
//!
//! Sec-Fetch-Site compares what only the browser knows, the page's address and the one that it asked
//! for, and so is right whatever a proxy makes of Host. Browsers send it over HTTPS and to this very
//! machine alone: there, no name can be made to point elsewhere.
//!
//! Forwarded, X-Forwarded-Host and their like are never read: whoever sends a request can write them,
//! and the server cannot know which of its callers is the proxy.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use super::origin::Origin;

/// What browsers say of the page behind a request, as against the address they send it to.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose requests a server answers.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Whether requests must be for a loopback name or address, or for that of an origin.
    pub loopback_only: bool,
    /// Where browsers find the page behind a proxy. With one, a name of another host is refused
    /// also of a server that the network can reach.
    pub origins: Vec<Origin>,
}

/// Hands the request on, if it is none of another page's.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

impl Access {
    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        let forbidden = |message| Err(Failure::new(StatusCode::FORBIDDEN, message));
        let host = only(headers, header::HOST).and_then(|host| host.parse::<Authority>().ok());
        let Some(host) = host else {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "one header Host is needed"));
        };
        if !self.is_ours(host.host()) {
            return forbidden(
                "this server is for its own machine: ask for 127.0.0.1 or localhost; behind a \
                 proxy, start it with --origin and the address that browsers show",
            );
        }
        let reads_only = method == Method::GET || method == Method::HEAD;
        if !reads_only && !self.is_own_page(&host, headers) {
            return forbidden(
                "pages of other servers may not use this one; if this page is its own, behind a \
                 proxy, start it with --origin and the address that browsers show",
            );
        }
        Ok(())
    }

    /// Whether requests may be for this host.
    fn is_ours(&self, host: &str) -> bool {
        let address = address(host);
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|address| address.to_canonical().is_loopback());
        let of_origin = |origin: &Origin| origin.host().eq_ignore_ascii_case(host);
        is_loopback
            || self.origins.iter().any(of_origin)
            || !self.loopback_only && (self.origins.is_empty() || address.is_some())
    }

    /// Whether it is a page of this server that sends a request to `host`, or no page.
    fn is_own_page(&self, host: &Authority, headers: &HeaderMap) -> bool {
        let origin = headers.contains_key(header::ORIGIN).then(|| only(headers, header::ORIGIN));
        let parsed = origin.flatten().and_then(|origin| origin.parse::<Origin>().ok());
        if parsed.as_ref().is_some_and(|origin| self.origins.contains(origin)) {
            return true;
        }
        if headers.contains_key(SEC_FETCH_SITE) {
            // "none": a person's own doing, such as a bookmark.
            return matches!(only(headers, SEC_FETCH_SITE), Some("same-origin" | "none"));
        }
        // A browser without Sec-Fetch-Site, or a program. Which scheme the page has, the proxy alone
        // knows.
        let is_hosts = |origin: Origin| {
            [Scheme::HTTP, Scheme::HTTPS]
                .into_iter()
                .any(|scheme| Origin::new(scheme, host).is_some_and(|own| own == origin))
        };
        origin.is_none() || parsed.is_some_and(is_hosts)
    }
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The address that stands for itself as a host.
fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(loopback_only: bool, origins: &[&str]) -> Access {
        let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        Access { loopback_only, origins }
    }

    fn status(access: &Access, method: Method, headers: &[(HeaderName, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), value.parse().unwrap());
        }
        let checked = access.check(&method, &map);
        checked.map_or_else(|failure| failure.status.as_u16(), |()| 200)
    }

    #[test]
    fn a_loopback_server_answers_to_loopback_names_only() {
        let (alone, open) = (access(true, &[]), access(false, &[]));
        let get =
            |access: &Access, host: &str| status(access, Method::GET, &[(header::HOST, host)]);
        let names = ["127.0.0.1:8000", "127.1.2.3", "localhost", "LocalHost:1", "[::1]:8000"];
        for host in names {
            assert_eq!(get(&alone, host), 200, "{host}");
        }
        let others =
            ["example.org", "127.0.0.1.example.org:8000", "localhost.example.org", "10.0.0.1"];
        for host in others {
            assert_eq!(get(&alone, host), 403, "{host}");
            assert_eq!(get(&open, host), 200, "{host}");
        }
        for host in ["", "a b", "http://localhost"] {
            assert_eq!(get(&alone, host), 400, "{host:?}");
        }
        assert_eq!(status(&alone, Method::GET, &[]), 400);
        let twice = [(header::HOST, "localhost"), (header::HOST, "localhost")];
        assert_eq!(status(&alone, Method::GET, &twice), 400);
    }

    #[test]
    fn with_an_origin_its_name_and_no_other_is_answered_to() {
        let get =
            |access: &Access, host: &str| status(access, Method::GET, &[(header::HOST, host)]);
        for loopback_only in [true, false] {
            let access = access(loopback_only, &["https://hands.example:8443"]);
            // A proxy may pass the port, drop it, or write where it sends the request to.
            for host in ["hands.example:8443", "Hands.Example", "localhost:8000", "127.0.0.1"] {
                assert_eq!(get(&access, host), 200, "{host}");
            }
            for host in ["example", "evil.hands.example", "hands.example.evil.org", "evil.org:8443"]
            {
                assert_eq!(get(&access, host), 403, "{host}");
            }
            // No page has an address for a name that was made to point here.
            assert_eq!(get(&access, "10.0.0.1:8000"), if loopback_only { 403 } else { 200 });
        }
    }

    #[test]
    fn only_its_own_page_and_programs_may_post() {
        let alone = access(true, &[]);
        let of = |method: Method, origin: &str| {
            status(&alone, method, &[(header::HOST, "localhost:8000"), (header::ORIGIN, origin)])
        };
        // Over TLS, a proxy hands it on.
        for origin in ["http://localhost:8000", "https://localhost:8000"] {
            assert_eq!(of(Method::POST, origin), 200, "{origin}");
        }
        assert_eq!(status(&alone, Method::POST, &[(header::HOST, "localhost:8000")]), 200);
        let others = [
            "http://localhost:3000",
            "http://127.0.0.1:8000",
            "https://localhost",
            "https://localhost:8000.evil.org",
            "ftp://localhost:8000",
            "null",
            "",
        ];
        for origin in others {
            assert_eq!(of(Method::POST, origin), 403, "{origin}");
            assert_eq!(of(Method::GET, origin), 200, "{origin}");
        }
        let twice = [
            (header::HOST, "localhost"),
            (header::ORIGIN, "http://localhost"),
            (header::ORIGIN, "http://localhost"),
        ];
        assert_eq!(status(&alone, Method::POST, &twice), 403);
    }

    #[test]
    fn behind_a_proxy_its_page_and_no_other_may_post() {
        let (alone, told) = (access(true, &[]), access(true, &["https://hands.example"]));
        let post = |access: &Access, host: &str, origin: &str, site: Option<&str>| {
            let mut headers = vec![(header::HOST, host), (header::ORIGIN, origin)];
            headers.extend(site.map(|site| (SEC_FETCH_SITE, site)));
            status(access, Method::POST, &headers)
        };
        let (own, evil) = ("https://hands.example", "https://evil.org");
        let same = Some("same-origin");
        // (host, origin, site, without --origin, with it)
        let cases = [
            // A proxy that keeps Host.
            ("hands.example", own, same, 403, 200),
            ("hands.example", own, None, 403, 200),
            // One that writes where it sends the request to, as nginx does.
            ("127.0.0.1:8000", own, same, 200, 200),
            ("127.0.0.1:8000", own, None, 403, 200),
            ("localhost:8000", own, None, 403, 200),
            // Other pages, through the proxy and past it.
            ("hands.example", evil, Some("cross-site"), 403, 403),
            ("hands.example", evil, None, 403, 403),
            ("127.0.0.1:8000", evil, Some("cross-site"), 403, 403),
            ("127.0.0.1:8000", evil, Some("same-site"), 403, 403),
            ("127.0.0.1:8000", evil, None, 403, 403),
            ("127.0.0.1:8000", "null", Some("cross-site"), 403, 403),
            ("localhost:8000", "http://localhost:8000", Some("cross-site"), 403, 403),
            // The page's name over HTTP, or on another port, is another origin.
            ("127.0.0.1:8000", "http://hands.example", None, 403, 403),
            ("127.0.0.1:8000", "https://hands.example:8443", None, 403, 403),
            // A name that was made to point here: for the browser it is the page's own.
            ("evil.org:8000", "http://evil.org:8000", same, 403, 403),
            ("evil.org:8000", "http://evil.org:8000", None, 403, 403),
            // And to a proxy that serves HTTP too and writes another Host.
            ("127.0.0.1:8000", "http://evil.org", None, 403, 403),
        ];
        for (host, origin, site, without, with) in cases {
            assert_eq!(post(&alone, host, origin, site), without, "{host} {origin} {site:?}");
            assert_eq!(post(&told, host, origin, site), with, "{host} {origin} {site:?}");
        }
    }

    #[test]
    fn what_anyone_can_write_is_not_believed() {
        let alone = access(true, &[]);
        let forwarded = [
            ("x-forwarded-host", "evil.org"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "host=evil.org;proto=https"),
            ("x-original-host", "evil.org"),
        ];
        for (name, value) in forwarded {
            let name = HeaderName::from_static(name);
            let headers = [
                (header::HOST, "127.0.0.1:8000"),
                (header::ORIGIN, "https://evil.org"),
                (name.clone(), value),
            ];
            assert_eq!(status(&alone, Method::POST, &headers), 403, "{name}");
            let headers = [(header::HOST, "evil.org"), (name.clone(), "127.0.0.1:8000")];
            assert_eq!(status(&alone, Method::GET, &headers), 403, "{name}");
        }
        let twice = [
            (header::HOST, "127.0.0.1"),
            (SEC_FETCH_SITE, "same-origin"),
            (SEC_FETCH_SITE, "cross-site"),
        ];
        assert_eq!(status(&alone, Method::POST, &twice), 403);
    }
}
