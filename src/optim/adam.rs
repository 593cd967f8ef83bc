use super::groups::{Group, Groups, optimizer_of_groups};
use super::{decay_rate, not_negative, number};
use crate::autograd::Arena;
use crate::dtype::Float;
use crate::ops::adam::{AdamGroup, AdamKernels};
use crate::{Result, Tensor};

/// Hyper-parameters of `torch.optim.Adam` and `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the two moments.
    pub betas: (f64, f64),
    /// Added to the square root of the bias-corrected second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether the decay shrinks the parameters (AdamW) or adds to the gradients (Adam).
    pub decoupled_weight_decay: bool,
    /// Whether the largest second moment so far divides.
    pub amsgrad: bool,
    /// Whether to go up, along the gradients, instead of down.
    pub maximize: bool,
}

impl AdamOptions {
    /// PyTorch's defaults of `Adam`.
    pub fn adam(lr: f64) -> Self {
        Self {
            lr,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            amsgrad: false,
            maximize: false,
        }
    }

    /// PyTorch's defaults of `AdamW`.
    pub fn adamw(lr: f64) -> Self {
        Self { weight_decay: 1e-2, decoupled_weight_decay: true, ..Self::adam(lr) }
    }
}

impl From<AdamOptions> for AdamGroup {
    fn from(options: AdamOptions) -> Self {
        let AdamOptions { lr, betas: (beta1, beta2), eps, weight_decay, .. } = options;
        let [decoupled, amsgrad, maximize] =
            [options.decoupled_weight_decay, options.amsgrad, options.maximize].map(number);
        Self { lr, beta1, beta2, eps, weight_decay, decoupled, amsgrad, maximize }
    }
}

impl Group for AdamGroup {
    const NAMES: &'static [&'static str] = &[
        "lr",
        "beta1",
        "beta2",
        "eps",
        "weight_decay",
        "decoupled_weight_decay",
        "amsgrad",
        "maximize",
    ];

    fn needs(&self) -> Vec<&'static str> {
        let largest = (self.amsgrad == 1.0).then_some("max_exp_avg_sq");
        ["exp_avg", "exp_avg_sq"].into_iter().chain(largest).collect()
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)?;
        decay_rate("betas", self.beta1)?;
        decay_rate("betas", self.beta2)
    }
}

/// `torch.optim.Adam` and, with decoupled weight decay, `torch.optim.AdamW`.
pub struct Adam<T: Float = f32>(Groups<T, AdamGroup>);

impl<T: Float> Adam<T> {
    /// An optimizer of all parameters in `arena`; those that are added to it later join.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a hyper-parameter outside its range.
    pub fn new(arena: &Arena<T>, options: AdamOptions) -> Result<Self> {
        Groups::new(arena, options.into()).map(Self)
    }

    /// Gives `parameters` of the arena options of their own.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::nn::{Linear, Module, Sequential};
    /// use signet::optim::{Adam, AdamOptions, Optimizer};
    /// use signet::{Device, layers};
    ///
    /// let layers = layers![Linear::new(4, 4), Linear::new(4, 2)];
    /// let model = Sequential::<f32>::new(&Device::cpu()?, 0, layers)?;
    /// let mut adam = Adam::new(model.arena(), AdamOptions::adam(1e-4))?;
    /// // The last layer learns faster, and its bias, the last parameter, is not shrunk.
    /// let parameters = model.parameters();
    /// let fast = AdamOptions::adamw(1e-2);
    /// adam.add_param_group(&parameters[2..3], fast)?;
    /// adam.add_param_group(&parameters[3..], AdamOptions { weight_decay: 0.0, ..fast })?;
    /// assert_eq!(adam.param_groups()[0].params, [0, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a hyper-parameter outside its range, what is no
    /// parameter of the arena, and a parameter that was added to a group before.
    pub fn add_param_group(
        &mut self,
        parameters: &[Tensor<T>],
        options: AdamOptions,
    ) -> Result<()> {
        self.0.add(parameters, options.into())
    }
}

optimizer_of_groups!(Adam, |device, update, values, gradients, mut moments| {
    let (first, second) = (moments.take_needed("exp_avg"), moments.take_needed("exp_avg_sq"));
    device.adam(update, values, gradients, first, second, moments.take("max_exp_avg_sq"))
});
