//! A record of the launches, for a plan of a step and the benchmarks.
#![forbid(unsafe_code)]

use super::Cuda;
use crate::device::KernelRun;
use parking_lot::Mutex;

/// The launches since [`Cuda::start_trace`]; off until then.
#[derive(Debug, Default)]
pub(super) struct Trace(Mutex<Option<Vec<KernelRun>>>);

impl Cuda {
    /// Starts to record every launch, those of a [rehearsal](Cuda::rehearse) too. A replayed CUDA graph is no
    /// launch of its kernels: a trace shows them when they are captured.
    pub fn start_trace(&self) {
        *self.trace_cell().0.lock() = Some(Vec::new());
    }

    /// The launches since [`Cuda::start_trace`], in order; recording ends.
    pub fn take_trace(&self) -> Vec<KernelRun> {
        self.trace_cell().0.lock().take().unwrap_or_default()
    }

    /// Notes a launch while a trace is on.
    pub(super) fn note(&self, run: KernelRun) {
        if let Some(runs) = self.trace_cell().0.lock().as_mut() {
            runs.push(run);
        }
    }
}
