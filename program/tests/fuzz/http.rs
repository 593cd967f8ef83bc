//! The endpoint of `signet serve`: the bytes that a client sends over one connection.
//!
//! The client sends all of them and then waits as long as the server does. Time is the runtime's
//! own, and jumps to the next time limit once nobody has anything left to do. So the server must
//! end each connection by itself and in its time, and what it said must be whole answers.

use crate::common::photos::photo_file;
use crate::mutate::{below, changed};
use crate::targets::Target;
use axum::http::StatusCode;
use signet::data::Image;
use signet::data::letters;
use signet::rng::Sequence;
use signet_cli::photo::Crop;
use signet_cli::serve::{About, Access, BODY_TIME, Endpoint, HEADER_TIME};
use std::sync::LazyLock;
use std::thread;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// Headers of 16 kB, answers of 10, the buffers between, and pictures as small as the seeds'; the
/// checksums of PNG keep larger ones out.
pub const HTTP: Target = Target {
    name: "http",
    memory: 2 << 20,
    seeds: || {
        LazyLock::force(&SERVED);
        seeds()
    },
    change: |pool, random| {
        let bytes = changed(pool, &WORDS, random);
        match random.next_u32() % 4 {
            0 => bytes,
            1 => with_chunks(bytes, random),
            _ => with_length(bytes),
        }
    },
    read,
};

const WORDS: [&[u8]; 44] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" ",
    b":",
    b"\0",
    b"\xff",
    b"GET /",
    b"HEAD /healthz",
    b"POST /predict",
    b"OPTIONS *",
    b"CONNECT localhost:1",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"http://localhost/",
    b"?crop=none",
    b"&seen=true",
    b"&crop=",
    b"%00",
    b"%ff",
    b"%",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"Host: localhost\r\n",
    b"Host: example.org\r\n",
    b"Host: [::1]:8000\r\n",
    b"Origin: http://localhost\r\n",
    b"Origin: null\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 7, 7\r\n",
    b"Content-Length: 10485761\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: keep-alive\r\n",
    b"Trailer: a\r\n",
    b"0\r\n\r\n",
    b"1\r\na\r\n",
    b";a=\"b\"\r\n",
    b"ffffffffffffffff\r\n",
    b"80000000\r\n",
];

fn request(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
    headers.iter().for_each(|header| head += &format!("{header}\r\n"));
    [head.as_bytes(), b"\r\n", body].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let png = photo_file("exact_rgb_28x28");
    let length = format!("Content-Length: {}", png.len());
    let chunked = in_chunks(&png, &[1, 300, 16]);
    let trailed = [&chunked[..chunked.len() - 2], b"Checksum: 1\r\n\r\n"].concat();
    let coding = "Transfer-Encoding: chunked";
    let get = |path: &str| request(&format!("GET {path}"), &[], b"");
    let post = |query: &str, headers: &[&str], body: &[u8]| {
        request(&format!("POST /predict{query}"), headers, body)
    };
    let posted = post("", &[&length], &png);
    vec![
        get("/"),
        get("/healthz"),
        get("/nowhere"),
        get("/predict"),
        request("HEAD /main.js", &[], b""),
        b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".to_vec(),
        request("GET /icon.svg", &["Host: localhost"], b""),
        post("?crop=auto&seen=true", &[&length, "Origin: http://localhost"], &png),
        post("?crop=center", &[&length, "Expect: 100-continue"], &png),
        post("?crop=none", &[coding], &chunked),
        post("?crop=round", &[coding, "Trailer: Checksum"], &trailed),
        post("", &["Content-Length: 7"], b"no file"),
        post("", &["Content-Length: 99999999", "Expect: 100-continue"], b""),
        post("", &[&length, "Origin: http://example.org"], &png),
        post("", &[&length, &format!("X: {}", "x".repeat(15 << 10))], &png),
        [get("/healthz"), posted.clone(), get("/style.css")].concat(),
        posted[..posted.len() - 9].to_vec(),
    ]
}

/// A body in chunks of these sizes, in turn.
fn in_chunks(mut body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        let (chunk, rest) = body.split_at(body.len().min(*size));
        chunks.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()));
        chunks.extend(b"\r\n");
        if chunk.is_empty() {
            break;
        }
        body = rest;
    }
    chunks
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The header of the first request, without its empty line, and what follows.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = find(bytes, b"\r\n\r\n")? + 2;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// The request with another header in place of its Content-Length.
fn with_header(head: &[u8], header: &str, body: &[u8]) -> Option<Vec<u8>> {
    let at = find(head, b"Content-Length")?;
    let end = at + find(&head[at..], b"\r\n")?;
    Some([&head[..at], header.as_bytes(), &head[end..], b"\r\n", body].concat())
}

/// A request that says how long its body is.
fn with_length(bytes: Vec<u8>) -> Vec<u8> {
    let with_length = |(head, body): (&[u8], &[u8])| {
        with_header(head, &format!("Content-Length: {}", body.len()), body)
    };
    parts(&bytes).and_then(with_length).unwrap_or(bytes)
}

/// A request whose body comes in chunks.
fn with_chunks(bytes: Vec<u8>, random: &mut Sequence) -> Vec<u8> {
    let sizes = [1, 60, 4096].map(|most| 1 + below(random, most));
    let with_chunks = |(head, body): (&[u8], &[u8])| {
        with_header(head, "Transfer-Encoding: chunked", &in_chunks(body, &sizes))
    };
    parts(&bytes).and_then(with_chunks).unwrap_or(bytes)
}

struct Served {
    runtime: Runtime,
    endpoint: Endpoint,
}

/// The endpoint as `signet serve` has it by default, with a small model.
static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let access = Access { loopback_only: true, ..Access::default() };
    let (endpoint, worker) = Endpoint::new(About::default(), Crop::Auto, access);
    thread::spawn(move || worker.work(&letters(), |image| Ok(model(&image))));
    Served { runtime, endpoint }
});

/// Probabilities of the classes: how bright the image is in as many stripes.
fn model(image: &Image) -> Vec<f64> {
    let stripe = |class: usize| image.iter().skip(class).step_by(24).map(|&p| f64::from(p) + 1.0);
    let weights: Vec<f64> = (0..24).map(|class| stripe(class).sum()).collect();
    let all: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / all).collect()
}

/// How many bytes are under way at most: what is sent arrives in pieces.
const UNDER_WAY: [usize; 4] = [3, 61, 1400, 64 << 10];

/// Everything was sent at once, so that the server waits for the client one time, at the end.
const LATEST: std::time::Duration = HEADER_TIME.saturating_add(BODY_TIME);

fn read(bytes: &[u8]) -> String {
    let Served { runtime, endpoint } = &*SERVED;
    runtime.block_on(async {
        let begin = Instant::now();
        let (client, server) = tokio::io::duplex(UNDER_WAY[bytes.len() % UNDER_WAY.len()]);
        let serving = tokio::spawn(endpoint.answer(server));
        let (said, mut to_server) = tokio::io::split(client);
        // It need not listen to the end.
        let send = async { _ = to_server.write_all(bytes).await };
        let ((), (answers, rest)) = tokio::join!(send, answers(said));
        assert!(
            rest == 0 || asks_for_another_protocol(bytes),
            "it ends in the middle of an answer"
        );
        serving.await.expect("the connection's task panicked");
        assert!(begin.elapsed() < LATEST, "it took {:?}", begin.elapsed());
        answers
    })
}

/// Then hyper leaves a connection at its end without what is still to be written, for somebody who
/// speaks that protocol. Nobody does here, but it cannot be told so.
fn asks_for_another_protocol(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    [&b"upgrade"[..], b"connect "].iter().any(|word| find(&lower, word).is_some())
}

/// What the server says until it ends the connection: the first few of its answers, in words; and how
/// many bytes there are of one that does not end.
async fn answers(mut said: tokio::io::ReadHalf<DuplexStream>) -> (String, usize) {
    let (mut buffer, mut words, mut count) = (Vec::new(), String::new(), 0);
    loop {
        let ended = said.read_buf(&mut buffer).await.unwrap() == 0;
        while let Some((answer, length)) = first_answer(&buffer, ended) {
            buffer.drain(..length);
            count += 1;
            if count <= 3 {
                words += &answer;
            }
        }
        if ended {
            let words = if count == 0 { "silence".to_owned() } else { words };
            return (words, buffer.len());
        }
    }
}

/// The answer that `said` begins with, in words, and its length; none if it is not there yet.
fn first_answer(said: &[u8], ended: bool) -> Option<(String, usize)> {
    let (head, rest) = parts(said)?;
    let head = std::str::from_utf8(head).expect("a header is text");
    let (line, headers) = head.split_once("\r\n").unwrap();
    let status = line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5));
    let status = status.unwrap_or_else(|| panic!("no answer: {line}")).parse().unwrap();
    let header = |name: &str| {
        let mut pairs = headers.lines().map(|line| line.split_once(": ").expect("a header"));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let length = match header("content-length") {
        Some(length) => length.parse().expect("a length"),
        None if status < 200 => 0,
        None => panic!("an answer without its length: {head}"),
    };
    // The answer to HEAD tells of a body that does not come.
    let has_body = length > 0 && !rest.starts_with(b"HTTP/1.") && !(rest.is_empty() && ended);
    let body = if has_body { rest.get(..length)? } else { &[] };
    // Nothing else computes, so the queue is never full, unless the worker is gone.
    assert!(!matches!(status, 500.. if status != 505), "{head}{}", String::from_utf8_lossy(body));
    let said = match header("content-type") {
        Some("application/json") if !body.is_empty() => {
            let json: serde_json::Value = serde_json::from_slice(body).expect("valid JSON");
            let message = json["error"].as_str().map(without_quotes);
            message.unwrap_or_else(|| "predicted".repeat(usize::from(json["top"].is_array())))
        }
        Some(_) => "page".repeat(body.len().min(1)),
        None => String::new(),
    };
    let reason = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap().to_lowercase();
    let reason = if status == 200 { "fine" } else { &reason };
    Some((format!("{reason} {said} ; "), head.len() + 2 + body.len()))
}

/// The first words of a message, before what it quotes.
fn without_quotes(message: &str) -> String {
    let words = message.split(['"', '\'', '`']).next().unwrap_or_default();
    words.split(' ').take(5).collect::<Vec<_>>().join(" ")
}
