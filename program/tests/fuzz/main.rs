//! What comes from outside, changed at random: whatever the bytes are, each reader gives a value or
//! an error, in bounded time and memory. A panic, a wait and an allocation bomb are failures.
//!
//! | file | subject |
//! |---|---|
//! | `targets.rs` | the readers: files to begin with, and what keeps a changed file readable |
//! | `http.rs` | one more: what a client sends to `signet serve` |
//! | `mutate.rs` | changes of bytes |
//! | `memory.rs` | how much memory a run takes |
//! | `panics.rs` | panics, also in other threads and those that are caught |
//! | `corpus/` | for each target, files that had an outcome of their own |
//! | `crashers/` | files that once made it fail |
//!
//! There is no coverage to steer by on a stable compiler. What steers is the outcome: a file whose
//! outcome (the error, or how much was read) was not seen yet joins those that are changed further.
//!
//! | variable | meaning |
//! |---|---|
//! | `SIGNET_FUZZ_SECONDS` | how long for each target; 2 where unset |
//! | `SIGNET_FUZZ_SEED` | other random numbers |
//! | `SIGNET_FUZZ_LIST` | set: the outcomes are listed, with how often each came |
//! | `SIGNET_FUZZ_KEEP` | set: files with new outcomes are written to `corpus/` |
//!
//! A file that makes a target fail is written to `crashers/`.

#[path = "../common/mod.rs"]
mod common;

mod http;
mod memory;
mod mutate;
mod panics;
mod targets;

use memory::Peak;
use signet::rng::Philox;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};
use targets::Target;

/// Larger files are not changed further.
const MAX_BYTES: usize = 64 << 10;
/// A run that takes longer does not end.
const HANGS_AFTER: Duration = Duration::from_secs(20);

/// One target at a time: memory and panics are counted for the whole process.
static TURN: Mutex<()> = Mutex::new(());
/// What is being read, and since when.
static CURRENT: Mutex<Option<(Instant, &str, Vec<u8>)>> = Mutex::new(None);

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(kind).join(target)
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn write(kind: &str, target: &str, bytes: &[u8]) -> PathBuf {
    use sha2::{Digest, Sha256};
    let hash: String = Sha256::digest(bytes).iter().take(6).map(|b| format!("{b:02x}")).collect();
    let path = folder(kind, target).join(hash);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Ends the process when a run does not end, after writing down what it reads.
fn watch_for_hangs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(HANGS_AFTER / 10);
                if let Some((since, target, bytes)) = &*CURRENT.lock().unwrap()
                    && since.elapsed() > HANGS_AFTER
                {
                    let path = write("crashers", target, bytes);
                    eprintln!("{target} does not end on {}", path.display());
                    std::process::exit(1);
                }
            }
        });
    });
}

/// One run: what came out of it, or how it failed.
fn run(target: &Target, bytes: &[u8]) -> Result<String, String> {
    *CURRENT.lock().unwrap() = Some((Instant::now(), target.name, bytes.to_vec()));
    panics::take();
    let peak = Peak::start();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(bytes)));
    let (taken, time) = (peak.bytes(), CURRENT.lock().unwrap().take().map(|run| run.0.elapsed()));
    if let Some(place) = panics::take() {
        let caught =
            outcome.map_or(String::new(), |outcome| format!(", which was caught: {outcome}"));
        return Err(format!("it panicked at {place}{caught}"));
    }
    let outcome = outcome.map_err(|_| "it panicked".to_owned())?;
    if taken > target.memory {
        return Err(format!("it took {} MB of memory for {outcome}", taken >> 20));
    }
    match time {
        Some(time) if time > HANGS_AFTER => Err(format!("it took {time:?}")),
        _ => Ok(outcome),
    }
}

/// An outcome without what comes from the file: the first and the last words of a message, around
/// what it quotes.
fn class(outcome: &str) -> String {
    // Capitals are of the file as often as not, and so are words of few letters.
    let is_word = |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_lowercase());
    let words = |text: &str| text.split(' ').filter(is_word).take(8).collect::<Vec<_>>().join(" ");
    if outcome.starts_with("ok") {
        return outcome.to_owned();
    }
    let is_quote = |letter| matches!(letter, '"' | '`' | '\'');
    match (outcome.find(is_quote), outcome.rfind(is_quote)) {
        (Some(first), Some(last)) => {
            format!("{} … {}", words(&outcome[..first]), words(&outcome[last..]))
        }
        _ => words(outcome),
    }
}

fn fuzz(target: &Target) {
    let _turn = TURN.lock().unwrap_or_else(|poison| poison.into_inner());
    watch_for_hangs();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seconds = number("SIGNET_FUZZ_SECONDS").unwrap_or(2);
    let mut random = Philox::new(number("SIGNET_FUZZ_SEED").unwrap_or(0)).sequence(0, 0);
    let keeps = std::env::var_os("SIGNET_FUZZ_KEEP").is_some();
    let mut failures = BTreeMap::new();
    let mut classes = BTreeMap::<String, u64>::new();
    let mut pool = Vec::new();
    let seeds = [(target.seeds)(), files(&folder("corpus", target.name))].concat();
    let known = seeds.into_iter().chain(files(&folder("crashers", target.name)));
    for bytes in known {
        match run(target, &bytes) {
            Ok(outcome) => *classes.entry(class(&outcome)).or_default() += 1,
            Err(failure) => _ = failures.insert(failure, write("crashers", target.name, &bytes)),
        }
        pool.push(bytes);
    }
    let seen_before = classes.len();
    let begin = Instant::now();
    let mut runs = 0_u64;
    while begin.elapsed() < Duration::from_secs(seconds) && failures.len() < 10 {
        let bytes = (target.change)(&pool, &mut random);
        runs += 1;
        match run(target, &bytes) {
            Ok(outcome) => {
                let count = classes.entry(class(&outcome)).or_default();
                *count += 1;
                if *count == 1 && bytes.len() <= MAX_BYTES {
                    if keeps {
                        write("corpus", target.name, &bytes);
                    }
                    pool.push(bytes);
                }
            }
            Err(failure) => {
                // At once: the run may not get to its end.
                let write = || write("crashers", target.name, &bytes);
                _ = failures.entry(failure).or_insert_with(write);
            }
        }
    }
    let name = target.name;
    println!(
        "{name}: {runs} runs in {:.0?}, {} outcomes, {} of them new",
        begin.elapsed(),
        classes.len(),
        classes.len() - seen_before
    );
    if std::env::var_os("SIGNET_FUZZ_LIST").is_some() {
        classes.iter().for_each(|(class, count)| println!("{count:10} {class}"));
    }
    for (failure, path) in &failures {
        eprintln!("{name}: {failure}: {}", path.display());
    }
    assert!(failures.is_empty(), "{} kinds of failure, see above", failures.len());
    assert!(classes.len() > 3, "only {classes:?}: the changes do not get far");
}

#[test]
fn csv() {
    fuzz(&targets::CSV);
}

#[test]
fn gzip() {
    fuzz(&targets::GZIP);
}

#[test]
fn utf16() {
    fuzz(&targets::UTF16);
}

#[test]
fn zip() {
    fuzz(&targets::ZIP);
}

#[test]
fn safetensors() {
    fuzz(&targets::SAFETENSORS);
}

#[test]
fn pth() {
    fuzz(&targets::PTH);
}

#[test]
fn state() {
    fuzz(&targets::STATE);
}

#[test]
fn photo() {
    fuzz(&targets::PHOTO);
}

#[test]
fn kernel() {
    fuzz(&targets::KERNEL);
}

#[test]
fn http() {
    fuzz(&http::HTTP);
}

/// The harness itself notices what it is there for.
#[test]
fn failures_are_noticed() {
    let read = |bytes: &[u8]| match bytes {
        [0, ..] => panic!("on purpose"),
        [1, ..] => format!("ok, {}", std::hint::black_box(vec![1_u8; 5 << 20]).len()),
        [2, ..] => std::thread::scope(|scope| {
            let thread = scope.spawn(|| std::hint::black_box(vec![1_u8; 5 << 20]).len());
            format!("ok, {}", thread.join().unwrap())
        }),
        [3, ..] => match std::thread::spawn(|| panic!("on purpose")).join() {
            Ok(()) => "ok".to_owned(),
            Err(_) => "caught".to_owned(),
        },
        _ => "ok".to_owned(),
    };
    let target = Target { name: "itself", memory: 1 << 20, read, ..targets::KERNEL };
    let _turn = TURN.lock().unwrap_or_else(|poison| poison.into_inner());
    for (first, end) in [(0, ""), (3, ", which was caught: caught")] {
        let failure = run(&target, &[first]).unwrap_err();
        let place = failure.strip_prefix("it panicked at program/tests/fuzz/main.rs:").unwrap();
        assert_eq!(place.trim_start_matches(char::is_numeric), end);
    }
    for first in [1, 2] {
        let failure = run(&target, &[first]).unwrap_err();
        assert!(failure.contains("5 MB of memory"), "{failure}");
    }
    assert_eq!(class("the label \"Ab x\" of line 5 is no number"), "label … line number");
}
