//! Time per kernel, on the device.
//!
//! A kernel of a training step takes microseconds, about as long as the host needs to launch it: two
//! points of the stream around one launch time the host. So a kernel is timed when it is launched for
//! the first time with a grid: captured several times in a row as a graph, whose kernels follow each
//! other without the host, and of two such graphs queued one behind the other the second is timed. One
//! that takes so long that the host does not matter is timed as it is.
//! What the kernel writes is kept before and put back, so a run that is profiled has the same results
//! as any other. What would not fit beside it, or is so much that the kernel is slow, is not kept: such
//! a kernel is timed as it is too, and a run fits into memory with a profile where it does without.
//! All later launches are counted, and the sum is the time of one times their number.

use super::driver;
use super::kernels::Function;
use super::{Cuda, CudaBuffer};
use crate::Result;
use crate::device::{Backend, KernelTime, LaunchShape};
use cudarc::driver::sys::CUdeviceptr;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Launches of a kernel with one grid that are timed; the fastest counts.
const SAMPLES: usize = 2;
/// The most kernels of a graph.
const MOST_REPEATS: u32 = 20;
/// How long a graph should take, at least.
const GRAPH_TIME: Duration = Duration::from_micros(400);
/// A kernel that takes so long is timed by itself: the host adds a hundredth or two.
const LONG: Duration = Duration::from_millis(1);
/// The most bytes that are kept of what a kernel writes. Writing as much takes a fast GPU a fifth of
/// a millisecond, beside which the host's few microseconds are a hundredth or two as well.
const MOST_KEPT: usize = 1 << 30;

/// What a launch is about to write: where it is, and a copy of it.
type Kept = Vec<(CUdeviceptr, CudaBuffer<u8>)>;

/// The times so far; off until [`Cuda::start_profile`].
#[derive(Debug, Default)]
pub(super) struct Profile(Mutex<Option<Times>>);

/// By the kernel's function (its address in the driver) and how it was launched.
type Times = HashMap<(usize, LaunchShape), Timed>;

/// The launches of one kernel with one grid.
#[derive(Debug)]
struct Timed {
    name: &'static str,
    calls: u64,
    /// Of one, as often as it was timed.
    samples: Vec<Duration>,
}

impl Timed {
    /// Of all launches together.
    fn total(&self) -> Duration {
        let one = self.samples.iter().min().copied().unwrap_or_default();
        Duration::from_secs_f64(one.as_secs_f64() * self.calls as f64)
    }
}

impl Cuda {
    /// Starts to measure the time each kernel takes on the device. The first launches of a kernel
    /// with a grid are repeated for it and what they write is put back, so results stay the same.
    /// From here on no graph is captured (`capture` says `None`), as a replayed graph is no
    /// launch of its kernels that could be counted.
    pub fn start_profile(&self) {
        self.profile_cell().0.lock().get_or_insert_default();
    }

    /// The time per kernel since [`Cuda::start_profile`], the most expensive first: that of one
    /// launch as it was measured, back to back with others of the same work in a graph, so with inputs
    /// in the cache as far as they fit, times the number of launches. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device fails.
    pub fn profile(&self) -> Result<Vec<KernelTime>> {
        self.synchronize()?;
        let times = self.profile_cell().0.lock();
        let mut by_name = BTreeMap::<&'static str, KernelTime>::new();
        for timed in times.iter().flat_map(HashMap::values) {
            let name = timed.name;
            let sum = KernelTime { name, calls: 0, total: Duration::ZERO };
            let sum = by_name.entry(name).or_insert(sum);
            sum.calls += timed.calls;
            sum.total += timed.total();
        }
        let mut list: Vec<_> = by_name.into_values().collect();
        list.sort_by_key(|time| std::cmp::Reverse(time.total));
        Ok(list)
    }

    /// Whether launches are timed.
    pub(super) fn is_profiled(&self) -> bool {
        self.profile_cell().0.lock().is_some()
    }

    /// Runs one launch of `function`, which writes `written` (addresses and bytes); while a profile is
    /// on, counts it, and times it before where there are not enough samples. A context is current.
    pub(super) fn measure(
        &self,
        function: &Function,
        shape: LaunchShape,
        written: &[(CUdeviceptr, usize)],
        mut launch: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let key = (function.raw as usize, shape);
        let has_enough = match &mut *self.profile_cell().0.lock() {
            None => true,
            Some(times) => {
                let new = Timed { name: function.name, calls: 0, samples: Vec::new() };
                let timed = times.entry(key).or_insert(new);
                timed.calls += 1;
                timed.samples.len() >= SAMPLES
            }
        };
        if has_enough {
            return launch();
        }
        let time = self.time_launch(written, &mut launch)?;
        let mut times = self.profile_cell().0.lock();
        if let Some(timed) = times.as_mut().and_then(|times| times.get_mut(&key)) {
            timed.samples.push(time);
        }
        Ok(())
    }

    /// The time of one launch among others of the same work. Leaves what it writes as one launch does.
    fn time_launch(
        &self,
        written: &[(CUdeviceptr, usize)],
        launch: &mut impl FnMut() -> Result<()>,
    ) -> Result<Duration> {
        let kept = self.keep(written)?;
        // By itself first: it says how many are enough, and loads what a capture could not.
        let start = self.event()?;
        launch()?;
        let end = self.event()?;
        self.synchronize()?;
        let once = start.until(&end).map_err(self.driver_error("reading kernel times"))?;
        let Some(kept) = kept.filter(|_| once < LONG) else { return Ok(once) };
        let time = self.time_repeats(once, launch);
        let restored = kept.into_iter().try_for_each(|(address, copy)| {
            self.copy_bytes(Self::view(&copy).address(), address, Self::len(&copy))
        });
        let time = time?;
        restored?;
        launch()?;
        Ok(time)
    }

    /// Copies what a launch is about to write; nothing where that is much, or there is no room for it.
    fn keep(&self, written: &[(CUdeviceptr, usize)]) -> Result<Option<Kept>> {
        if written.iter().map(|(_, bytes)| bytes).sum::<usize>() > MOST_KEPT {
            return Ok(None);
        }
        let mut kept = Vec::with_capacity(written.len());
        for &(address, bytes) in written.iter().filter(|(_, bytes)| *bytes > 0) {
            let mut copy = match self.alloc::<u8>(bytes) {
                Ok(copy) => copy,
                Err(error) if error.is_out_of_memory() => return Ok(None),
                Err(error) => return Err(error),
            };
            self.copy_bytes(address, Self::view_mut(&mut copy).address(), bytes)?;
            kept.push((address, copy));
        }
        Ok(Some(kept))
    }

    /// The time of one of several launches in a row; `once` is about what one takes.
    fn time_repeats(
        &self,
        once: Duration,
        launch: &mut impl FnMut() -> Result<()>,
    ) -> Result<Duration> {
        let repeats = GRAPH_TIME.as_nanos() / once.as_nanos().max(1) + 1;
        let repeats = u32::try_from(repeats).unwrap_or(MOST_REPEATS).clamp(2, MOST_REPEATS);
        let mut all = || (0..repeats).try_for_each(|_| launch());
        // Where there are no graphs, the host must do.
        let graph = self.capture_now(&mut all).ok();
        let mut run = || graph.as_ref().map_or_else(&mut all, |graph| self.replay_graph(graph));
        // The host queues the rest while the device is busy with the first.
        run()?;
        let start = self.event()?;
        run()?;
        let end = self.event()?;
        self.synchronize()?;
        let time = start.until(&end).map_err(self.driver_error("reading kernel times"))?;
        Ok(time / repeats)
    }

    /// Copies on the device what buffers of this context hold.
    fn copy_bytes(&self, source: CUdeviceptr, target: CUdeviceptr, bytes: usize) -> Result<()> {
        // SAFETY: one run of `bytes` bytes is what a launch writes, which it has borrowed; the other
        // is the copy of it that `keep` made. They do not overlap.
        unsafe { driver::cuMemcpyDtoDAsync_v2(target, source, bytes, self.stream()) }
            .map_err(self.driver_error("copying on the device"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_the_fastest_sample_times_the_calls() {
        let samples = [30, 20].map(Duration::from_micros).to_vec();
        let timed = Timed { name: "k", calls: 5, samples };
        assert_eq!(timed.total(), Duration::from_micros(100));
        assert_eq!(Timed { samples: Vec::new(), ..timed }.total(), Duration::ZERO);
    }
}
