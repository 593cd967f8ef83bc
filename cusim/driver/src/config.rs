//! What the environment says about the device. Read once.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

/// The device that is played.
pub struct Config {
    /// `CUSIM_CHECK`: report races, accesses out of bounds, uninitialised reads.
    pub check: bool,
    /// `CUSIM_CC`, such as `8.6`: the compute capability times ten.
    pub capability: u32,
    /// `CUSIM_SMS`: how many multiprocessors it claims to have.
    pub multiprocessors: u32,
    /// `CUSIM_MEMORY`: bytes of device memory.
    pub memory: usize,
    /// `CUSIM_LATE_EVENTS`: events are not ready until somebody has waited.
    pub late_events: bool,
    /// `CUSIM_EVENT_MS`: the time between any two events, in milliseconds.
    pub event_ms: Option<f32>,
}

impl Config {
    pub fn get() -> &'static Self {
        static CONFIG: OnceLock<Config> = OnceLock::new();
        let is_on = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
        CONFIG.get_or_init(|| Self {
            check: is_on("CUSIM_CHECK"),
            late_events: is_on("CUSIM_LATE_EVENTS"),
            event_ms: parsed("CUSIM_EVENT_MS", |v| v.parse().ok().filter(|ms| *ms >= 0.0)),
            capability: parsed("CUSIM_CC", parse_capability).unwrap_or(86),
            multiprocessors: parsed("CUSIM_SMS", |v| v.parse().ok()).unwrap_or(46),
            memory: parsed("CUSIM_MEMORY", parse_bytes).unwrap_or(8 << 30),
        })
    }

    /// Shared memory a block may have when its kernel opts in.
    pub fn shared_opt_in(&self) -> u32 {
        let kib = match self.capability {
            ..80 => 64,
            80 | 87 => 163,
            86 | 89 | 120 | 121 => 99,
            _ => 227,
        };
        kib * 1024
    }

    /// Shared memory of a multiprocessor.
    pub fn shared_of_multiprocessor(&self) -> u32 {
        if self.capability < 80 { 64 * 1024 } else { self.shared_opt_in() + 1024 }
    }

    pub fn threads_of_multiprocessor(&self) -> u32 {
        match self.capability {
            ..80 => 1024,
            86 | 87 | 89 | 120 | 121 => 1536,
            _ => 2048,
        }
    }
}

/// A variable's value; one that makes no sense is pointed out rather than ignored.
fn parsed<T>(name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let value = std::env::var(name).ok()?;
    let parsed = parse(value.trim());
    if parsed.is_none() {
        eprintln!("cusim: {name}={value} makes no sense and is ignored");
    }
    parsed
}

fn parse_capability(value: &str) -> Option<u32> {
    let (major, minor) = value.split_once('.')?;
    Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok().filter(|&m| m < 10)?)
}

/// Bytes, or KiB, MiB, GiB with a `K`, `M` or `G`.
fn parse_bytes(value: &str) -> Option<usize> {
    let (number, unit) = match value.strip_suffix(['K', 'M', 'G']) {
        Some(number) => (number, &value[number.len()..]),
        None => (value, ""),
    };
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => 0,
    };
    number.parse::<usize>().ok()?.checked_shl(shift)
}
