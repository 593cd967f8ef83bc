//! Requests that are refused while their body is on its way: the reason arrives, and so does the
//! answer to what comes next.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::client::{Answer, Serving, answer, connect, request};
use super::common::photos::photo_file;
use super::{BODY_TIME, MAX_BODY, SLACK};

/// Every way in which a request with a body is refused: method, target, header, status.
const REFUSED: [(&str, &str, &str, u16); 8] = [
    ("POST", "/predict/", "X: y", 404),
    ("POST", "/predict?crop=None", "X: y", 400),
    ("POST", "/predict", "Origin: http://localhost:5173", 403),
    ("POST", "/predict", "Sec-Fetch-Site: cross-site", 403),
    ("POST", "/predict", "Host: myhost", 403),
    ("POST", "/predict", "Host: a, b", 400),
    ("PUT", "/predict", "X: y", 405),
    ("GET", "/nothing", "X: y", 404),
];

/// Sends all of a request, then looks for the answer, as most programs do.
fn ask(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> Answer {
    stream.get_mut().write_all(bytes).expect("all of it is taken");
    answer(stream).expect("there is an answer")
}

#[test]
fn a_refused_body_costs_neither_the_reason_nor_the_next_request() {
    let server = Serving::start(&[]);
    let (address, good) = (server.address, photo_file("exact_rgb_47x61"));
    let expected = server.predict("", &good).json();
    let mid = [good.clone(), vec![7; 100_000]].concat();
    let sizes = [vec![7; 2_700], mid, vec![7; 1_000_000], vec![7; 9_000_000]];
    for (method, target, header, status) in REFUSED {
        for body in &sizes {
            let what = format!("{method} {target} {header} {}", body.len());
            let mut stream = BufReader::new(connect(address));
            // A connection that has been used, as a browser's.
            let alive = request(address, "GET", "/healthz", &[], b"");
            assert_eq!(ask(&mut stream, &alive).status, 200, "{what}");
            let refused = request(address, method, target, &[header], body);
            let refused = ask(&mut stream, &refused);
            refused.error(status);
            assert_eq!(refused.header("Connection"), None, "{what}");
            let next = ask(&mut stream, &request(address, "POST", "/predict", &[], &good));
            assert_eq!((next.status, next.json()), (200, expected.clone()), "{what}");
        }
    }
    // What is no picture, and what is too large and still read.
    for (body, status) in [(vec![7; 1_000_000], 415), (vec![7; 3 * MAX_BODY], 413)] {
        let mut stream = BufReader::new(connect(address));
        let refused = ask(&mut stream, &request(address, "POST", "/predict", &[], &body));
        refused.error(status);
        assert_eq!(refused.header("Connection"), None);
        let next = ask(&mut stream, &request(address, "POST", "/predict", &[], &good));
        assert_eq!((next.status, next.json()), (200, expected.clone()));
    }
}

#[test]
fn requests_that_follow_without_waiting_are_answered_in_turn() {
    let server = Serving::start(&[]);
    let address = server.address;
    let good = photo_file("exact_rgb_47x61");
    for (method, target, header, status) in REFUSED {
        let mut stream = BufReader::new(connect(address));
        let refused = request(address, method, target, &[header], &vec![7; 300_000]);
        let next = request(address, "POST", "/predict", &[], &good);
        stream.get_mut().write_all(&[refused, next].concat()).unwrap();
        answer(&mut stream).unwrap().error(status);
        assert_eq!(answer(&mut stream).unwrap().status, 200, "{method} {target} {header}");
    }
}

#[test]
fn a_body_without_end_is_told_that_the_connection_ends() {
    let server = Serving::start(&[]);
    let address = server.address;
    // More than is read on: the reason comes before the end, and with it the word to stop.
    for (target, status) in [("/predict", 413), ("/nothing", 404)] {
        let mut stream = BufReader::new(connect(address));
        let length = 4 * MAX_BODY + 1;
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        // So much goes out before a program looks.
        stream.get_mut().write_all(&vec![7; 8_000_000]).expect("it is read on");
        let refused = answer(&mut stream).unwrap();
        refused.error(status);
        assert_eq!(refused.header("Connection"), Some("close"), "{target}");
    }
    // A body that stays behind: told after the time for bodies, and let go.
    let start = Instant::now();
    let mut stream = BufReader::new(connect(address));
    let half = request(address, "POST", "/nothing", &[], &[7; 1000]);
    stream.get_mut().write_all(&half[..half.len() - 1]).unwrap();
    let refused = answer(&mut stream).unwrap();
    refused.error(404);
    assert_eq!(refused.header("Connection"), Some("close"));
    let took = start.elapsed();
    assert!(took > BODY_TIME - Duration::from_secs(1) && took < BODY_TIME + SLACK, "{took:?}");
    // A client that waits for leave to send is not given it.
    let mut stream = BufReader::new(connect(address));
    let head = format!(
        "POST /nothing HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    let start = Instant::now();
    let refused = ask(&mut stream, head.as_bytes());
    refused.error(404);
    assert_eq!(refused.header("Connection"), Some("close"));
    assert!(start.elapsed() < BODY_TIME, "it waited for what nobody sends");
}

#[test]
fn what_is_no_http_learns_it_while_it_still_sends() {
    let server = Serving::start(&[]);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(4_000_000));
    let garbage = ["\0\r\n\r\n".to_owned(), "x".repeat(4_000_000)].concat();
    for (bytes, status) in [(long, 431), (garbage, 400)] {
        for _ in 0..5 {
            let mut stream = BufReader::new(connect(server.address));
            stream.get_mut().write_all(bytes.as_bytes()).expect("it is read on");
            let refused = answer(&mut stream).expect("there is an answer");
            assert_eq!((refused.status, refused.header("Connection")), (status, Some("close")));
        }
    }
    server.check_alive();
}
