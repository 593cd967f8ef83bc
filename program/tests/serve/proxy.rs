//! Behind a proxy that speaks TLS with browsers and HTTP with the server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::client::{Serving, connect};
use super::common::photos::photo_file;
use super::tls::{Authority, accept};

/// What the proxy writes into Host.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Host {
    /// What the browser said.
    Kept,
    /// The name alone, nginx's `$host`.
    WithoutPort,
    /// Where it sends the request to, nginx's `$proxy_host`.
    Rewritten,
}

/// The page's name in browsers.
const NAME: &str = "hands.example";

/// A proxy before `server`; it lives as long as the test program.
struct Proxy {
    authority: Authority,
    address: SocketAddr,
}

impl Proxy {
    fn before(server: SocketAddr, host: Host) -> Self {
        let authority = Authority::new();
        let config = authority.server(NAME);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut browser = BufReader::new(accept(&config, stream));
                let request = read_request(&mut browser, server, host);
                let mut upstream = connect(server);
                upstream.write_all(&request).unwrap();
                let mut answer = Vec::new();
                upstream.read_to_end(&mut answer).unwrap();
                let browser = browser.get_mut();
                browser.write_all(&answer).unwrap();
                browser.conn.send_close_notify();
                _ = browser.flush();
            }
        });
        Self { authority, address }
    }

    /// The status of a request as a browser sends it: the page's address is `https://` and the
    /// `host`, the page that sends it has `origin`.
    fn status(&self, method: &str, target: &str, headers: &[String], body: &[u8]) -> u16 {
        let stream = TcpStream::connect(self.address).unwrap();
        let mut stream = self.authority.client(NAME, stream);
        let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
        let length = body.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        if method == "POST" {
            assert_eq!(answer.contains(" 200 OK"), answer.contains("\"letter\":"), "{answer}");
        }
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&answer)
    }
}

/// A browser's request, as the proxy hands it on.
fn read_request(browser: &mut impl BufRead, server: SocketAddr, host: Host) -> Vec<u8> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        browser.read_line(&mut line).unwrap();
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "host" if host == Host::Rewritten => line = format!("Host: {server}\r\n"),
            "host" if host == Host::WithoutPort => {
                line = format!("Host: {}\r\n", value.trim().split(':').next().unwrap());
            }
            "\r\n" => {
                let proto = format!("X-Forwarded-Proto: https\r\nX-Forwarded-Host: {NAME}\r\n");
                head += &format!("{proto}Connection: close\r\n\r\n");
                break;
            }
            _ => {}
        }
        head += &line;
    }
    let mut body = vec![0; length];
    browser.read_exact(&mut body).unwrap();
    [head.into_bytes(), body].concat()
}

/// The headers with which a page of `origin` asks `https://hands.example:8443`; browsers since 2023
/// say beside it what it is to that address.
fn headers(origin: &str, site: Option<&str>) -> Vec<String> {
    let site = site.map(|site| format!("Sec-Fetch-Site: {site}"));
    [format!("Host: {NAME}:8443"), format!("Origin: {origin}")].into_iter().chain(site).collect()
}

#[test]
fn its_page_works_behind_a_tls_proxy_and_no_other_page_gets_in() {
    let own = format!("https://{NAME}:8443");
    let told = Serving::start(&["--origin", &own]);
    let untold = Serving::start(&[]);
    let file = photo_file("exact_rgb_47x61");
    for host in [Host::Kept, Host::WithoutPort, Host::Rewritten] {
        let proxy = Proxy::before(told.address, host);
        let post = |origin: &str, site| {
            proxy.status("POST", "/predict?seen=true", &headers(origin, site), &file)
        };
        assert_eq!(proxy.status("GET", "/", &headers(&own, Some("none")), b""), 200, "{host:?}");
        assert_eq!(post(&own, Some("same-origin")), 200, "{host:?}");
        assert_eq!(post(&own, None), 200, "{host:?}, a browser that does not say the site");
        for (origin, site) in [
            ("https://evil.example", Some("cross-site")),
            ("https://evil.example", None),
            ("https://evil.hands.example:8443", Some("same-site")),
            ("https://hands.example", Some("same-site")),
            ("http://hands.example:8443", Some("cross-site")),
            ("null", Some("cross-site")),
            ("null", None),
        ] {
            assert_eq!(post(origin, site), 403, "{host:?} {origin} {site:?}");
        }
        // A program: no page is behind it.
        let program = [format!("Host: {NAME}:8443")];
        assert_eq!(proxy.status("POST", "/predict", &program, &file), 200, "{host:?}");

        // Without being told, the server knows its page where the proxy writes its own Host, from
        // browsers that say the site; the name itself could be anyone's.
        let proxy = Proxy::before(untold.address, host);
        let post =
            |origin: &str, site| proxy.status("POST", "/predict", &headers(origin, site), &file);
        let expected = if host == Host::Rewritten { 200 } else { 403 };
        assert_eq!(post(&own, Some("same-origin")), expected, "{host:?}");
        assert_eq!(post(&own, None), 403, "{host:?}");
        assert_eq!(post("https://evil.example", Some("cross-site")), 403, "{host:?}");
    }
}

#[test]
fn a_tls_proxy_on_this_machine_needs_no_option() {
    let server = Serving::start(&[]);
    let file = photo_file("exact_rgb_47x61");
    let proxy = Proxy::before(server.address, Host::Kept);
    let of = |host: &str, origin: &str| {
        let headers = [format!("Host: {host}"), format!("Origin: {origin}")];
        proxy.status("POST", "/predict", &headers, &file)
    };
    assert_eq!(of("localhost:8443", "https://localhost:8443"), 200);
    assert_eq!(of("localhost", "https://localhost"), 200);
    assert_eq!(of("localhost:8443", "https://localhost:3000"), 403);
    assert_eq!(of("hands.example", "https://hands.example"), 403);
}

#[test]
fn an_origin_that_is_none_is_an_error() {
    let (_folder, model) = super::with_model(24);
    let model = model.to_str().unwrap();
    for wrong in ["hands.example", "https://hands.example/hands", "*"] {
        let output = super::run(&["serve", model, "--port", "0", "--origin", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let said = super::stderr(&output);
        assert!(said.contains("--origin") && said.contains("https://hands.example:8443"), "{said}");
    }
}
