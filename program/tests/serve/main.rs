//! `signet serve`, run as a user runs it, and by clients that are slow, wrong, or gone.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/tls.rs"]
mod tls;

mod client;
mod proxy;
mod refused;
mod soak;

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use client::{Answer, Serving, answer, ask, connect, request};
use common::photos::{bad_files, photo_cases, photo_file};
#[cfg(unix)]
use common::program::Signal;
use common::program::{run, stderr, stdout, with_model};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use signet_cli::photo::{Crop, decode};
use signet_cli::serve::{
    About, BODY_TIME, CONNECTIONS, GRACE, HEADER_TIME, MAX_BODY, QUEUE, Server, Stop, WRITE_TIME,
};

/// What a test may take longer than a limit, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(20);

#[test]
fn answers_are_those_of_predict() {
    let server = Serving::start(&[]);
    let names =
        ["exact_rgb_47x61", "lossy_jpeg_exif_6", "lossy_webp", "near_rgba", "exact_webp_animated"];
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in names.map(|name| (name, photo_file(name))) {
        let path = folder.path().join(name);
        std::fs::write(&path, &file).unwrap();
        let model = server.model().to_str().unwrap();
        for crop in [None, Some("none"), Some("center"), Some("auto")] {
            let mut args = vec!["predict", model, path.to_str().unwrap(), "--json"];
            args.extend(crop.iter().flat_map(|crop| ["--crop", crop]));
            let output = run(&args);
            let mut line: Value = serde_json::from_str(&stdout(&output)).unwrap();
            line.as_object_mut().unwrap().remove("path").unwrap();
            let query = crop.map_or(String::new(), |crop| format!("?crop={crop}"));
            let answer = server.predict(&query, &file);
            assert_eq!((answer.status, answer.json()), (200, line), "{name} {crop:?}");
            assert_eq!(answer.header("Content-Type"), Some("application/json"));
        }
        // What the network saw, where it is asked for.
        let mut seen = server.predict("?seen=true&crop=center", &file).json();
        let pixels = seen.as_object_mut().unwrap().remove("seen").unwrap();
        let image = Crop::Center.image(&decode(&file).unwrap());
        assert_eq!(pixels, serde_json::json!(image.to_vec()), "{name}");
        assert_eq!(seen, server.predict("?crop=center", &file).json());
    }
    // A crop that was chosen for the server is that of requests which choose none.
    let whole = Serving::start(&["--crop", "none"]);
    let file = photo_file("exact_rgb_120x29");
    assert_eq!(whole.predict("", &file).json(), server.predict("?crop=none", &file).json());
    assert_ne!(whole.predict("", &file).json(), server.predict("?crop=center", &file).json());
}

#[test]
fn what_cannot_be_answered_is_an_error_that_says_why() {
    let server = Serving::start(&[]);
    let good = photo_file("exact_rgb_28x28");
    let post = |headers: &[&str], body: &[u8]| server.ask("POST", "/predict", headers, body);
    for (name, bytes) in bad_files() {
        let answer = post(&[], &bytes);
        let (status, message) = match &*name {
            "empty.png" => (400, "the file is empty"),
            "text.png" => (415, "it is no PNG, JPEG, WebP, GIF, BMP or TIFF image"),
            "huge.png" | "huge.jpg" => (413, " pixels; at most 50 million are read"),
            "truncated.jpg" | "truncated.png" | "truncated.webp" => (400, "ends too early"),
            _ => (400, ""),
        };
        answer.check_error(status, message);
    }
    let huge = bad_files().into_iter().find(|(name, _)| name == "huge.png").unwrap().1;
    post(&[], &huge).check_error(413, "50000 x 50000");
    post(&["Content-Type: multipart/form-data; boundary=x"], b"--x\r\n\r\n--x--")
        .check_error(415, "not a form");
    let text = post(&["Content-Type: text/plain"], b"a letter").error(415);
    assert_eq!(text, "it is no PNG, JPEG, WebP, GIF, BMP or TIFF image");

    // Too large: announced or not, sent or not.
    let large = vec![0; MAX_BODY + (1 << 20)];
    post(&[], &large).check_error(413, "larger than 10 MiB");
    let mut chunk = format!("{:x}\r\n", large.len()).into_bytes();
    chunk.extend_from_slice(&large);
    chunk.extend_from_slice(b"\r\n0\r\n\r\n");
    post(&["Transfer-Encoding: chunked"], &chunk).check_error(413, "larger than 10 MiB");
    for head in ["Content-Length: 11000000\r\nExpect: 100-continue", "Content-Length: 99999999999"]
    {
        let mut stream = connect(server.address);
        let head = format!("POST /predict HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let answer = answer(&mut BufReader::new(stream)).unwrap();
        answer.check_error(413, "larger than 10 MiB");
    }

    let wrong_method = server.ask("GET", "/predict", &[], b"");
    wrong_method.check_error(405, "another method");
    assert_eq!(wrong_method.header("Allow"), Some("POST"));
    server.ask("POST", "/", &[], b"").check_error(405, "another method");
    server.ask("DELETE", "/healthz", &[], b"").check_error(405, "another method");
    for path in ["/nothing", "/predict/", "/../Cargo.toml", "/%00", "/page/index.html"] {
        server.ask("GET", path, &[], b"").check_error(404, "there is nothing here");
    }
    server.predict("?crop=hand", &good).check_error(400, "`none`, `center`, `auto`");
    server.predict("?corp=none", &good).check_error(400, "corp");
    server.predict("?seen=maybe", &good).check_error(400, "seen");
    server.predict("?%ff%fe=%00", &good).check_error(400, "");

    // Another page's: by a name that points here, or by a request across.
    post(&["Host: example.org"], &good).check_error(403, "its own machine");
    server.ask("GET", "/", &["Host: example.org"], b"").check_error(403, "its own machine");
    post(&["Origin: http://example.org"], &good).check_error(403, "other servers");
    post(&["Origin: null"], &good).check_error(403, "other servers");
    let own = format!("Origin: http://{}", server.address);
    assert_eq!(post(&[&own], &good).status, 200);
    for bytes in
        ["\r\n\r\n\0\0", "GET / HTTP/9\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"]
    {
        let mut stream = connect(server.address);
        stream.write_all(bytes.as_bytes()).unwrap();
        assert_eq!(answer(&mut BufReader::new(stream)).unwrap().status, 400, "{bytes:?}");
    }
    let mut stream = connect(server.address);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(100_000));
    // It may be refused before all of it is sent.
    _ = stream.write_all(long.as_bytes());
    let refused = answer(&mut BufReader::new(stream));
    assert!(refused.is_none_or(|answer| answer.status == 431));

    assert_eq!(server.predict("", &good).status, 200);
}

#[test]
fn the_page_is_whole_and_needs_no_network() {
    let server = Serving::start(&[]);
    let page = server.ask("GET", "/", &[], b"");
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    let mut files = vec!["/".to_owned()];
    let mut types = vec![];
    while let Some(path) = files.pop() {
        let answer = server.ask("GET", &path, &[], b"");
        assert_eq!(answer.status, 200, "{path}");
        types.push((path, answer.header("Content-Type").unwrap().to_owned()));
        let text = String::from_utf8(answer.body).unwrap();
        let outside = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http://") && !outside.contains("https://"), "{text}");
        // What it names is there.
        for part in text.split(['"', '\'']) {
            let name = part.trim_start_matches("./");
            let path = format!("/{name}");
            let is_file = [".js", ".css", ".svg"].iter().any(|ending| name.ends_with(ending));
            if is_file && !types.iter().any(|(known, _)| *known == path) && !files.contains(&path) {
                files.push(path);
            }
        }
    }
    let kind = |path: &str| &*types.iter().find(|(known, _)| known == path).unwrap().1;
    assert_eq!(kind("/style.css"), "text/css; charset=utf-8");
    assert_eq!(kind("/main.js"), "text/javascript; charset=utf-8");
    assert_eq!(kind("/word.js"), "text/javascript; charset=utf-8");
    assert_eq!(kind("/icon.svg"), "image/svg+xml");
    assert_eq!(types.len(), 9, "{types:?}");
    // HEAD is GET without the body, whose length it says.
    let mut stream = connect(server.address);
    stream.write_all(&request(server.address, "HEAD", "/", &["Connection: close"], b"")).unwrap();
    let mut head = String::new();
    stream.read_to_string(&mut head).unwrap();
    let length = format!("content-length: {}\r\n", page.body.len());
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains(&length), "{head}");
}

#[test]
fn every_answer_has_the_headers_that_keep_a_browser_safe() {
    let server = Serving::start(&[]);
    let file = photo_file("exact_rgb_28x28");
    let answers = [
        server.ask("GET", "/", &[], b""),
        server.predict("", &file),
        server.predict("", b"text"),
        server.ask("GET", "/nothing", &[], b""),
        server.ask("GET", "/", &["Host: example.org"], b""),
    ];
    for answer in answers {
        let policy = answer.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
}

#[test]
fn slow_clients_are_let_go_and_the_others_do_not_notice() {
    let server = Serving::start(&[]);
    let file = photo_file("exact_rgb_47x61");
    let address = server.address;
    // How long until the server ends the connection, and what it said.
    let left_alone = |sent: Vec<u8>| {
        std::thread::spawn(move || {
            let start = Instant::now();
            let mut stream = connect(address);
            stream.write_all(&sent).unwrap();
            let mut reader = BufReader::new(stream);
            let answer = answer(&mut reader);
            let mut rest = Vec::new();
            _ = reader.read_to_end(&mut rest);
            (answer, start.elapsed())
        })
    };
    let whole = request(address, "POST", "/predict", &[], &file);
    let silent = left_alone(Vec::new());
    let half_a_header = left_alone(whole[..30].to_vec());
    let half_a_body = left_alone(whole[..whole.len() - 50].to_vec());
    let idle = left_alone(whole.clone());
    // One byte a second keeps nobody waiting for ever either.
    let dripping = std::thread::spawn(move || {
        let start = Instant::now();
        let mut stream = connect(address);
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyy" {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        start.elapsed()
    });
    // One asks for a hundred thousand pages and takes none.
    let greedy = std::thread::spawn(move || {
        let mut stream = connect(address);
        let page = request(address, "GET", "/style.css", &[], b"");
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let asked = (0..100_000).take_while(|_| stream.write_all(&page).is_ok()).count();
        std::thread::sleep(WRITE_TIME + Duration::from_secs(3));
        let mut received = Vec::new();
        _ = stream.read_to_end(&mut received);
        let answers = received.windows(15).filter(|bytes| bytes == b"HTTP/1.1 200 OK").count();
        (asked, answers)
    });
    let start = Instant::now();
    while start.elapsed() < HEADER_TIME / 2 {
        let asked = Instant::now();
        assert_eq!(server.predict("", &file).status, 200);
        assert!(asked.elapsed() < HEADER_TIME / 2, "the others wait: {:?}", asked.elapsed());
    }
    for (what, client) in [("silent", silent), ("half a header", half_a_header)] {
        let (answer, took) = client.join().unwrap();
        assert!(answer.is_none_or(|answer| answer.status == 408), "{what}");
        let second = Duration::from_secs(1);
        assert!(took > HEADER_TIME - second && took < HEADER_TIME + SLACK, "{what}: {took:?}");
    }
    let (answer, took) = half_a_body.join().unwrap();
    answer.unwrap().check_error(408, "the body took longer than 10 seconds");
    assert!(took > BODY_TIME && took < BODY_TIME + SLACK, "{took:?}");
    let (answer, took) = idle.join().unwrap();
    assert_eq!(answer.unwrap().status, 200);
    assert!(took > HEADER_TIME && took < HEADER_TIME + SLACK, "{took:?}");
    let took = dripping.join().unwrap();
    assert!(took < HEADER_TIME + SLACK, "{took:?}");
    let (asked, answers) = greedy.join().unwrap();
    assert!(asked > answers, "{asked} were asked for, {answers} answered: it was never let go");
    server.check_alive();
}

#[test]
fn who_comes_when_all_places_are_taken_waits_for_one() {
    let server = Serving::start(&[]);
    let mut others: Vec<_> = (0..CONNECTIONS).map(|_| connect(server.address)).collect();
    let (sender, answered) = mpsc::channel();
    let address = server.address;
    std::thread::spawn(move || sender.send(ask(address, "GET", "/healthz", &[], b"").status));
    assert!(answered.recv_timeout(Duration::from_secs(1)).is_err(), "there is no limit");
    others.pop();
    assert_eq!(answered.recv_timeout(SLACK), Ok(200));
}

/// Tries cases of `strategy` on one server, which ends with them.
#[track_caller]
fn check_on_a_server<S: Strategy>(
    strategy: S,
    check: impl Fn(&Serving, S::Value) -> Result<(), TestCaseError>,
) {
    let server = Serving::start(&[]);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
    let result = TestRunner::new(config).run(&strategy, |value| check(&server, value));
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn garbage_ends_a_connection_and_nothing_else() {
    check_on_a_server(garbage(), |server, batch| {
        for bytes in batch {
            let mut stream = connect(server.address);
            // The server may have had enough already.
            _ = stream.write_all(&bytes);
            _ = stream.shutdown(Shutdown::Write);
            let mut received = Vec::new();
            match stream.read_to_end(&mut received) {
                Ok(_) => prop_assert!(received.is_empty() || received.starts_with(b"HTTP/1.1 ")),
                Err(error) => prop_assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            }
        }
        server.check_alive();
        Ok(())
    });
}

#[test]
fn a_body_of_any_bytes_gets_an_answer() {
    let cases = photo_cases();
    let strategy = (0..cases.len(), any::<usize>(), 1_u8.., any::<usize>());
    check_on_a_server(strategy, |server, (case, at, bits, cut)| {
        let mut body = cases[case].file.clone();
        let length = body.len();
        body[at % length] ^= bits;
        body.truncate(1 + cut % (2 * length));
        let answer = server.predict("?seen=true", &body);
        prop_assert!([200, 400, 413, 415].contains(&answer.status), "{answer:?}");
        prop_assert_eq!(answer.json().get("error").is_some(), answer.status != 200);
        Ok(())
    });
}

/// Bytes, and requests with a few bytes exchanged.
fn garbage() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let noise = prop::collection::vec(any::<u8>(), 0..600);
    let start = prop::sample::select(vec![
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n",
        "POST /predict?crop=none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n",
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let edited = (start, edits, noise.clone()).prop_map(|(start, edits, noise)| {
        let mut bytes = start.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        [bytes, noise].concat()
    });
    prop::collection::vec(prop_oneof![noise, edited], 1..6)
}

#[cfg(unix)]
#[test]
fn a_request_under_way_is_answered_before_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = Serving::start(&[]);
        let (address, file) = (server.address, photo_file("exact_rgb_47x61"));
        let whole = request(address, "POST", "/predict", &[], &file);
        // Neither one that is done nor one that never began is waited for.
        let (mut done, silent) = (BufReader::new(connect(address)), connect(address));
        done.get_mut().write_all(&whole).unwrap();
        assert_eq!(answer(&mut done).unwrap().status, 200);
        let mut under_way = BufReader::new(connect(address));
        under_way.get_mut().write_all(&whole[..whole.len() - 1]).unwrap();
        // Until the server has seen the beginning.
        std::thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        server.signal(signal);
        while std::net::TcpStream::connect(address).is_ok() {
            assert!(start.elapsed() < GRACE, "it still takes connections");
            std::thread::sleep(Duration::from_millis(5));
        }
        under_way.get_mut().write_all(&whole[whole.len() - 1..]).unwrap();
        let answer = answer(&mut under_way).expect("it was lost");
        assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
        let output = server.ended();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(start.elapsed() < GRACE, "{:?}", start.elapsed());
        assert!(stderr(&output).ends_with("stopping\n"), "{}", stderr(&output));
        drop(silent);
    }
}

#[cfg(unix)]
#[test]
fn a_client_that_never_finishes_does_not_keep_it_from_ending() {
    let start_one = || {
        let server = Serving::start(&[]);
        let mut stream = connect(server.address);
        stream
            .write_all(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            .unwrap();
        std::thread::sleep(Duration::from_millis(300));
        (server, stream)
    };
    let (server, _stream) = start_one();
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().status.code(), Some(0));
    // Before the client would have been timed out anyway.
    let latest = GRACE + (BODY_TIME - GRACE) / 2;
    assert!(start.elapsed() > GRACE / 2 && start.elapsed() < latest, "{:?}", start.elapsed());

    // Who cannot wait asks twice.
    let (server, _stream) = start_one();
    let start = Instant::now();
    server.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(500));
    server.signal(Signal::SIGINT);
    assert_eq!(server.ended().status.code(), Some(130));
    assert!(start.elapsed() < GRACE, "{:?}", start.elapsed());
}

#[test]
fn an_address_that_cannot_be_had_is_one_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (folder, model) = with_model(24);
    let model = model.to_str().unwrap();
    let refused = |args: &[&str], message: &str| {
        let output = run(&[&["serve", "--device", "cpu"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "no address before it is served");
        let said = stderr(&output);
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(message), "{args:?}: {said}");
    };
    refused(&[model, "--port", &port], "another program listens there; choose another port, or 0");
    refused(&[model, "--port", "0", "--host", "192.0.2.1"], "--host: cannot listen on 192.0.2.1:0");
    refused(&[model, "--port", "0", "--host", ""], "--host");
    refused(&[model, "--port", "65536"], "65536");
    refused(&[folder.path().to_str().unwrap(), "--port", "0"], "is no folder of a run");
}

#[test]
fn the_network_is_let_in_only_when_asked_to_and_it_says_so() {
    let alone = Serving::start(&[]);
    assert!(alone.address.ip().is_loopback());
    assert_eq!(alone.url, format!("http://{}/\n", alone.address));
    let open = Serving::start(&["--host", "0.0.0.0"]);
    // An address that a browser can go to.
    assert_eq!(open.address.ip().to_string(), "127.0.0.1");
    let file = photo_file("exact_rgb_28x28");
    let post =
        |server: &Serving| server.ask("POST", "/predict", &["Host: machine.example:80"], &file);
    assert_eq!((post(&open).status, post(&alone).status), (200, 403));
    #[cfg(unix)]
    for (server, notices) in [(open, true), (alone, false)] {
        server.signal(Signal::SIGTERM);
        let output = server.ended();
        let said = stderr(&output);
        assert_eq!(said.contains("notice: anyone on the network can use this"), notices, "{said}");
    }
}

/// A server in this process, with a model that the test controls.
fn serve_here(
    model: impl FnMut(signet::data::Image) -> signet::Result<Vec<f64>> + Send + 'static,
) -> (std::net::SocketAddr, Stop, std::thread::JoinHandle<signet::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (classes, stop) = (["A".to_owned(), "B".to_owned()], Stop::default());
    let (about, crop, origins) = (About::new("a model", &classes), Crop::None, Vec::new());
    let server = Server { listener, about, crop, origins, stop: stop.clone() };
    (address, stop, std::thread::spawn(move || server.run(model)))
}

#[test]
fn more_requests_than_fit_the_queue_are_told_to_come_again() {
    let (release, held) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let (address, stop, ended) = serve_here(move |_| {
        _ = begin.send(());
        _ = held.recv();
        Ok(vec![0.25, 0.75])
    });
    let file = photo_file("exact_rgb_28x28");
    let (sender, answers) = mpsc::channel::<Answer>();
    let post = || {
        let (sender, file) = (sender.clone(), file.clone());
        std::thread::spawn(move || sender.send(ask(address, "POST", "/predict", &[], &file)));
    };
    // One is computed before the queue fills: until it is taken out, it has a place there.
    post();
    begun.recv_timeout(SLACK).expect("the first is computed");
    let extra = 7;
    (0..QUEUE + extra).for_each(|_| post());
    for _ in 0..extra {
        let answer = answers.recv_timeout(SLACK).expect("the queue is longer than it says");
        answer.check_error(503, "too many requests");
        assert_eq!(answer.header("Retry-After"), Some("1"));
    }
    assert!(answers.recv_timeout(Duration::from_millis(300)).is_err(), "the rest fits");
    drop(release);
    for _ in 0..QUEUE + 1 {
        let answer = answers.recv_timeout(SLACK).expect("it is computed");
        assert_eq!((answer.status, &answer.json()["letter"]), (200, &Value::from("B")));
    }
    stop.stop();
    ended.join().unwrap().unwrap();
}

#[test]
fn a_model_that_fails_or_panics_fails_that_request_alone() {
    let mut calls = 0;
    let (address, stop, ended) = serve_here(move |_| {
        calls += 1;
        match calls {
            1 => panic!("on purpose"),
            2 => Err(signet::Error::argument("model", "is away")),
            _ => Ok(vec![1.0, 0.0]),
        }
    });
    let post = || ask(address, "POST", "/predict", &[], &photo_file("exact_rgb_28x28"));
    post().check_error(500, "panicked");
    post().check_error(500, "model: is away");
    let guess = |letter: &str, probability: f64| serde_json::json!({ "class": letter, "letter": letter, "probability": probability });
    let mut expected = guess("A", 1.0);
    expected["top"] = serde_json::json!([guess("A", 1.0), guess("B", 0.0)]);
    assert_eq!(post().json(), expected);
    stop.stop();
    ended.join().unwrap().unwrap();
}

/// The page says what the model is, and draws the alphabet for who does not sign.
#[test]
fn the_page_is_told_what_the_model_is() {
    let server = Serving::start(&[]);
    let model = server.ask("GET", "/model", &[], b"").json();
    assert_eq!(model["name"], "model.safetensors");
    assert_eq!((&model["letters"], &model["synthetic"]), (&true.into(), &false.into()));
    assert_eq!(model["data"], Value::Null, "a file says nothing of its data");
    assert_eq!(model["classes"][9], "K");
    let hand = |name: &str| server.ask("GET", &format!("/hands/{name}"), &[], b"");
    let pictures: Vec<_> = ["A", "B", "Y"].map(|letter| hand(&format!("{letter}.png"))).into();
    for picture in &pictures {
        assert_eq!((picture.status, picture.header("Content-Type")), (200, Some("image/png")));
        let image = signet_cli::photo::decode(&picture.body).unwrap();
        assert_eq!((image.width, image.height), (168, 168));
        assert!(picture.header("Content-Security-Policy").is_some());
    }
    assert!(pictures[0].body != pictures[1].body && pictures[1].body != pictures[2].body);
    for missing in ["J.png", "Z.png", "A", "a.png", "AB.png", "..%2fA.png", ".png"] {
        hand(missing).check_error(404, "there is nothing here");
    }
    let page = String::from_utf8(server.ask("GET", "/", &[], b"").body).unwrap();
    assert!(page.contains("id=\"alphabet\"") && page.contains("id=\"model\""), "{page}");
}

#[test]
fn other_classes_than_letters_are_called_classes() {
    let server = Serving::start_with(3, &[], &[]);
    let model = server.ask("GET", "/model", &[], b"").json();
    assert_eq!(
        (&model["letters"], &model["classes"]),
        (&false.into(), &serde_json::json!(["0", "1", "2"]))
    );
    server.ask("GET", "/hands/A.png", &[], b"").check_error(404, "there is nothing here");
    let answer = server.predict("", &photo_file("exact_rgb_28x28")).json();
    assert_eq!(answer["top"].as_array().unwrap().len(), 3);
    assert_eq!(answer["class"], answer["top"][0]["class"]);
    assert!(!answer.to_string().contains("letter"), "{answer}");
    // Where they are letters, programs find them by both names.
    let letters = Serving::start(&[]).predict("", &photo_file("exact_rgb_28x28")).json();
    assert!(letters["letter"].is_string() && letters["letter"] == letters["class"], "{letters}");
}

/// A run's model says what it learned from, and not where that lies.
#[test]
fn a_run_is_called_by_its_name_and_its_data() {
    let place = common::program::Place::new(40, 10);
    let trained = run(&place.train("first", &["--epochs", "1", "-q", "--no-report"]));
    assert!(trained.status.success(), "{}", stderr(&trained));
    let folder = place.run_folder("first");
    let server = Serving::start_on(&folder);
    let model = server.ask("GET", "/model", &[], b"").json();
    assert_eq!((&model["name"], &model["data"]), (&"first".into(), &"Sign Language MNIST".into()));
    // Whatever the folder is called.
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["data_source"] = "Sign Language MNIST (/home/me/hands (old)/csv)".into();
    std::fs::write(&path, config.to_string()).unwrap();
    let model = Serving::start_on(&folder).ask("GET", "/model", &[], b"").json();
    assert_eq!(model["data"], "Sign Language MNIST");
}

/// With a program in the place of the system's, which notes what it should open.
#[cfg(target_os = "linux")]
#[test]
fn the_browser_is_opened_where_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (opener, opened) = (folder.path().join("xdg-open"), folder.path().join("opened"));
    let script = format!("#!/bin/sh\nprintf '%s' \"$1\" > '{}'\n", opened.display());
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let server = Serving::start_with(24, &["--open"], &[("PATH", &path)]);
    server.check_alive();
    let start = Instant::now();
    while !std::fs::read_to_string(&opened).is_ok_and(|url| url == server.url.trim()) {
        assert!(start.elapsed() < SLACK, "{:?}", std::fs::read_to_string(&opened));
        std::thread::sleep(Duration::from_millis(10));
    }
    // Without a browser the page is served all the same.
    let none = Serving::start_with(24, &["--open"], &[("PATH", "/nowhere")]);
    none.check_alive();
}
