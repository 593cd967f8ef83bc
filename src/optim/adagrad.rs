use super::groups::{Group, Groups, optimizer_of_groups};
use super::{not_negative, number};
use crate::autograd::Arena;
use crate::dtype::Float;
use crate::ops::adagrad::{AdagradGroup, AdagradKernels};
use crate::{Result, Tensor};

/// Hyper-parameters of `torch.optim.Adagrad`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdagradOptions {
    /// Learning rate of the first step.
    pub lr: f64,
    /// How fast it falls: by `1 / (1 + t lr_decay)` after `t` steps.
    pub lr_decay: f64,
    /// Weight decay, added to the gradients.
    pub weight_decay: f64,
    /// What the sum of squares starts from.
    pub initial_accumulator_value: f64,
    /// Added to the square root of the sum of squares.
    pub eps: f64,
    /// Whether to go up, along the gradients, instead of down.
    pub maximize: bool,
}

impl AdagradOptions {
    /// PyTorch's defaults.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            lr_decay: 0.0,
            weight_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            maximize: false,
        }
    }
}

impl From<AdagradOptions> for AdagradGroup {
    fn from(options: AdagradOptions) -> Self {
        let AdagradOptions { lr, lr_decay, weight_decay, initial_accumulator_value, eps, .. } =
            options;
        let maximize = number(options.maximize);
        Self { lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize }
    }
}

impl Group for AdagradGroup {
    const NAMES: &'static [&'static str] =
        &["lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "maximize"];

    fn needs(&self) -> Vec<&'static str> {
        vec!["sum"]
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("lr_decay", self.lr_decay)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("initial_accumulator_value", self.initial_accumulator_value)?;
        not_negative("eps", self.eps)
    }
}

/// `torch.optim.Adagrad`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::{Adagrad, AdagradOptions, Optimizer};
/// use signet::{Arena, Device};
///
/// let arena = Arena::<f32>::new(&Device::cpu()?)?;
/// let w = arena.parameter(&[1.0], [1])?;
/// let mut optimizer = Adagrad::new(&arena, AdagradOptions::new(0.1))?;
/// w.mul(&w)?.sum()?.backward()?;
/// optimizer.step()?;
/// // The gradient, 2, divided by the root of its square.
/// assert!((w.item()? - 0.9).abs() < 1e-6);
/// # Ok(()) }
/// ```
pub struct Adagrad<T: Float = f32>(Groups<T, AdagradGroup>);

impl<T: Float> Adagrad<T> {
    /// An optimizer of all parameters in `arena`; those that are added to it later join.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a hyper-parameter outside its range.
    pub fn new(arena: &Arena<T>, options: AdagradOptions) -> Result<Self> {
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
        options: AdagradOptions,
    ) -> Result<()> {
        self.0.add(parameters, options.into())
    }
}

optimizer_of_groups!(Adagrad, |device, update, values, gradients, mut moments| {
    device.adagrad(update, values, gradients, moments.take_needed("sum"))
});
