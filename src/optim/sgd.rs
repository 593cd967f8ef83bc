use super::{Optimizer, OptimizerState, StepState, not_negative, zeros};
use crate::arena::Arena;
use crate::device::Device;
use crate::dtype::Float;
use crate::ops::sgd::SgdStep;
use crate::{Error, Result};

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
}

impl SgdOptions {
    /// PyTorch's defaults.
    pub fn new(lr: f64) -> Self {
        Self { lr, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// `torch.optim.SGD`.
pub struct Sgd<D: Device<T>, T: Float> {
    arena: Arena<D, T>,
    options: SgdOptions,
    state: StepState<D>,
    velocity: Option<D::Buffer<T>>,
}

impl<D: Device<T>, T: Float> Sgd<D, T> {
    /// An optimizer of all parameters in `arena`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a hyper-parameter outside its range, and for nesterov without
    /// momentum or with dampening.
    pub fn new(arena: &Arena<D, T>, options: SgdOptions) -> Result<Self> {
        not_negative("lr", options.lr)?;
        not_negative("momentum", options.momentum)?;
        not_negative("weight_decay", options.weight_decay)?;
        if !options.dampening.is_finite() {
            let message = format!("must be a number, got {}", options.dampening);
            return Err(Error::argument("dampening", message));
        }
        if options.nesterov && (options.momentum == 0.0 || options.dampening != 0.0) {
            return Err(Error::argument("nesterov", "needs a momentum and no dampening"));
        }
        let velocity = (options.momentum != 0.0).then(|| zeros(arena)).transpose()?;
        let state = StepState::new(arena.device(), options.lr)?;
        Ok(Self { arena: arena.clone(), options, state, velocity })
    }
}

impl<D: Device<T>, T: Float> Optimizer<D, T> for Sgd<D, T> {
    fn step(&mut self) -> Result<()> {
        let SgdOptions { momentum, dampening, weight_decay, nesterov, .. } = self.options;
        let nesterov = u64::from(nesterov);
        let step = SgdStep { momentum, dampening, weight_decay, nesterov };
        let mut values = self.arena.values_mut();
        let gradients = self.arena.gradients();
        let runs = self.arena.runs_with_grad();
        let last = runs.len().saturating_sub(1);
        for (i, run) in runs.into_iter().enumerate() {
            self.arena.device().sgd(
                &step,
                self.state.update(i == last),
                D::slice_mut(D::view_mut(&mut values), run.clone()),
                D::slice(D::view(&gradients), run.clone()),
                self.velocity.as_mut().map(|v| D::slice_mut(D::view_mut(v), run)),
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
        let moments = [("momentum_buffer", self.velocity.as_ref())];
        OptimizerState::read(self.arena.device(), self.state.steps()?, &moments)
    }

    fn load_state(&mut self, state: &OptimizerState<T>) -> Result<()> {
        let moments = vec![("momentum_buffer", self.velocity.as_mut())];
        state.write(self.arena.device(), moments)?;
        self.state.set_steps(state.step)
    }
}
