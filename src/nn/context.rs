//! What the layers of a model share: the seed, the step, and whether they train.

use crate::device::Device;
use crate::{Result, Tensor};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What all layers of a model share: the seed, the step, and whether they train. Clones are the
/// same context.
#[derive(Debug)]
pub struct Context(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    seed: u64,
    step: Cell<u64>,
    /// The step once more, `[1]`, for kernels. Another step gets memory of its own, as a tape may
    /// hold this one, unless a training loop keeps it.
    step_on_device: RefCell<Tensor<u64>>,
    /// How often a step was set: layers tell one forward pass from the next by it.
    pass: Cell<u64>,
    training: Cell<bool>,
}

impl Context {
    /// A context in training mode at step 0.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(device: &Device, seed: u64) -> Result<Self> {
        Ok(Self(Rc::new(Shared {
            seed,
            step: Cell::new(0),
            step_on_device: RefCell::new(Tensor::zeros(device, [1])?),
            pass: Cell::new(0),
            training: Cell::new(true),
        })))
    }

    /// The seed of every random number.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The training step, which picks dropout's masks.
    pub fn step(&self) -> u64 {
        self.0.step.get()
    }

    /// Goes to a training step. A loop that does so before each forward pass can be resumed with
    /// the same bits; going to the same step again draws the same masks again.
    ///
    /// # Errors
    /// When the device fails.
    pub fn set_step(&self, step: u64) -> Result<()> {
        if step != self.step() {
            let device = self.0.step_on_device.borrow().device().clone();
            self.0.step_on_device.replace(Tensor::from_slice(&device, &[step], [1])?);
        }
        self.0.step.set(step);
        self.0.pass.set(self.0.pass.get() + 1);
        Ok(())
    }

    /// Goes to training step `step`, which lies in `on_device [1]`. That may change in place between
    /// two steps: a step that was captured as a graph finds the next one there.
    pub(crate) fn follow(&self, step: u64, on_device: Tensor<u64>) {
        self.0.step.set(step);
        self.0.step_on_device.replace(on_device);
        self.0.pass.set(self.0.pass.get() + 1);
    }

    /// The step in device memory, `[1]`.
    pub(crate) fn step_on_device(&self) -> Tensor<u64> {
        self.0.step_on_device.borrow().clone()
    }

    /// Which forward pass this is.
    pub(crate) fn pass(&self) -> u64 {
        self.0.pass.get()
    }

    /// Whether layers behave as in training (`model.train()`) or as in evaluation.
    pub fn training(&self) -> bool {
        self.0.training.get()
    }

    /// `true`: as in training; `false`: as in evaluation.
    pub fn train(&self, mode: bool) {
        self.0.training.set(mode);
    }
}

impl Clone for Context {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}
