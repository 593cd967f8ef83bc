use super::groups::{Group, Groups, optimizer_of_groups};
use super::{not_negative, number};
use crate::autograd::Arena;
use crate::dtype::Float;
use crate::ops::rmsprop::{RmspropGroup, RmspropKernels};
use crate::{Result, Tensor};

/// Hyper-parameters of `torch.optim.RMSprop`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmspropOptions {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the averages.
    pub alpha: f64,
    /// Added to the square root of the mean square.
    pub eps: f64,
    /// Weight decay, added to the gradients.
    pub weight_decay: f64,
    /// Decay of the velocity; 0 keeps none.
    pub momentum: f64,
    /// Whether the variance of the gradients divides, not their mean square.
    pub centered: bool,
    /// Whether to go up, along the gradients, instead of down.
    pub maximize: bool,
}

impl RmspropOptions {
    /// PyTorch's defaults.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
            maximize: false,
        }
    }
}

impl From<RmspropOptions> for RmspropGroup {
    fn from(options: RmspropOptions) -> Self {
        let RmspropOptions { lr, alpha, eps, weight_decay, momentum, .. } = options;
        let [centered, maximize] = [options.centered, options.maximize].map(number);
        Self { lr, alpha, eps, weight_decay, momentum, centered, maximize }
    }
}

impl Group for RmspropGroup {
    const NAMES: &'static [&'static str] =
        &["lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize"];

    fn needs(&self) -> Vec<&'static str> {
        let centered = (self.centered == 1.0).then_some("grad_avg");
        let velocity = (self.momentum != 0.0).then_some("momentum_buffer");
        ["square_avg"].into_iter().chain(centered).chain(velocity).collect()
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("alpha", self.alpha)?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("momentum", self.momentum)
    }
}

/// `torch.optim.RMSprop`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::{Optimizer, Rmsprop, RmspropOptions};
/// use signet::{Arena, Device};
///
/// let arena = Arena::<f32>::new(&Device::cpu()?)?;
/// let w = arena.parameter(&[1.0], [1])?;
/// let mut optimizer = Rmsprop::new(&arena, RmspropOptions::new(0.01))?;
/// w.mul(&w)?.sum()?.backward()?;
/// optimizer.step()?;
/// // The gradient, 2, divided by the root of 0.01 times its square.
/// assert!((w.item()? - 0.9).abs() < 1e-6);
/// # Ok(()) }
/// ```
pub struct Rmsprop<T: Float = f32>(Groups<T, RmspropGroup>);

impl<T: Float> Rmsprop<T> {
    /// An optimizer of all parameters in `arena`; those that are added to it later join.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a hyper-parameter outside its range.
    pub fn new(arena: &Arena<T>, options: RmspropOptions) -> Result<Self> {
        Groups::new(arena, options.into()).map(Self)
    }

    /// Gives `parameters` of the arena options of their own: see [`Adam`](super::Adam::add_param_group).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a hyper-parameter outside its range, what is no
    /// parameter of the arena, and a parameter that was added to a group before.
    pub fn add_param_group(
        &mut self,
        parameters: &[Tensor<T>],
        options: RmspropOptions,
    ) -> Result<()> {
        self.0.add(parameters, options.into())
    }
}

optimizer_of_groups!(Rmsprop, |device, update, values, gradients, mut moments| {
    let square_avg = moments.take_needed("square_avg");
    let (grad_avg, velocity) = (moments.take("grad_avg"), moments.take("momentum_buffer"));
    device.rmsprop(update, values, gradients, square_avg, grad_avg, velocity)
});
