//! What a device is: memory, and the kernels of every op.
//!
//! A [`Device`] is a value, chosen at run time: the [`Cpu`] or a GPU by [`Cuda`]. Each of these two is
//! written for itself, against the trait `Backend` and those of the ops' kernels; a [`Device`] has all of
//! it by being one of them.
//!
//! | file | subject |
//! |---|---|
//! | `backend.rs` | `Backend`: what a device is asked for beside the kernels: memory, graphs, waiting |
//! | `cpu/`, `cuda/` | the two devices |
//! | `any.rs` | the memory of a [`Device`] |
//! | `dispatch.rs` | from a [`Device`] to the kernels of the one it is |
//! | `choice.rs` | which device a program runs on |
//! | `precision.rs` | what operands of products are rounded to |
//! | `trace.rs` | what kernels cost, and a record of those that ran |

mod any;
mod backend;
mod choice;
pub(crate) mod cpu;
pub mod cuda;
mod dispatch;
mod precision;
mod trace;

pub(crate) use any::{AnyBuffer, AnyGraph, AnyPending, AnyView, AnyViewMut, elsewhere};
pub(crate) use backend::{Backend, Output, Pending};
pub use choice::{Chosen, DeviceChoice, choose};
pub(crate) use cpu::CpuBuffer;
pub use cpu::{Cpu, KernelTime, SimdLevel};
pub use cuda::Cuda;
pub(crate) use dispatch::{On, each_field_on, kernels};
pub use precision::{Precision, Precisions, TENSOR_CORES_SINCE};
pub use trace::{Cost, KernelRun, LaunchShape};

use crate::support::words::counted;
use crate::{Error, Result};

/// Where tensors live and ops run: a value, chosen at run time. Clones are the same device.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// // The first GPU where it works, else the CPU.
/// let device = Device::auto()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0], [2])?;
/// assert_eq!(x.add(&x)?.to_vec()?, [2.0, 4.0]);
/// # Ok(()) }
/// ```
///
/// Every tensor carries its device, and a model and its optimizer have that of their parameters. An op on
/// tensors of two devices is an [`Error::Device`]; [`Tensor::to_vec`](crate::Tensor::to_vec) and
/// [`Tensor::from_slice`](crate::Tensor::from_slice) bring values from one to the other.
///
/// A device and what lies on it may go to other threads, and threads may share it.
#[derive(Debug, Clone)]
pub enum Device {
    /// The CPU.
    Cpu(Cpu),
    /// A GPU.
    Cuda(Cuda),
}

impl Device {
    /// The first GPU where it works, else the CPU with a thread for each core. [`Device::describe`] says
    /// which it is, and [`choose`] also why no GPU.
    ///
    /// # Errors
    /// [`Error::Device`] when the system refuses the CPU its threads.
    pub fn auto() -> Result<Self> {
        Ok(choose(DeviceChoice::Auto, None)?.device)
    }

    /// The CPU with a thread for each core. [`Cpu::new`] takes their number:
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Cpu, Device};
    /// let device: Device = Cpu::new(Some(2))?.into();
    /// assert_eq!(device.describe(), "cpu (2 threads)");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Cpu::new`].
    pub fn cpu() -> Result<Self> {
        Cpu::new(None).map(Self::Cpu)
    }

    /// GPU number `ordinal`, counted from 0.
    ///
    /// # Errors
    /// As [`Cuda::new`].
    pub fn cuda(ordinal: usize) -> Result<Self> {
        Cuda::new(ordinal).map(Self::Cuda)
    }

    /// Whether kernels of one may use buffers of the other.
    pub(crate) fn shares_memory(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cpu(_), Self::Cpu(_)) => true,
            (Self::Cuda(one), Self::Cuda(other)) => one.id() == other.id(),
            (Self::Cpu(_), Self::Cuda(_)) | (Self::Cuda(_), Self::Cpu(_)) => false,
        }
    }

    /// The CPU, if it is that.
    pub fn as_cpu(&self) -> Option<&Cpu> {
        match self {
            Self::Cpu(cpu) => Some(cpu),
            Self::Cuda(_) => None,
        }
    }

    /// The GPU, if it is one.
    pub fn as_cuda(&self) -> Option<&Cuda> {
        match self {
            Self::Cpu(_) => None,
            Self::Cuda(cuda) => Some(cuda),
        }
    }

    /// Its name: `cpu`, `cuda:0`.
    pub fn name(&self) -> String {
        Backend::name(self)
    }

    /// Waits until all work given to it is done.
    ///
    /// # Errors
    /// [`Error::Device`] when any of it failed.
    pub fn synchronize(&self) -> Result<()> {
        Backend::synchronize(self)
    }

    /// What it is, in words: `cpu (2 threads)`; of a GPU its name, memory and so on.
    pub fn describe(&self) -> String {
        match self {
            Self::Cpu(cpu) if cpu.threads() == 1 => "cpu (1 thread)".into(),
            Self::Cpu(cpu) => format!("cpu ({})", counted(cpu.threads() as u64, "thread")),
            Self::Cuda(cuda) => format!("{} ({})", cuda.name(), cuda.info()),
        }
    }

    /// What it rounds operands of products to.
    pub fn precisions(&self) -> Precisions {
        match self {
            Self::Cpu(_) => Precision::F32.into(),
            Self::Cuda(cuda) => cuda.precisions(),
        }
    }

    /// As [`Cuda::set_precisions`]; the CPU rounds nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] when the device cannot round so.
    pub fn set_precisions(&self, precisions: impl Into<Precisions>) -> Result<()> {
        let precisions = precisions.into();
        match self {
            Self::Cuda(cuda) => cuda.set_precisions(precisions),
            Self::Cpu(_) if precisions == Precision::F32.into() => Ok(()),
            Self::Cpu(_) => {
                let message = format!("the CPU computes in f32, not in {precisions}");
                Err(Error::argument("precision", message))
            }
        }
    }

    /// Runs `work` where its kernels start the fastest, and returns its result: for a training loop as a
    /// whole. See [`Cpu::install`]; on a GPU it changes nothing.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let sum = device.install(|| {
    ///     let mut sum = Tensor::<f32>::zeros(&device, [1])?;
    ///     let one = Tensor::from_slice(&device, &[1.0], [1])?;
    ///     for _step in 0..100 {
    ///         sum = sum.add(&one)?;
    ///     }
    ///     sum.item()
    /// })?;
    /// assert_eq!(sum, 100.0);
    /// # Ok(()) }
    /// ```
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Cpu(cpu) => cpu.install(work),
            Self::Cuda(_) => work(),
        }
    }

    /// Starts to measure the time of each kernel.
    pub fn start_profile(&self) {
        match self {
            Self::Cpu(cpu) => cpu.start_profile(),
            Self::Cuda(cuda) => cuda.start_profile(),
        }
    }

    /// The time per kernel since then, the most expensive first.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub fn profile(&self) -> Result<Vec<KernelTime>> {
        match self {
            Self::Cpu(cpu) => Ok(cpu.profile()),
            Self::Cuda(cuda) => cuda.profile(),
        }
    }

    /// Starts to record every kernel that runs.
    pub fn start_trace(&self) {
        match self {
            Self::Cpu(cpu) => cpu.start_trace(),
            Self::Cuda(cuda) => cuda.start_trace(),
        }
    }

    /// The kernels since [`Device::start_trace`], in order; recording ends.
    pub fn take_trace(&self) -> Vec<KernelRun> {
        match self {
            Self::Cpu(cpu) => cpu.take_trace(),
            Self::Cuda(cuda) => cuda.take_trace(),
        }
    }
}

impl From<Cpu> for Device {
    fn from(cpu: Cpu) -> Self {
        Self::Cpu(cpu)
    }
}

impl From<Cuda> for Device {
    fn from(cuda: Cuda) -> Self {
        Self::Cuda(cuda)
    }
}
