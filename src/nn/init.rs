//! Where parameters are drawn.

use super::Context;
use crate::autograd::Arena;
use crate::device::Device;
use crate::dtype::Float;
use crate::ops::numel32;
use crate::rng::{Philox, stream};
use crate::{Result, Shape, Tensor};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Draws parameters into a flat arena, each from a random stream of its own.
#[derive(Debug)]
pub struct Init<T: Float = f32> {
    arena: Arena<T>,
    context: Context,
    parameters: AtomicU64,
    streams: AtomicU32,
}

impl<T: Float> Init<T> {
    /// A new model's parameters on `device`, all randomness from `seed`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(device: &Device, seed: u64) -> Result<Self> {
        Ok(Self {
            arena: Arena::new(device)?,
            context: Context::new(device, seed)?,
            parameters: AtomicU64::new(0),
            streams: AtomicU32::new(0),
        })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        self.arena.device()
    }

    /// The arena of all parameters.
    pub fn arena(&self) -> &Arena<T> {
        &self.arena
    }

    /// The context of all layers.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The random stream of one more layer.
    pub fn stream(&self) -> u32 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// A parameter drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as PyTorch's layers draw theirs;
    /// zeros where `fan_in`, the number of inputs of one output, is 0.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn fan_in(&self, fan_in: usize, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        self.uniform(if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() }, shape)
    }

    /// A parameter drawn from U(-bound, bound).
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn uniform(&self, bound: f64, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        let shape = shape.into();
        numel32("parameter", &shape)?;
        let index = self.parameters.fetch_add(1, Ordering::Relaxed);
        let mut random = Philox::new(self.context.seed()).sequence(stream::INIT, index);
        let values: Vec<T> =
            (0..shape.numel()).map(|_| T::of(random.range(-bound, bound))).collect();
        self.arena.parameter(&values, shape)
    }

    /// A parameter drawn from N(0, std^2).
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn normal(&self, std: f64, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        let shape = shape.into();
        numel32("parameter", &shape)?;
        let index = self.parameters.fetch_add(1, Ordering::Relaxed);
        let mut random = Philox::new(self.context.seed()).sequence(stream::INIT, index);
        let values: Vec<T> = (0..shape.numel()).map(|_| T::of(std * random.normal())).collect();
        self.arena.parameter(&values, shape)
    }

    /// A parameter of one value.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn constant(&self, value: f64, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        let shape = shape.into();
        numel32("parameter", &shape)?;
        self.arena.parameter(&vec![T::of(value); shape.numel()], shape)
    }
}
