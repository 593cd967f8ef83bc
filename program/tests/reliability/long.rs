//! A long run: its memory, its open files and its speed stay what they were.

use crate::common::program::{Place, signet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// What the system knows of a process.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Memory in use, kB.
    memory: f64,
    /// Open files.
    files: usize,
    threads: f64,
    images_per_second: f64,
}

fn sample(pid: u32, images_per_second: f64) -> Sample {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |key: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(key)).expect("the system tells");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Sample { memory: number("VmRSS:"), files, threads: number("Threads:"), images_per_second }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A look at the process after each epoch.
fn watch(epochs: usize, images: usize, threads: &[&str]) -> Vec<Sample> {
    let place = Place::new(images, 24);
    let text = epochs.to_string();
    let args = ["--epochs", &text, "--batch-size", "16", "--json", "-q"];
    let args = place.train("long", &[&args, threads].concat());
    let mut child = signet(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut samples = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        // After the last line it may be gone before we look.
        if samples.len() + 1 < epochs {
            samples.push(sample(child.id(), line["images_per_second"].as_f64().unwrap()));
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(samples.len() + 1, epochs);
    samples
}

/// Compares the second quarter with the last: the first is for warming up.
fn check(samples: &[Sample], slowest: f64) {
    let quarter = samples.len() / 4;
    let (early, late) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let of = |part: &[Sample], get: fn(&Sample) -> f64| median(part.iter().map(get).collect());
    let memory = [early, late].map(|part| of(part, |s| s.memory));
    let speed = [early, late].map(|part| of(part, |s| s.images_per_second));
    let files = [early, late].map(|part| part.iter().map(|s| s.files).max());
    let threads = [early, late].map(|part| of(part, |s| s.threads));
    println!("memory {memory:?} kB, files {files:?}, threads {threads:?}, images/s {speed:?}");
    assert!(memory[1] < 1.03 * memory[0] + 1024.0, "memory grows: {memory:?} kB");
    assert_eq!(files[0], files[1], "files stay open");
    assert_eq!(threads[0], threads[1]);
    assert!(speed[1] > slowest * speed[0], "it slows down: {speed:?} images/s");
}

#[test]
fn memory_and_open_files_stay_what_they_were() {
    // One thread: how much memory several take at once shows late, if they seldom meet. And no word on speed:
    // other tests run beside this one.
    check(&watch(40, 32, &["--threads", "1"]), 0.0);
}

#[test]
#[ignore = "minutes: run by scripts/full"]
fn two_hundred_epochs_take_no_more_memory_and_time_than_the_first() {
    check(&watch(200, 320, &[]), 0.5);
}
