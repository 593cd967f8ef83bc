//! Downloads over TLS: whose certificates are believed.

use crate::common;
use crate::tls::{Authority, accept};

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::program::{finish, signet, start, stderr};
use rustls::ServerConfig;
use tempfile::TempDir;

/// What answers any request over TLS: there is no such file.
fn answer(config: &Arc<ServerConfig>, stream: TcpStream) {
    let mut client = BufReader::new(accept(config, stream));
    let mut line = String::new();
    while client.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    let stream = client.get_mut();
    let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // The client may not believe the certificate, and have gone.
    _ = stream.write_all(head.as_bytes());
    stream.conn.send_close_notify();
    _ = stream.flush();
}

/// Listens for as long as the test program lives.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

struct Site {
    folder: TempDir,
    authority: Authority,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new() }
    }

    /// A file with the authority's certificate.
    fn certificate(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.authority.pem()).unwrap();
        path
    }

    /// `data fetch` from `mirror`; what it says, as nothing can be had there.
    fn fetch(&self, mirror: &str, set: impl Fn(&mut Command)) -> String {
        let out = self.folder.path().join("out");
        let mut command = signet(&["data", "fetch", "--out", out.to_str().unwrap()]);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        command.env("SIGNET_MIRRORS", mirror);
        set(&mut command);
        let output = finish(start(&mut command));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    }
}

/// What a server is told that is believed, and one that is not.
const BELIEVED: &str = "the file is not there (HTTP 404)";
const STRANGER: &str = "name the proxy's certificate in SSL_CERT_FILE";

#[test]
fn certificates_that_are_named_are_believed() {
    let site = Site::new();
    let config = site.authority.server("localhost");
    let address = listen(move |stream| answer(&config, stream));
    let mirror = format!("https://localhost:{}/", address.port());
    let file = site.certificate("ca.pem");
    // OpenSSL's names of the files of a folder.
    let folder = site.certificate("certificates/0a1b2c3d.0").parent().unwrap().to_owned();

    let said = site.fetch(&mirror, |_| {});
    assert!(said.contains(STRANGER) && !said.contains(BELIEVED), "{said}");
    let said = site.fetch(&mirror, |command| _ = command.env("SSL_CERT_FILE", &file));
    assert!(said.contains(BELIEVED), "{said}");
    let said = site.fetch(&mirror, |command| _ = command.env("SSL_CERT_DIR", &folder));
    assert!(said.contains(BELIEVED), "{said}");
    // Of another authority than the one that is named.
    let other = site.folder.path().join("other.pem");
    fs::write(&other, Authority::new().pem()).unwrap();
    let said = site.fetch(&mirror, |command| _ = command.env("SSL_CERT_FILE", &other));
    assert!(said.contains(STRANGER), "{said}");

    // What cannot be read is named.
    let empty = site.folder.path().join("empty.pem");
    fs::write(&empty, "no certificate").unwrap();
    for wrong in [&*empty, Path::new("/nowhere/ca.pem")] {
        let said = site.fetch(&mirror, |command| _ = command.env("SSL_CERT_FILE", wrong));
        let named = format!("{}: no certificate can be read from it", wrong.display());
        assert!(said.contains(&named) && said.contains("SSL_CERT_FILE names it"), "{said}");
    }
}

#[test]
fn a_proxy_that_looks_into_connections_is_believed_by_its_certificate() {
    let site = Site::new();
    let config = site.authority.server("data.example");
    let address = listen(move |stream| {
        let mut client = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(client.by_ref().take(4096).read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("CONNECT data.example:443 HTTP/1.1\r\n"), "{head}");
        let mut client = client.into_inner();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        answer(&config, client);
    });
    let file = site.certificate("ca.pem");
    let proxy = format!("http://{address}");
    let behind = |command: &mut Command| _ = command.env("HTTPS_PROXY", &proxy);
    let said = site.fetch("https://data.example/", behind);
    assert!(said.contains(STRANGER), "{said}");
    let said = site.fetch("https://data.example/", |command| {
        behind(command);
        command.env("SSL_CERT_FILE", &file);
    });
    assert!(said.contains(BELIEVED), "{said}");
}
