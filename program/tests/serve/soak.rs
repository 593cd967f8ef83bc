//! Ten thousand requests: `cargo test --test serve -- --ignored --nocapture`. Linux says what a process
//! holds.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::client::{Serving, answer, connect, request};
use super::common::photos::photo_file;

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 32;

/// Of each so many requests, one is sent in pieces, and one is preceded by a client that breaks off.
const SLOW: usize = 50;
const BROKEN: usize = 20;

/// Requests until memory is what it stays: buffers and pools are filled by then.
const WARM: usize = 2_000;

/// What memory may differ by, in bytes: the pages of threads and buffers that come and go.
const FLAT: usize = 8 << 20;

/// Clients that send a byte now and then and never come to an end.
const DRIPPING: usize = 8;

#[test]
#[ignore = "ten thousand requests"]
fn ten_thousand_requests_and_none_is_lost() {
    let server = Serving::start(&[]);
    let (address, pid) = (server.address, server.pid());
    let names =
        ["exact_rgb_47x61", "lossy_jpeg_420", "lossy_webp", "near_rgba", "exact_rgb_120x29"];
    let images = names.map(photo_file);
    let expected = images.each_ref().map(|image| server.predict("", image).json());
    let (next, warm) = (AtomicUsize::new(0), Mutex::new(None));
    let (times, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..DRIPPING {
            scope.spawn(|| drip(address, &over));
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = BufReader::new(connect(address));
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= REQUESTS {
                            return;
                        }
                        if number == WARM {
                            *warm.lock().unwrap() = Some(Usage::of(pid));
                        }
                        let image = &images[number % images.len()];
                        let bytes = request(address, "POST", "/predict", &[], image);
                        if number % BROKEN == 0 {
                            break_off(address, &bytes, number);
                        }
                        let slow = number % SLOW == 0;
                        let asked = Instant::now();
                        if slow {
                            for piece in bytes.chunks(bytes.len() / 8 + 1) {
                                stream.get_mut().write_all(piece).unwrap();
                                std::thread::sleep(Duration::from_millis(20));
                            }
                        } else {
                            stream.get_mut().write_all(&bytes).unwrap();
                        }
                        let answer = answer(&mut stream).expect("an answer was lost");
                        assert_eq!(answer.status, 200, "{}", answer.head);
                        assert_eq!(answer.json(), expected[number % images.len()], "{number}");
                        if !slow {
                            times.lock().unwrap().push(asked.elapsed());
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a client found an answer wrong or missing");
    });
    let (took, mut times) = (start.elapsed(), times.into_inner().unwrap());
    times.sort();
    let quantile =
        |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let (warm, end) = (warm.into_inner().unwrap().unwrap(), Usage::of(pid));
    println!(
        "{REQUESTS} requests from {CLIENTS} connections in {:.1} s; ms: p50 {:.1}, p99 {:.1}, longest {:.1}; \
         resident MiB: {:.1} after {WARM}, {:.1} at the end; open files: {}, {}",
        took.as_secs_f64(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        warm.resident as f64 / f64::from(1 << 20),
        end.resident as f64 / f64::from(1 << 20),
        warm.files,
        end.files,
    );
    assert_eq!(times.len(), REQUESTS - REQUESTS / SLOW);
    assert!(end.resident < warm.resident + FLAT, "memory grew: {warm:?}, {end:?}");
    assert!(end.files <= warm.files, "connections stay open: {warm:?}, {end:?}");
    server.check_alive();
}

/// Sends a part of a request, or something else, and goes.
fn break_off(address: SocketAddr, bytes: &[u8], number: usize) {
    let mut stream = connect(address);
    let at = number * 7919 % bytes.len();
    match number / BROKEN % 3 {
        0 => _ = stream.write_all(&bytes[..at]),
        1 => _ = stream.write_all(&bytes[at..]),
        // All of it, and away before the answer.
        _ => _ = stream.write_all(bytes),
    }
}

/// Never finishes a request, again and again.
fn drip(address: SocketAddr, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let mut stream = connect(address);
        for byte in
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n".iter().cycle()
        {
            if over.load(Ordering::Relaxed) || stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident: usize,
    files: usize,
}

impl Usage {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Self { resident: kilobytes << 10, files }
    }
}
