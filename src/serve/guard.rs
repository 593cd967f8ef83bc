//! Refuses what other web pages make a browser send.
//!
//! A page from anywhere can send requests to `http://127.0.0.1:8000`, and a browser then lets it use
//! the model and the processor. Two checks keep them out:
//!
//! - Host: a name that was made to point to 127.0.0.1 (DNS rebinding) is the browser's idea of the
//!   page's own server, so it would even let the page read the answers. A server that only this
//!   machine can reach is called by a loopback name or address, so others are refused.
//! - Origin: browsers name the page that sends a POST. Another than the one served here is refused.
//!   Programs send no Origin.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;

/// Hands the request on, if it is none of another page's. With `loopback_only`, the host it asks for
/// must be this machine.
pub(super) async fn guard(
    State(loopback_only): State<bool>,
    request: Request,
    next: Next,
) -> Response {
    match check(request.method(), request.headers(), loopback_only) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn check(method: &Method, headers: &HeaderMap, loopback_only: bool) -> Result<(), Failure> {
    let forbidden = |message| Err(Failure::new(StatusCode::FORBIDDEN, message));
    let host = only(headers, header::HOST).and_then(|host| host.parse::<Authority>().ok());
    let Some(host) = host else {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "one header Host is needed"));
    };
    if loopback_only && !is_loopback(host.host()) {
        return forbidden("this server is for its own machine: ask for 127.0.0.1 or localhost");
    }
    let reads_only = method == Method::GET || method == Method::HEAD;
    if !reads_only && headers.contains_key(header::ORIGIN) {
        let origin =
            only(headers, header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        if origin != Some(host.as_str()) {
            return forbidden("pages of other servers may not use this one");
        }
    }
    Ok(())
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, headers: &[(HeaderName, &str)], loopback_only: bool) -> u16 {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let checked = check(&method, &HeaderMap::from_iter(headers), loopback_only);
        checked.map_or_else(|failure| failure.status.as_u16(), |()| 200)
    }

    #[test]
    fn a_loopback_server_answers_to_loopback_names_only() {
        let names = ["127.0.0.1:8000", "127.1.2.3", "localhost", "LocalHost:1", "[::1]:8000"];
        for host in names {
            assert_eq!(status(Method::GET, &[(header::HOST, host)], true), 200, "{host}");
        }
        let others =
            ["example.org", "127.0.0.1.example.org:8000", "localhost.example.org", "10.0.0.1"];
        for host in others {
            assert_eq!(status(Method::GET, &[(header::HOST, host)], true), 403, "{host}");
            assert_eq!(status(Method::GET, &[(header::HOST, host)], false), 200, "{host}");
        }
        for host in ["", "a b", "http://localhost"] {
            assert_eq!(status(Method::GET, &[(header::HOST, host)], true), 400, "{host:?}");
        }
        assert_eq!(status(Method::GET, &[], true), 400);
        let twice = [(header::HOST, "localhost"), (header::HOST, "localhost")];
        let mut headers = HeaderMap::new();
        for (name, value) in twice {
            headers.append(name, value.parse().unwrap());
        }
        assert!(check(&Method::GET, &headers, true).is_err());
    }

    #[test]
    fn only_its_own_page_and_programs_may_post() {
        let of = |method: Method, origin: &str| {
            let headers = [(header::HOST, "localhost:8000"), (header::ORIGIN, origin)];
            status(method, &headers, true)
        };
        assert_eq!(of(Method::POST, "http://localhost:8000"), 200);
        assert_eq!(status(Method::POST, &[(header::HOST, "localhost:8000")], true), 200);
        let others =
            ["http://localhost:3000", "http://127.0.0.1:8000", "https://localhost:8000", "null"];
        for origin in others {
            assert_eq!(of(Method::POST, origin), 403, "{origin}");
            assert_eq!(of(Method::GET, origin), 200, "{origin}");
        }
    }
}
