//! CUDA as a device: pooled memory on one stream, kernels compiled at run time, launches.
//!
//! | file | subject |
//! |---|---|
//! | `driver.rs`, `boundary.rs` | the functions of the driver, and how they are called |
//! | `probe.rs` | which GPUs there are, or why there is none |
//! | `context.rs`, `stream.rs` | the GPU's context; the one stream of all work |
//! | `memory.rs`, `pool.rs` | buffers, views and copies; memory kept for reuse |
//! | `graph.rs` | work captured as a CUDA graph, and the memory that a graph owns |
//! | `pending.rs`, `event.rs` | copies to the host that nobody waits for; points of the stream |
//! | `sources.rs` | the kernels' source text, which `build.rs` put into the binary |
//! | `nvrtc.rs`, `cache.rs` | compiling it for the very device, once per machine |
//! | `kernels.rs` | compiled kernels, loaded when first used |
//! | `precompile.rs` | compiling everything for any target, without a GPU |
//! | `launch.rs` | arguments, grid and block of a launch |
//! | `grid.rs` | the grids of simple kernels |
//! | `tuning.rs` | how finely the work of a kernel is cut |
//! | `profile.rs`, `event.rs` | time per kernel, by points of the stream |
//! | `trace.rs` | a record of the launches |
//! | `error.rs` | the driver's errors, with what to do about them |
//!
//! The launches themselves stand with their ops, in `src/ops/<op>/cuda.rs`, and the kernels in
//! `kernels/<op>.cu`.
//!
//! All work of a device goes to one stream, in the order in which it is asked for. That is what
//! makes memory safe to reuse: a buffer may be dropped while kernels that use it are still queued,
//! because whatever gets its memory next is queued behind them.

mod boundary;
mod cache;
mod context;
mod driver;
mod error;
mod event;
mod graph;
mod grid;
mod kernels;
mod launch;
mod memory;
mod nvrtc;
mod pending;
mod pool;
mod precompile;
mod probe;
mod profile;
mod sources;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
mod tuning;

pub use cache::{CacheSize, KernelCache};
pub(crate) use graph::CudaGraph;
pub(crate) use grid::{THREADS, grid, pack_grid};
pub use kernels::KernelStatistics;
pub(crate) use launch::Launch;
pub(crate) use memory::{CudaBuffer, CudaView, CudaViewMut};
pub(crate) use pending::CudaPending;
pub use pool::MemoryUse;
pub use precompile::{CompiledFile, compile_all};
pub use probe::{
    GpuInfo, MINIMUM_CAPABILITY, NoGpu, NvrtcInfo, driver_version, gpus, nvrtc_info, probe,
};
pub(crate) use stream::COUNTERS;
pub(crate) use tuning::Tuning;

use super::{Backend, Precisions};
use crate::{Error, Result};
use context::Context;
use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUstream};
use driver::DriverError;
use graph::GraphMemory;
use kernels::Kernels;
use nvrtc::Target;
use parking_lot::{Mutex, MutexGuard, ReentrantMutex, ReentrantMutexGuard};
use pending::Landing;
use pool::Pool;
use profile::Profile;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stream::Stream;
use trace::Trace;

/// A GPU. Clones share one stream, one pool of memory and the loaded kernels.
///
/// [`Device::cuda`](super::Device::cuda) is shorter for who needs none of its settings:
///
/// ```no_run
/// # fn main() -> signet::Result<()> {
/// use signet::device::Precision;
/// use signet::{Cuda, Device, Tensor};
/// let gpu = Cuda::new(0)?;
/// gpu.set_precisions(Precision::F32)?;
/// println!("{}", gpu.info());
/// let device = Device::from(gpu);
/// let x = Tensor::<f32>::zeros(&device, [2, 3])?;
/// let bytes = device.as_cuda().map(|gpu| gpu.memory_use());
/// # Ok(()) }
/// ```
///
/// Threads may share it, and take turns: the order of their calls is the order of work, and while one
/// captures a graph the others wait.
#[derive(Clone)]
pub struct Cuda(Arc<Inner>);

/// A thread's turn to give a device work. It may take another one meanwhile.
type Turn<'a> = ReentrantMutexGuard<'a, ()>;

/// What a launch may ask of a device.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Blocks of a grid.
    grid: [u32; 3],
    /// Threads of a block, in each direction.
    block: [u32; 3],
    /// Bytes of shared memory of a block, with opt-in.
    shared: u32,
}

struct Inner {
    id: u64,
    info: GpuInfo,
    limits: Limits,
    /// Held by the thread that gives the device work.
    turn: ReentrantMutex<()>,
    precisions: Mutex<Precisions>,
    specialise: AtomicBool,
    kernels: Kernels,
    pool: Mutex<Pool>,
    /// The memory of the graph that is being captured.
    capture: Mutex<Option<Arc<GraphMemory>>>,
    /// Memory of the host for copies to come.
    landings: Mutex<Vec<Landing>>,
    profile: Profile,
    trace: Trace,
    // The stream goes before its context.
    stream: Stream,
    context: Context,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last handle and the last buffer are gone. Where the context is lost, everything here
        // fails, and there is nothing left to free.
        let _ = self.context.bind();
        let _ = self.stream.synchronize();
        self.landings.get_mut().clear();
        self.kernels.unload();
        self.stream.free_counters();
        self.pool.get_mut().trim();
    }
}

impl Cuda {
    /// Opens GPU number `ordinal`, counted from 0 as CUDA counts, and runs a first small kernel on
    /// it: a device that opens works.
    ///
    /// # Errors
    /// [`Error::Device`] with the reason, see [`NoGpu`].
    pub fn new(ordinal: usize) -> Result<Self> {
        Self::open(ordinal, KernelCache::of_user()).map_err(|reason| reason.into_error(ordinal))
    }

    /// As [`Cuda::new`], with the reason as a value, and another place for compiled kernels.
    ///
    /// # Errors
    /// Why the GPU cannot be used.
    pub fn open(ordinal: usize, cache: KernelCache) -> Result<Self, NoGpu> {
        Tuning::check().map_err(NoGpu::Unusable)?;
        let gpus = gpus()?;
        let count = gpus.len();
        let no_such = NoGpu::NoSuchDevice { ordinal, count };
        let info = gpus.into_iter().nth(ordinal).ok_or(no_such)?;
        let GpuInfo { capability, .. } = info;
        if capability < MINIMUM_CAPABILITY {
            return Err(NoGpu::TooOld { name: info.name, capability });
        }
        let nvrtc = nvrtc_info()?;
        let target = Target::choose(capability, &nvrtc.targets).ok_or_else(|| {
            NoGpu::NvrtcFailed(format!(
                "NVRTC {}.{} knows no target for {} (compute capability {}.{}); install another",
                nvrtc.version.0, nvrtc.version.1, info.name, capability.0, capability.1
            ))
        })?;
        let kernels = Kernels::new(target, nvrtc.version, cache);
        let device = Self::start(info, kernels).map_err(|error| {
            let action = format!("cannot open cuda:{ordinal}");
            NoGpu::Unusable(format!("{action}: {error}"))
        })?;
        device.try_out().map_err(|error| NoGpu::Unusable(device.explain(&error, nvrtc.version)))?;
        Ok(device)
    }

    fn start(info: GpuInfo, kernels: Kernels) -> Result<Self, DriverError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let context = Context::new(info.ordinal)?;
        let stream = Stream::new()?;
        let attribute = |attribute| context.attribute(attribute);
        let limits = Limits {
            grid: [
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)?,
            ],
            block: [
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z)?,
            ],
            shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        };
        Ok(Self(Arc::new(Inner {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            turn: ReentrantMutex::default(),
            precisions: Mutex::new(Precisions::of_capability(info.capability)),
            specialise: AtomicBool::new(false),
            info,
            limits,
            kernels,
            pool: Mutex::default(),
            capture: Mutex::default(),
            landings: Mutex::default(),
            profile: Profile::default(),
            trace: Trace::default(),
            stream,
            context,
        })))
    }

    /// Makes the counters, and compiles, loads and runs a kernel.
    fn try_out(&self) -> Result<()> {
        self.make_counters()?;
        let mut flag = self.alloc::<u32>(1)?;
        self.zero(Self::view_mut(&mut flag))?;
        self.kernel::<f32>(sources::PROBE.name, "probe")?
            .output(Self::view_mut(&mut flag))
            .launch([1, 1, 1], [1, 1, 1])?;
        match self.read(Self::view(&flag))?[..] {
            [1] => Ok(()),
            _ => Err(self.error("a first kernel ran and wrote nothing")),
        }
    }

    /// Why a first kernel failed, with the likely cause.
    fn explain(&self, error: &Error, nvrtc: (u32, u32)) -> String {
        let message = match error {
            Error::Device { message, .. } => message.clone(),
            other => other.to_string(),
        };
        match driver_version() {
            Ok(driver) if driver.0 < nvrtc.0 => format!(
                "{message}; the driver supports CUDA {}.{} and NVRTC is {}.{}: update the driver, \
                 or install NVRTC {} (`pip install nvidia-cuda-nvrtc-cu{}`)",
                driver.0, driver.1, nvrtc.0, nvrtc.1, driver.0, driver.0
            ),
            _ => message,
        }
    }

    /// Name, memory and so on of this GPU.
    pub fn info(&self) -> &GpuInfo {
        &self.0.info
    }

    /// The `N` of `cuda:N`.
    pub fn ordinal(&self) -> usize {
        self.0.info.ordinal
    }

    /// What operands of products are rounded to: at first PyTorch's defaults,
    /// [`Precisions::of_capability`].
    pub fn precisions(&self) -> Precisions {
        *self.0.precisions.lock()
    }

    /// Sets what operands of products are rounded to from now on; a [`Precision`](super::Precision)
    /// is for all kinds of products. Like PyTorch's, it is a setting of the device, not of a tensor.
    ///
    /// # Errors
    /// [`Error::Argument`] when this GPU's tensor cores know no such format.
    pub fn set_precisions(&self, precisions: impl Into<Precisions>) -> Result<()> {
        let precisions = precisions.into();
        precisions.check(&self.info().name, self.info().capability)?;
        *self.0.precisions.lock() = precisions;
        Ok(())
    }

    /// Whether kernels that can be are compiled for the very sizes they are used with. That takes a
    /// compilation for each geometry, and changes no bit of a result. At first they are not.
    pub fn set_specialise(&self, specialise: bool) {
        self.0.specialise.store(specialise, Ordering::Relaxed);
    }

    /// Bytes in use, pooled, and at the peak.
    pub fn memory_use(&self) -> MemoryUse {
        self.0.pool.lock().usage()
    }

    /// Gives free memory that is kept for reuse back to the driver.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub fn trim(&self) -> Result<()> {
        self.synchronize()?;
        self.pool().trim();
        Ok(())
    }

    /// A number that no other open handle has.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// Bytes of the cache that all multiprocessors share.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver does not tell.
    pub fn l2_bytes(&self) -> Result<usize> {
        let size = self.0.context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
        let size = size.map_err(self.driver_error("asking for the size of the L2 cache"))?;
        Ok(size as usize)
    }

    fn limits(&self) -> Limits {
        self.0.limits
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock()
    }

    fn kernels(&self) -> &Kernels {
        &self.0.kernels
    }

    fn profile_cell(&self) -> &Profile {
        &self.0.profile
    }

    fn trace_cell(&self) -> &Trace {
        &self.0.trace
    }

    fn stream(&self) -> CUstream {
        self.0.stream.raw()
    }

    /// Waits until no other thread gives this device work, and keeps them from it.
    fn turn(&self) -> Turn<'_> {
        self.0.turn.lock()
    }

    /// Takes a [turn](Cuda::turn) and makes this device's context the current one of this thread, as
    /// every call into the driver needs: another handle may have been used in between.
    fn bind(&self) -> Result<Turn<'_>> {
        let turn = self.turn();
        self.0.context.bind().map_err(self.driver_error("choosing the device"))?;
        Ok(turn)
    }

    fn error(&self, message: impl Into<String>) -> Error {
        error::device_error(self.ordinal(), message)
    }

    fn driver_error(&self, action: impl fmt::Display) -> impl FnOnce(DriverError) -> Error {
        error::driver_error(self.ordinal(), action)
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cuda({}, {})", self.ordinal(), self.info().name)
    }
}
