//! Time per kernel, and a record of those that ran, for the plan of a step.
#![forbid(unsafe_code)]

use crate::device::KernelRun;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one kernel took in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTime {
    /// The kernel, `conv2d_forward` say.
    pub name: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// The time of all calls together.
    pub total: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Profile {
    on: AtomicBool,
    times: Mutex<BTreeMap<&'static str, (u64, Duration)>>,
    tracing: AtomicBool,
    trace: Mutex<Vec<KernelRun>>,
}

impl Profile {
    pub(super) fn start(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    pub(super) fn measure<R>(&self, name: &'static str, work: impl FnOnce() -> R) -> R {
        if !self.on.load(Ordering::Relaxed) {
            return work();
        }
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = times.entry(name).or_default();
        *entry = (entry.0 + 1, entry.1 + elapsed);
        result
    }

    pub(super) fn start_trace(&self) {
        self.runs().clear();
        self.tracing.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_trace(&self) -> Vec<KernelRun> {
        self.tracing.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.runs())
    }

    /// Notes a run while a trace is on.
    pub(super) fn note(&self, run: KernelRun) {
        if self.tracing.load(Ordering::Relaxed) {
            self.runs().push(run);
        }
    }

    fn runs(&self) -> MutexGuard<'_, Vec<KernelRun>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn times(&self) -> Vec<KernelTime> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let mut times: Vec<_> = times
            .iter()
            .map(|(&name, &(calls, total))| KernelTime { name, calls, total })
            .collect();
        times.sort_by_key(|time| std::cmp::Reverse(time.total));
        times
    }
}
