//! Work that repeats, run by the device as one thing where it can.

use crate::device::{Device, Memory};
use crate::dtype::Float;
use crate::nn::{Module, Sequential, State};
use crate::{Error, Result};
use std::cell::Cell;
use std::rc::Rc;

/// Told, with a line for the user, that work goes on without graphs.
type Notice = Box<dyn Fn(&str)>;

/// Whether work is captured as graphs.
#[derive(Default)]
pub(super) struct Graphs {
    pub(super) enabled: bool,
    pub(super) notice: Option<Notice>,
}

impl Graphs {
    fn give_up(&mut self, error: &Error) {
        self.enabled = false;
        if let Some(notice) = &self.notice {
            notice(&format!("going on without CUDA graphs, at the same results: {error}"));
        }
    }
}

/// Work that is the same each time but for what it finds in device memory: the first time it runs
/// as it is, which also compiles its kernels, the second time it is captured, and from then on
/// replayed.
pub(super) enum Repeated<D: Memory> {
    /// It has not run.
    New,
    /// It has run as it is.
    Warm,
    /// It was captured, and counts so many batches in each counter of the model.
    Captured(D::Graph, Vec<(Rc<Cell<u64>>, u64)>),
}

impl<D: Memory> Repeated<D> {
    /// Does `work` with `model`, whose counters on the host count on as they do when it runs as it
    /// is.
    ///
    /// # Errors
    /// Those of `work`. A capture that fails is none: the work is done without.
    pub(super) fn run<T: Float>(
        &mut self,
        model: &Sequential<D, T>,
        graphs: &mut Graphs,
        mut work: impl FnMut() -> Result<()>,
    ) -> Result<()>
    where
        D: Device<T>,
    {
        let device = model.arena().device();
        if let Self::Captured(graph, counters) = self {
            device.replay(graph)?;
            counters.iter().for_each(|(counter, growth)| counter.set(counter.get() + growth));
            return Ok(());
        }
        if matches!(self, Self::New) || !graphs.enabled {
            work()?;
            *self = Self::Warm;
            return Ok(());
        }
        let mut counters = counters(model);
        match device.capture(&mut work) {
            Ok(Some(graph)) => {
                // What was counted meanwhile is counted for this run.
                device.replay(&graph)?;
                for (counter, before) in &mut counters {
                    *before = counter.get() - *before;
                }
                *self = Self::Captured(graph, counters);
                Ok(())
            }
            Ok(None) => {
                graphs.enabled = false;
                work()
            }
            Err(error) => {
                graphs.give_up(&error);
                counters.iter().for_each(|(counter, before)| counter.set(*before));
                work()
            }
        }
    }
}

/// The counters of a model with what they hold.
fn counters<D: Device<T>, T: Float>(model: &Sequential<D, T>) -> Vec<(Rc<Cell<u64>>, u64)> {
    let counter = |(_, state)| match state {
        State::Count(counter) => Some((Rc::clone(&counter), counter.get())),
        State::Parameter(_) | State::Buffer(_) => None,
    };
    model.state().into_iter().filter_map(counter).collect()
}
