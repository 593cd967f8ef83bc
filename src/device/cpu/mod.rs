//! The CPU as a device: pooled memory, a pool of threads, and a matrix product.
//!
//! | file | subject |
//! |---|---|
//! | `buffer.rs` | aligned buffers and the pool they return to |
//! | `gemm.rs` | the matrix product, behind one function |
//! | `parallel.rs` | splitting work between threads without changing its result |
//! | `profile.rs` | time per kernel, and a record of those that ran |
//! | `simd/` | vector instructions, chosen at run time |
//!
//! The kernels themselves stand with their ops, in `src/ops/<op>/cpu.rs`.

mod buffer;
mod gemm;
mod parallel;
mod profile;
mod simd;

pub(crate) use buffer::CpuBuffer;
pub(crate) use gemm::{Matrix, MatrixMut, gemm, gemm_by_columns};
pub(crate) use parallel::{BLOCK, LaneSums, lane_sum, put};
pub use profile::KernelTime;
pub use simd::SimdLevel;
pub(crate) use simd::{
    BLOCK_COLUMNS, Correlate, ImplicitGemm, PackedRows, Patches, PhiloxFactors, Simd, lanes,
    winograd,
};

use super::any::elsewhere;
use super::{AnyView, AnyViewMut, Backend, Cost, KernelRun, Pending};
use crate::dtype::Element;
use crate::{Error, Result};
use buffer::Pool;
use profile::Profile;
use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// More threads than any machine has cores; as many take seconds to start.
const MOST_THREADS: usize = 1024;

/// The CPU. Clones share one pool of memory and one pool of threads.
///
/// [`Device::cpu`](super::Device::cpu) is one with all cores, and `Cpu::new(Some(2))?.into()` a
/// [`Device`](super::Device) with two.
#[derive(Clone)]
pub struct Cpu {
    memory: Arc<Pool>,
    threads: Arc<rayon::ThreadPool>,
    profile: Arc<Profile>,
    simd: Simd,
}

impl Cpu {
    /// The CPU with `threads` worker threads, or one per core for `None`. The number changes the
    /// speed and never a result.
    ///
    /// It computes with the fastest instruction set there is, or the one that the variable
    /// `SIGNET_SIMD` names.
    ///
    /// # Errors
    /// [`Error::Argument`] for 0 threads, more than 1024, or an instruction set that this machine has not,
    /// [`Error::Device`] when the system refuses the threads.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        if threads == Some(0) {
            return Err(Error::argument("threads", "must be at least 1, got 0"));
        }
        if let Some(threads) = threads.filter(|&threads| threads > MOST_THREADS) {
            let message = format!("must be at most {MOST_THREADS}, got {threads}");
            return Err(Error::argument("threads", message));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .thread_name(|i| format!("signet-cpu-{i}"))
            .build()
            .map_err(|e| Error::Device {
                device: "cpu".into(),
                message: format!("cannot start the worker threads: {e}; try fewer"),
            })?;
        Ok(Self {
            memory: Arc::default(),
            threads: Arc::new(pool),
            profile: Arc::default(),
            simd: Simd::of_environment()?,
        })
    }

    /// The same device with another instruction set, whose results differ by rounding.
    ///
    /// # Errors
    /// [`Error::Argument`] when this machine or build has it not.
    pub fn with_simd(self, level: SimdLevel) -> Result<Self> {
        Ok(Self { simd: Simd::new(level)?, ..self })
    }

    /// The instruction set it computes with.
    pub fn simd_level(&self) -> SimdLevel {
        self.simd.level()
    }

    /// To run a kernel with its instruction set.
    pub(crate) fn simd(&self) -> Simd {
        self.simd
    }

    /// The number of worker threads.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// How many buffers were taken from the system so far, rather than from those that are free
    /// again. A training that repeats its steps takes no more after the first few.
    pub fn allocations(&self) -> usize {
        self.memory.made()
    }

    /// Runs `work` on the pool's threads and returns its result.
    ///
    /// Each kernel enters the pool by itself; a whole training loop run inside one `install` saves
    /// that hand-over, some microseconds a kernel.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.install(work)
    }

    /// Starts to measure the time each kernel takes.
    pub fn start_profile(&self) {
        self.profile.start();
    }

    /// The time per kernel since [`Cpu::start_profile`], the most expensive first.
    pub fn profile(&self) -> Vec<KernelTime> {
        self.profile.times()
    }

    /// Starts to record every kernel that runs.
    pub fn start_trace(&self) {
        self.profile.start_trace();
    }

    /// The kernels since [`Cpu::start_trace`], in order; recording ends.
    pub fn take_trace(&self) -> Vec<KernelRun> {
        self.profile.take_trace()
    }

    /// Runs one kernel: on the pool, under its name in the profile, with what it has to do.
    pub(crate) fn kernel<R: Send>(
        &self,
        name: &'static str,
        cost: Cost,
        work: impl FnOnce() -> R + Send,
    ) -> R {
        self.profile.note(KernelRun { name, launch: None, cost });
        self.profile.measure(name, || self.threads.install(work))
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Backend for Cpu {
    type Buffer<E: Element> = CpuBuffer<E>;
    type View<'a, E: Element> = &'a [E];
    type ViewMut<'a, E: Element> = &'a mut [E];
    type Graph = Infallible;
    type Pending<E: Element> = Vec<E>;

    fn name(&self) -> String {
        "cpu".into()
    }

    fn alloc<E: Element>(&self, len: usize) -> Result<CpuBuffer<E>> {
        CpuBuffer::from_pool(&self.memory, len)
    }

    fn write<E: Element>(&self, target: &mut [E], host: &[E]) -> Result<()> {
        target.copy_from_slice(host);
        Ok(())
    }

    fn read<E: Element>(&self, source: &[E]) -> Result<Vec<E>> {
        Ok(source.to_vec())
    }

    fn read_later<E: Element>(&self, source: &[E]) -> Result<Vec<E>> {
        self.read(source)
    }

    fn copy<E: Element>(&self, source: &[E], target: &mut [E]) -> Result<()> {
        target.copy_from_slice(source);
        Ok(())
    }

    fn zero<E: Element>(&self, target: &mut [E]) -> Result<()> {
        target.fill(E::zeroed());
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// There are none: a call of a function costs nothing that a graph would save.
    fn capture(&self, _work: impl FnOnce() -> Result<()>) -> Result<Option<Infallible>> {
        Ok(None)
    }

    fn replay(&self, graph: &Infallible) -> Result<()> {
        match *graph {}
    }

    fn refuse_in_graph(&self, _what: &str) -> Result<()> {
        Ok(())
    }

    fn view_of<'a, E: Element>(&self, view: AnyView<'a, E>) -> Result<&'a [E]> {
        match view {
            AnyView::Cpu(view) => Ok(view),
            AnyView::Cuda(_) => Err(elsewhere(&self.name(), "a GPU")),
        }
    }

    fn view_mut_of<'a, E: Element>(&self, view: AnyViewMut<'a, E>) -> Result<&'a mut [E]> {
        match view {
            AnyViewMut::Cpu(view) => Ok(view),
            AnyViewMut::Cuda(_) => Err(elsewhere(&self.name(), "a GPU")),
        }
    }

    fn len<E: Element>(buffer: &CpuBuffer<E>) -> usize {
        buffer.len()
    }

    fn view<E: Element>(buffer: &CpuBuffer<E>) -> &[E] {
        buffer
    }

    fn view_mut<E: Element>(buffer: &mut CpuBuffer<E>) -> &mut [E] {
        buffer
    }

    fn slice<'a, E: Element>(view: Self::View<'a, E>, range: Range<usize>) -> Self::View<'a, E> {
        &view[range]
    }

    fn reborrow<'s, E: Element>(view: &'s mut &mut [E]) -> &'s mut [E] {
        view
    }

    fn split_at<'a, E: Element>(
        view: Self::ViewMut<'a, E>,
        at: usize,
    ) -> (Self::ViewMut<'a, E>, Self::ViewMut<'a, E>) {
        view.split_at_mut(at)
    }
}

impl<E: Element> Pending<E> for Vec<E> {
    fn is_ready(&self) -> Result<bool> {
        Ok(true)
    }

    fn wait(self) -> Result<Vec<E>> {
        Ok(self)
    }
}
