use super::Peaks;
use crate::Result;
use crate::device::Device;
use serde::Serialize;

/// What is timed: the work of one repetition.
pub type Work = Box<dyn FnOnce() -> Result<()>>;

/// Prepares a repetition, which is not timed (a forward pass, where the backward pass is measured),
/// and returns its work.
pub type Case = Box<dyn FnMut() -> Result<Work>>;

/// How long a benchmark takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Effort {
    /// Long enough for figures to report.
    #[default]
    Full,
    /// Small sizes and few repetitions: whether it runs, not how fast.
    Quick,
}

impl Effort {
    /// The batches that the main rows sweep over; the first of them is that of all other rows.
    pub(super) fn batches(self) -> &'static [usize] {
        match self {
            Self::Full => &[32, 1, 256, 1024],
            Self::Quick => &[4],
        }
    }

    /// Repetitions of work that takes about `once` seconds: enough for the least time of a row, and
    /// for a median that means something.
    pub(super) fn repetitions(self, once: f64) -> usize {
        const LEAST_SECONDS: f64 = 0.25;
        match self {
            Self::Full => ((LEAST_SECONDS / once.max(1e-9)) as usize).clamp(15, 2000),
            Self::Quick => 3,
        }
    }
}

/// What a device is, for a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    /// In words.
    pub device: String,
    /// Worker threads; none on a GPU.
    pub threads: Option<usize>,
    /// The CUDA that the driver supports.
    pub cuda_driver: Option<String>,
    /// The compiler of the kernels.
    pub nvrtc: Option<String>,
}

/// The [`Meter`] device that `device` is.
pub(super) fn meter(device: &Device) -> &dyn Meter {
    match device {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(cuda) => cuda,
    }
}

/// A device that can be measured.
pub(super) trait Meter {
    /// What it is.
    fn about(&self) -> About;

    /// Sets the device up as a training does: what is measured is what a training runs.
    fn prepare(&self) {}

    /// The seconds that each of so many repetitions took.
    ///
    /// # Errors
    /// When the work or the device fails.
    fn time(&self, repetitions: usize, case: &mut Case) -> Result<Vec<f64>>;

    /// How fast the device moves memory, multiplies and starts kernels, measured at this moment.
    ///
    /// # Errors
    /// When the device fails or computes something wrong.
    fn peaks(&self, effort: Effort) -> Result<Peaks>;
}
