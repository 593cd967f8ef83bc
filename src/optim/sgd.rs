use super::groups::{Group, Groups, optimizer_of_groups};
use super::{not_negative, number};
use crate::autograd::Arena;
use crate::dtype::Float;
use crate::ops::sgd::{SgdGroup, SgdKernels};
use crate::{Error, Result, Tensor};

/// Hyper-parameters of `torch.optim.SGD`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdOptions {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the velocity; 0 keeps none.
    pub momentum: f64,
    /// The share of a gradient that does not enter the velocity.
    pub dampening: f64,
    /// Weight decay, added to the gradients.
    pub weight_decay: f64,
    /// Whether to look ahead along the velocity.
    pub nesterov: bool,
    /// Whether to go up, along the gradients, instead of down.
    pub maximize: bool,
}

impl SgdOptions {
    /// PyTorch's defaults.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

impl From<SgdOptions> for SgdGroup {
    fn from(options: SgdOptions) -> Self {
        let SgdOptions { lr, momentum, dampening, weight_decay, .. } = options;
        let [nesterov, maximize] = [options.nesterov, options.maximize].map(number);
        Self { lr, momentum, dampening, weight_decay, nesterov, maximize }
    }
}

impl Group for SgdGroup {
    const NAMES: &'static [&'static str] =
        &["lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"];

    fn needs(&self) -> Vec<&'static str> {
        if self.momentum != 0.0 { vec!["momentum_buffer"] } else { Vec::new() }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        if !self.dampening.is_finite() {
            let message = format!("must be a number, got {}", self.dampening);
            return Err(Error::argument("dampening", message));
        }
        if self.nesterov == 1.0 && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::argument("nesterov", "needs a momentum and no dampening"));
        }
        Ok(())
    }
}

/// `torch.optim.SGD`.
pub struct Sgd<T: Float = f32>(Groups<T, SgdGroup>);

impl<T: Float> Sgd<T> {
    /// An optimizer of all parameters in `arena`; those that are added to it later join.
    ///
    /// # Errors
    /// [`Error::Argument`] for a hyper-parameter outside its range, and for nesterov without
    /// momentum or with dampening.
    pub fn new(arena: &Arena<T>, options: SgdOptions) -> Result<Self> {
        Groups::new(arena, options.into()).map(Self)
    }

    /// Gives `parameters` of the arena options of their own: see [`Adam`](super::Adam::add_param_group).
    ///
    /// # Errors
    /// As [`Sgd::new`]; [`Error::Argument`] for what is no parameter of the arena, and a parameter
    /// that was added to a group before.
    pub fn add_param_group(&mut self, parameters: &[Tensor<T>], options: SgdOptions) -> Result<()> {
        self.0.add(parameters, options.into())
    }
}

optimizer_of_groups!(Sgd, |device, update, values, gradients, mut moments| {
    device.sgd(update, values, gradients, moments.take("momentum_buffer"))
});
