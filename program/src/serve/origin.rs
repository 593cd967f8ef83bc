use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};

use signet::Error;

/// Where a web page comes from, as browsers say it: `https://hands.example`, with a port unless it is
/// the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    /// In lower case.
    host: String,
    port: u16,
}

impl Origin {
    /// The page's origin where a browser was sent to `authority`.
    pub(super) fn new(scheme: Scheme, authority: &Authority) -> Option<Self> {
        let default = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let has_user = authority.as_str().contains('@');
        // A port that is no number, or is missing behind its colon.
        let rest = authority.as_str().strip_prefix(authority.host())?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if rest.is_empty() => default,
            None => return None,
        };
        let host = authority.host().to_ascii_lowercase();
        (!has_user && !host.is_empty()).then_some(Self { scheme, host, port })
    }

    /// The name or address, without the port.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme =
            uri.scheme().filter(|&scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)?;
        let is_bare = uri.path_and_query().is_none_or(|path| path == "/");
        if !is_bare {
            return None;
        }
        Self::new(scheme.clone(), uri.authority()?)
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // A fragment is no part of what `Uri` keeps.
        Self::parse(text).filter(|_| !text.contains('#')).ok_or_else(|| {
            let message = format!(
                "{text:?} is no origin: it is the page's address up to the first single /, such as \
                 https://hands.example or https://hands.example:8443"
            );
            Error::argument("--origin", message)
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        let is_default = *port == if *scheme == Scheme::HTTPS { 443 } else { 80 };
        if is_default {
            write!(f, "{scheme}://{host}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_as_browsers_do() {
        let same = [
            ("https://hands.example", "https://hands.example"),
            ("https://Hands.Example:443/", "https://hands.example"),
            ("HTTPS://hands.example:8443", "https://hands.example:8443"),
            ("http://10.0.0.1:80", "http://10.0.0.1"),
            ("https://[::1]:9", "https://[::1]:9"),
        ];
        for (given, shown) in same {
            let origin: Origin = given.parse().unwrap();
            assert_eq!(origin.to_string(), shown);
            assert_eq!(origin, shown.parse().unwrap());
        }
        let none = [
            "",
            "hands.example",
            "hands.example:443",
            "*",
            "null",
            "ftp://hands.example",
            "https://",
            "https://hands.example/hands",
            "https://hands.example/?a",
            "https://hands.example/#a",
            "https://me@hands.example",
            "https://hands.example:",
            "https://hands.example:99999",
            "https://:443",
            "https:///",
            "https://a b",
            "https://hands.example,https://other.example",
        ];
        for given in none {
            let error = given.parse::<Origin>().expect_err(given).to_string();
            assert!(error.starts_with("--origin: ") && error.contains("such as https"), "{error}");
        }
    }
}
