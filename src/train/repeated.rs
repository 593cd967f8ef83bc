//! Work that repeats, run by the device as one thing where it can.

use crate::device::{AnyGraph, Backend, Device};
use crate::dtype::Float;
use crate::nn::{Module, State};
use crate::tensor::Identity;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Told, with a line for the user, that work goes on without graphs.
type Notice = Box<dyn Fn(&str) + Send>;

/// Whether work is captured as graphs.
#[derive(Default)]
pub(super) struct Graphs {
    pub(super) enabled: bool,
    pub(super) notice: Option<Notice>,
    /// Why it was not possible.
    pub(super) gave_up: Option<String>,
}

impl Graphs {
    fn give_up(&mut self, error: &Error) {
        self.enabled = false;
        self.gave_up = Some(error.to_string());
        if let Some(notice) = &self.notice {
            notice(&format!("going on without CUDA graphs, at the same results: {error}"));
        }
    }
}

/// Work that is the same each time but for what it finds in device memory: the first time it runs
/// as it is, which also compiles its kernels, the second time it is captured, and from then on
/// replayed.
pub(super) enum Repeated {
    /// It has not run.
    New,
    /// It has run as it is.
    Warm,
    /// It was captured, with what it does on the host.
    Captured(AnyGraph, OnHost),
}

impl Repeated {
    /// Does `work` with `model`, whose counters on the host count on as they do when it runs as it
    /// is.
    ///
    /// # Errors
    /// Those of `work`. A capture that fails is none: the work is done without.
    pub(super) fn run<T: Float>(
        &mut self,
        device: &Device,
        model: &impl Module<T>,
        graphs: &mut Graphs,
        mut work: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        if let Self::Captured(graph, on_host) = self {
            device.replay(graph)?;
            on_host.replay();
            return Ok(());
        }
        if matches!(self, Self::New) || !graphs.enabled {
            work()?;
            *self = Self::Warm;
            return Ok(());
        }
        let before = Before::of(model);
        match device.capture(&mut work) {
            Ok(Some(graph)) => {
                // What was counted meanwhile is counted for this run.
                device.replay(&graph)?;
                *self = Self::Captured(graph, before.since());
                Ok(())
            }
            Ok(None) => {
                graphs.enabled = false;
                work()
            }
            Err(error) => {
                graphs.give_up(&error);
                before
                    .counters
                    .iter()
                    .for_each(|(counter, before)| counter.store(*before, Ordering::Relaxed));
                work()
            }
        }
    }
}

/// What work does to a model's state on the host.
pub(super) struct OnHost {
    /// By how much it moves each counter on.
    counters: Vec<(Arc<AtomicU64>, u64)>,
    /// The values that it writes.
    written: Vec<Arc<Identity>>,
}

impl OnHost {
    /// Does it once more.
    fn replay(&self) {
        self.counters
            .iter()
            .for_each(|(counter, growth)| _ = counter.fetch_add(*growth, Ordering::Relaxed));
        self.written.iter().for_each(|identity| identity.changed());
    }
}

/// A model's state on the host before some work.
struct Before {
    counters: Vec<(Arc<AtomicU64>, u64)>,
    versions: Vec<(Arc<Identity>, u64)>,
}

impl Before {
    fn of<T: Float>(model: &impl Module<T>) -> Self {
        let (mut counters, mut versions) = (Vec::new(), Vec::new());
        for (_, state) in model.state() {
            match state {
                State::Count(counter) => {
                    counters.push((Arc::clone(&counter), counter.load(Ordering::Relaxed)))
                }
                State::Parameter(tensor) | State::Buffer(tensor) => {
                    versions.push((Arc::clone(tensor.identity()), tensor.version()));
                }
            }
        }
        Self { counters, versions }
    }

    /// What the work has done.
    fn since(self) -> OnHost {
        let grown = |(counter, before): (Arc<AtomicU64>, u64)| {
            let growth = counter.load(Ordering::Relaxed) - before;
            (counter, growth)
        };
        let versions = self.versions.into_iter();
        let written = versions.filter(|(identity, before)| identity.version() != *before);
        OnHost {
            counters: self.counters.into_iter().map(grown).collect(),
            written: written.map(|(identity, _)| identity).collect(),
        }
    }
}
