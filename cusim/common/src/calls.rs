//! What happens on the way into every API function: it is counted, written to the trace, and, if
//! a fault is armed for it, made to fail without running.
//!
//! Each of the two libraries links its own copy of this module, so each has its own counters;
//! `CUSIM_FAULT` and `CUSIM_TRACE` are read by both.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// One API function's place in the counters. Each function owns a static one.
pub struct CallSite {
    name: &'static str,
    count: AtomicU64,
}

/// A planned failure: calls `from..` (or just call `from`) of `function` return `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The function, with or without its `_v2`; `*` is any.
    pub function: String,
    /// Which call fails, counting from 1 and from when the fault was armed.
    pub from: u64,
    /// Whether all later calls fail too (`k+`).
    pub onwards: bool,
    /// The name of the error, such as `CUDA_ERROR_OUT_OF_MEMORY`.
    pub error: String,
    seen: u64,
}

static SITES: Mutex<Vec<&'static CallSite>> = Mutex::new(Vec::new());
static FAULTS: Mutex<Vec<Fault>> = Mutex::new(Vec::new());
/// Whether `FAULTS` holds anything, so that the common case takes no lock.
static ARMED: AtomicBool = AtomicBool::new(false);

impl CallSite {
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, count: AtomicU64::new(0) }
    }

    /// Notes a call; `Some(error)` if it is to fail.
    pub fn enter(&'static self) -> Option<String> {
        if self.count.fetch_add(1, Relaxed) == 0 {
            lock(&SITES).push(self);
        }
        if let Some(trace) = trace() {
            // A trace that cannot be written (disk full) must not fail the program it watches.
            // One write, so that no other thread's comes between.
            let _ = (&*trace).write_all(format!("{}\n", self.name).as_bytes());
        }
        read_environment();
        if ARMED.load(Relaxed) { due_fault(self.name) } else { None }
    }
}

/// How often `function` was called, with or without its `_v2`; `*` sums over all.
#[must_use]
pub fn count(function: &str) -> u64 {
    let sites = lock(&SITES);
    let matching = sites.iter().filter(|s| matches(function, s.name));
    matching.map(|s| s.count.load(Relaxed)).sum()
}

/// Arms the faults of `spec` (see [`parse_faults`]) instead of those armed before.
pub fn arm(spec: &str) -> Result<(), String> {
    let faults = parse_faults(spec)?;
    read_environment();
    ARMED.store(!faults.is_empty(), Relaxed);
    *lock(&FAULTS) = faults;
    Ok(())
}

/// Parses `function:k:error`, comma-separated; `k+` means the k-th call and all later ones.
pub fn parse_faults(spec: &str) -> Result<Vec<Fault>, String> {
    let parse = |item: &str| {
        let mut parts = item.trim().split(':');
        let (function, k, error) = (parts.next()?, parts.next()?, parts.next()?);
        let onwards = k.ends_with('+');
        let from = k.trim_end_matches('+').parse().ok().filter(|&k| k > 0)?;
        let (function, error) = (function.to_owned(), error.to_owned());
        parts.next().is_none().then_some(Fault { function, from, onwards, error, seen: 0 })
    };
    spec.split(',')
        .filter(|item| !item.trim().is_empty())
        .map(|item| parse(item).ok_or(format!("`{item}` is not function:k:error")))
        .collect()
}

fn due_fault(name: &str) -> Option<String> {
    let mut due = None;
    for fault in lock(&FAULTS).iter_mut().filter(|f| matches(&f.function, name)) {
        fault.seen += 1;
        if fault.seen == fault.from || (fault.onwards && fault.seen > fault.from) {
            due.get_or_insert_with(|| fault.error.clone());
        }
    }
    due
}

/// `pattern` names `name`, its unversioned form, or everything.
fn matches(pattern: &str, name: &str) -> bool {
    let base = name.rsplit_once("_v").filter(|(_, v)| v.parse::<u32>().is_ok()).map(|(b, _)| b);
    pattern == "*" || pattern == name || base == Some(pattern)
}

/// Arms what `CUSIM_FAULT` asks for, once.
fn read_environment() {
    static READ: OnceLock<()> = OnceLock::new();
    READ.get_or_init(|| {
        let Ok(spec) = std::env::var("CUSIM_FAULT") else { return };
        match parse_faults(&spec) {
            Ok(faults) => {
                ARMED.store(!faults.is_empty(), Relaxed);
                *lock(&FAULTS) = faults;
            }
            // A misspelt fault that is silently ignored would make its test pass.
            Err(why) => {
                eprintln!("cusim: CUSIM_FAULT: {why}");
                std::process::abort();
            }
        }
    });
}

fn trace() -> Option<&'static File> {
    static TRACE: OnceLock<Option<File>> = OnceLock::new();
    let open = || {
        let path = std::env::var_os("CUSIM_TRACE")?;
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.inspect_err(|e| eprintln!("cusim: CUSIM_TRACE={}: {e}", path.display())).ok()
    };
    TRACE.get_or_init(open).as_ref()
}

/// A panic while a lock was held leaves nothing half-done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_faults() {
        let faults = parse_faults("cuMemAlloc:3:CUDA_ERROR_OUT_OF_MEMORY, *:1+:X").unwrap();
        assert_eq!(faults.len(), 2);
        assert_eq!((faults[0].from, faults[0].onwards), (3, false));
        assert_eq!((faults[1].from, faults[1].onwards), (1, true));
        for wrong in ["a", "a:b:c", "a:0:c", "a:1:b:c"] {
            assert!(parse_faults(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_match_without_their_version() {
        assert!(matches("cuMemAlloc", "cuMemAlloc_v2"));
        assert!(matches("cuMemAlloc_v2", "cuMemAlloc_v2"));
        assert!(!matches("cuMemAlloc", "cuMemAllocAsync"));
        assert!(matches("*", "cuInit"));
    }
}
