//! Where parameters are drawn, and the context that layers share.

use crate::autograd::Arena;
use crate::device::{Device, Memory};
use crate::dtype::Float;
use crate::ops::numel32;
use crate::rng::{Philox, stream};
use crate::{Result, Shape, Tensor};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What all layers of a model share: the seed, the step, and whether they train. Clones are the
/// same context.
#[derive(Debug)]
pub struct Context<D: Memory>(Rc<Shared<D>>);

#[derive(Debug)]
struct Shared<D: Memory> {
    seed: u64,
    step: Cell<u64>,
    /// The step once more, `[1]`, for kernels. Another step gets memory of its own, as a tape may
    /// hold this one, unless a training loop keeps it.
    step_on_device: RefCell<Tensor<D, u64>>,
    /// How often a step was set: layers tell one forward pass from the next by it.
    pass: Cell<u64>,
    training: Cell<bool>,
}

impl<D: Memory> Context<D> {
    /// A context in training mode at step 0.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(device: &D, seed: u64) -> Result<Self> {
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
    pub(crate) fn follow(&self, step: u64, on_device: Tensor<D, u64>) {
        self.0.step.set(step);
        self.0.step_on_device.replace(on_device);
        self.0.pass.set(self.0.pass.get() + 1);
    }

    /// The step in device memory, `[1]`.
    pub(crate) fn step_on_device(&self) -> Tensor<D, u64> {
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

impl<D: Memory> Clone for Context<D> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// Draws parameters into a flat arena, each from a random stream of its own.
#[derive(Debug)]
pub struct Init<D: Device<T>, T: Float> {
    arena: Arena<D, T>,
    context: Context<D>,
    parameters: Cell<u64>,
    streams: Cell<u32>,
}

impl<D: Device<T>, T: Float> Init<D, T> {
    /// A new model's parameters on `device`, all randomness from `seed`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(device: &D, seed: u64) -> Result<Self> {
        Ok(Self {
            arena: Arena::new(device)?,
            context: Context::new(device, seed)?,
            parameters: Cell::new(0),
            streams: Cell::new(0),
        })
    }

    /// The device.
    pub fn device(&self) -> &D {
        self.arena.device()
    }

    /// The arena of all parameters.
    pub fn arena(&self) -> &Arena<D, T> {
        &self.arena
    }

    /// The context of all layers.
    pub fn context(&self) -> &Context<D> {
        &self.context
    }

    /// The random stream of one more layer.
    pub fn stream(&self) -> u32 {
        self.streams.replace(self.streams.get() + 1)
    }

    /// A parameter drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as PyTorch's layers draw theirs;
    /// zeros where `fan_in`, the number of inputs of one output, is 0.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn fan_in(&self, fan_in: usize, shape: impl Into<Shape>) -> Result<Tensor<D, T>> {
        self.uniform(if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() }, shape)
    }

    /// A parameter drawn from U(-bound, bound).
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn uniform(&self, bound: f64, shape: impl Into<Shape>) -> Result<Tensor<D, T>> {
        let shape = shape.into();
        numel32("parameter", &shape)?;
        let index = self.parameters.replace(self.parameters.get() + 1);
        let mut random = Philox::new(self.context.seed()).sequence(stream::INIT, index);
        let values: Vec<T> =
            (0..shape.numel()).map(|_| T::of(random.range(-bound, bound))).collect();
        self.arena.parameter(&values, shape)
    }

    /// A parameter of one value.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn constant(&self, value: f64, shape: impl Into<Shape>) -> Result<Tensor<D, T>> {
        let shape = shape.into();
        numel32("parameter", &shape)?;
        self.arena.parameter(&vec![T::of(value); shape.numel()], shape)
    }
}
