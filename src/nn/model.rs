//! A module with what it was drawn from.

use super::{Context, Init, Module, State};
use crate::autograd::Arena;
use crate::device::Device;
use crate::dtype::Float;
use crate::{Result, Tensor};
use std::ops::Deref;

/// A network of one's own with its parameters' arena, its mode, seed and step. What the network itself can
/// do, a `Model` of it can.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::nn::{Dropout, DropoutModule, Forward, Linear, LinearModule, Model, Module};
/// use signet::optim::{Adam, AdamOptions};
/// use signet::{Device, Result, Tensor};
///
/// #[derive(Module)]
/// struct Net {
///     hidden: LinearModule,
///     dropout: DropoutModule,
///     head: LinearModule,
/// }
///
/// impl Net {
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         self.head.forward(&self.dropout.forward(&self.hidden.forward(x)?.relu()?)?)
///     }
/// }
///
/// let model = Model::new(&Device::auto()?, 0, |init| {
///     Ok(Net {
///         hidden: Linear::new(4, 8).build(init)?,
///         dropout: Dropout::new(0.5).build(init)?,
///         head: Linear::new(8, 2).build(init)?,
///     })
/// })?;
/// let optimizer = Adam::new(model.arena(), AdamOptions::adam(1e-3))?;
/// model.eval();
/// assert_eq!(model.forward(&Tensor::zeros(model.device(), [3, 4])?)?.dims(), [3, 2]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Model<M, T: Float = f32> {
    network: M,
    arena: Arena<T>,
    context: Context,
}

impl<M: Module<T>, T: Float> Model<M, T> {
    /// The network that `build` makes on `device`, with parameters drawn from `seed`, in training mode.
    ///
    /// # Errors
    /// Those of `build`, and when the device fails.
    pub fn new(
        device: &Device,
        seed: u64,
        build: impl FnOnce(&Init<T>) -> Result<M>,
    ) -> Result<Self> {
        let init = Init::new(device, seed)?;
        let network = build(&init)?;
        name_tensors(&network);
        Ok(Self { network, arena: init.arena().clone(), context: init.context().clone() })
    }
}

impl<M, T: Float> Model<M, T> {
    /// The device.
    pub fn device(&self) -> &Device {
        self.arena.device()
    }

    /// All parameters and their gradients, for an optimizer.
    pub fn arena(&self) -> &Arena<T> {
        &self.arena
    }

    /// Seed, step and mode.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Training mode: batch statistics, dropout.
    pub fn train(&self) {
        self.context.train(true);
    }

    /// Evaluation mode: running statistics, no dropout.
    pub fn eval(&self) {
        self.context.train(false);
    }
}

impl<M, T: Float> Deref for Model<M, T> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.network
    }
}

impl<M: Module<T>, T: Float> Module<T> for Model<M, T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        self.network.state()
    }
}

/// Has messages call all tensors by their places in `network`.
pub(super) fn name_tensors<T: Float>(network: &impl Module<T>) {
    for (name, state) in network.state() {
        match state {
            State::Parameter(tensor) | State::Buffer(tensor) => Tensor::set_name(&tensor, name),
            State::Count(_) => {}
        }
    }
}
