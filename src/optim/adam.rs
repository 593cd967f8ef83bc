use super::{Optimizer, OptimizerState, StepState, decay_rate, not_negative, zeros};
use crate::Result;
use crate::arena::Arena;
use crate::device::Device;
use crate::dtype::Float;
use crate::ops::adam::AdamStep;

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
        }
    }

    /// PyTorch's defaults of `AdamW`.
    pub fn adamw(lr: f64) -> Self {
        Self { weight_decay: 1e-2, decoupled_weight_decay: true, ..Self::adam(lr) }
    }
}

/// `torch.optim.Adam` and, with decoupled weight decay, `torch.optim.AdamW`.
pub struct Adam<D: Device<T>, T: Float> {
    arena: Arena<D, T>,
    options: AdamOptions,
    state: StepState<D>,
    exp_avg: D::Buffer<T>,
    exp_avg_sq: D::Buffer<T>,
    max_exp_avg_sq: Option<D::Buffer<T>>,
}

impl<D: Device<T>, T: Float> Adam<D, T> {
    /// An optimizer of all parameters in `arena`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a hyper-parameter outside its range.
    pub fn new(arena: &Arena<D, T>, options: AdamOptions) -> Result<Self> {
        not_negative("lr", options.lr)?;
        not_negative("eps", options.eps)?;
        not_negative("weight_decay", options.weight_decay)?;
        decay_rate("betas", options.betas.0)?;
        decay_rate("betas", options.betas.1)?;
        Ok(Self {
            arena: arena.clone(),
            options,
            state: StepState::new(arena.device(), options.lr)?,
            exp_avg: zeros(arena)?,
            exp_avg_sq: zeros(arena)?,
            max_exp_avg_sq: options.amsgrad.then(|| zeros(arena)).transpose()?,
        })
    }
}

impl<D: Device<T>, T: Float> Optimizer<D, T> for Adam<D, T> {
    fn step(&mut self) -> Result<()> {
        let AdamOptions { betas: (beta1, beta2), eps, weight_decay, .. } = self.options;
        let decoupled = u64::from(self.options.decoupled_weight_decay);
        let step = AdamStep { beta1, beta2, eps, weight_decay, decoupled };
        let mut values = self.arena.values_mut();
        let gradients = self.arena.gradients();
        let runs = self.arena.runs_with_grad();
        let last = runs.len().saturating_sub(1);
        for (i, run) in runs.into_iter().enumerate() {
            self.arena.device().adam(
                &step,
                self.state.update(i == last),
                D::slice_mut(D::view_mut(&mut values), run.clone()),
                D::slice(D::view(&gradients), run.clone()),
                D::slice_mut(D::view_mut(&mut self.exp_avg), run.clone()),
                D::slice_mut(D::view_mut(&mut self.exp_avg_sq), run.clone()),
                self.max_exp_avg_sq.as_mut().map(|max| D::slice_mut(D::view_mut(max), run)),
            )?;
        }
        Ok(())
    }

    fn zero_grad(&self) {
        self.arena.zero_grad();
    }

    fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.state.set_lr(lr)
    }

    fn state(&self) -> Result<OptimizerState<T>> {
        let moments = [
            ("exp_avg", Some(&self.exp_avg)),
            ("exp_avg_sq", Some(&self.exp_avg_sq)),
            ("max_exp_avg_sq", self.max_exp_avg_sq.as_ref()),
        ];
        OptimizerState::read(self.arena.device(), self.state.steps()?, &moments)
    }

    fn load_state(&mut self, state: &OptimizerState<T>) -> Result<()> {
        let moments = vec![
            ("exp_avg", Some(&mut self.exp_avg)),
            ("exp_avg_sq", Some(&mut self.exp_avg_sq)),
            ("max_exp_avg_sq", self.max_exp_avg_sq.as_mut()),
        ];
        state.write(self.arena.device(), moments)?;
        self.state.set_steps(state.step)
    }
}
