//! A server of its own for a test, and a client that can be as slow and as wrong as it likes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

#[cfg(unix)]
use crate::common::program::Signal;
use crate::common::program::{finish, signet, with_model};

/// How long an answer may take before it counts as lost.
pub const LOST_AFTER: Duration = Duration::from_secs(60);

/// `signet serve` as a process; ended with the test.
pub struct Serving {
    child: Option<Child>,
    pub address: SocketAddr,
    /// What it printed: the address of the page.
    pub url: String,
    model: (TempDir, PathBuf),
}

impl Serving {
    /// On a free port, with an untrained model of 24 classes.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(24, args, &[])
    }

    /// The same, of so many classes, with these variables in its environment.
    pub fn start_with(classes: usize, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::serve(with_model(classes), args, variables)
    }

    /// With the model of a run.
    pub fn start_on(run: &Path) -> Self {
        Self::serve((tempfile::tempdir().unwrap(), run.to_path_buf()), &[], &[])
    }

    fn serve(model: (TempDir, PathBuf), args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = signet(&["serve", model.1.to_str().unwrap(), "--port", "0"]);
        command.args(["--device", "cpu", "--threads", "1"]).args(args);
        command.envs(variables.iter().copied());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.trim().strip_prefix("http://").and_then(|url| url.strip_suffix('/'));
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            panic!("no address: {url:?} {:?}", child.wait_with_output());
        };
        Self { child: Some(child), address, url, model }
    }

    pub fn model(&self) -> &Path {
        &self.model.1
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends it a signal.
    #[cfg(unix)]
    pub fn signal(&self, signal: Signal) {
        crate::common::program::signal(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Output {
        finish(self.child.take().expect("it runs"))
    }

    /// Asks once, on a connection of its own.
    pub fn ask(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Answer {
        ask(self.address, method, target, headers, body)
    }

    /// Posts an image.
    pub fn predict(&self, query: &str, image: &[u8]) -> Answer {
        self.ask("POST", &format!("/predict{query}"), &[], image)
    }

    /// That it still does what it is for.
    #[track_caller]
    pub fn check_alive(&self) {
        let answer = self.ask("GET", "/healthz", &[], b"");
        assert_eq!((answer.status, &answer.json()["status"]), (200, &Value::from("ok")));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// That it is an error that says why, in JSON.
    #[track_caller]
    pub fn check_error(&self, status: u16, message: &str) {
        let said = self.error(status);
        assert!(said.contains(message), "{said}");
    }

    /// What an answer with this status says, and it is an error and nothing else.
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        json["error"].as_str().unwrap().to_owned()
    }
}

/// The bytes of a request; a `headers` entry that names the host takes the place of the right one.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|header| header.starts_with("Host")) {
        head += &format!("Host: {address}\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Transfer-Encoding")) {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for header in headers {
        head += &format!("{header}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(LOST_AFTER)).unwrap();
    stream.set_write_timeout(Some(LOST_AFTER)).unwrap();
    stream
}

pub fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut stream = connect(address);
    stream.write_all(&request(address, method, target, headers, body)).expect("it is read");
    answer(&mut BufReader::new(stream)).expect("there is an answer")
}

/// Reads one answer; none if the server closes before there is one.
///
/// # Panics
/// If it takes too long, or is none of HTTP.
pub fn answer(stream: &mut BufReader<TcpStream>) -> Option<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_line(&mut head) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no answer: {error}, so far {head:?}"),
        }
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut answer = Answer { status: status.expect("a status"), head, body: Vec::new() };
    let length = answer.header("Content-Length").map_or(0, |length| length.parse().unwrap());
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).expect("the whole answer");
    Some(answer)
}
