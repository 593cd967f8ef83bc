//! What the layers of a model share: the seed, the step, and whether they train.

use crate::device::Device;
use crate::{Result, Tensor};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What all layers of a model share: the seed, the step, and whether they train. Clones are the
/// same context.
#[derive(Debug)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: u64,
    step: AtomicU64,
    /// The step once more, `[1]`, for kernels. Another step gets memory of its own, as a tape may
    /// hold this one, unless a training loop keeps it.
    step_on_device: Mutex<Tensor<u64>>,
    /// Whether a training loop sets every step.
    told: AtomicBool,
    /// How often a step was set: layers tell one forward pass from the next by it.
    pass: AtomicU64,
    training: AtomicBool,
}

impl Context {
    /// A context in training mode at step 0.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(device: &Device, seed: u64) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            seed,
            step: AtomicU64::new(0),
            step_on_device: Mutex::new(Tensor::zeros(device, [1])?),
            told: AtomicBool::new(false),
            pass: AtomicU64::new(0),
            training: AtomicBool::new(true),
        })))
    }

    /// The device of the model.
    pub(crate) fn device(&self) -> Device {
        self.0.step_on_device.lock().device().clone()
    }

    /// The seed of every random number.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The training step, which picks dropout's masks.
    pub fn step(&self) -> u64 {
        self.0.step.load(Ordering::Relaxed)
    }

    /// Goes to a training step. A loop that does so before each forward pass can be resumed with
    /// the same bits; going to the same step again draws the same masks again.
    ///
    /// # Errors
    /// When the device fails.
    pub fn set_step(&self, step: u64) -> Result<()> {
        if step != self.step() {
            let mut on_device = self.0.step_on_device.lock();
            *on_device = Tensor::from_slice(on_device.device(), &[step], [1])?;
        }
        self.0.step.store(step, Ordering::Relaxed);
        self.0.told.store(false, Ordering::Relaxed);
        self.0.pass.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Goes to training step `step`, which lies in `on_device [1]`. That may change in place between
    /// two steps: a step that was captured as a graph finds the next one there.
    pub(crate) fn follow(&self, step: u64, on_device: Tensor<u64>) {
        self.0.step.store(step, Ordering::Relaxed);
        *self.0.step_on_device.lock() = on_device;
        self.0.told.store(true, Ordering::Relaxed);
        self.0.pass.fetch_add(1, Ordering::Relaxed);
    }

    /// The step in device memory, `[1]`.
    pub(crate) fn step_on_device(&self) -> Tensor<u64> {
        self.0.step_on_device.lock().clone()
    }

    /// Whether a training loop sets every step, in memory that stays: see [`Context::follow`].
    pub(crate) fn is_told(&self) -> bool {
        self.0.told.load(Ordering::Relaxed)
    }

    /// Which forward pass this is.
    pub(crate) fn pass(&self) -> u64 {
        self.0.pass.load(Ordering::Relaxed)
    }

    /// Whether layers behave as in training (`model.train()`) or as in evaluation.
    pub fn training(&self) -> bool {
        self.0.training.load(Ordering::Relaxed)
    }

    /// `true`: as in training; `false`: as in evaluation.
    pub fn train(&self, mode: bool) {
        self.0.training.store(mode, Ordering::Relaxed);
    }
}

impl Clone for Context {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
