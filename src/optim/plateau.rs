//! A learning rate that falls when there is no more progress.

use super::Optimizer;
use crate::dtype::Float;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlateauMode {
    /// Smaller ones: a loss.
    Min,
    /// Larger ones: an accuracy.
    Max,
}

/// What a value must be better by than the best so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Threshold {
    /// A share of the best: PyTorch's `threshold_mode='rel'`.
    Rel(f64),
    /// A number: PyTorch's `threshold_mode='abs'`.
    Abs(f64),
}

/// Hyper-parameters of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlateauOptions {
    /// Which values are better.
    pub mode: PlateauMode,
    /// What the learning rate is multiplied by, below 1.
    pub factor: f64,
    /// How many values in a row may be no better before that.
    pub patience: u64,
    /// What a value must be better by.
    pub threshold: Threshold,
    /// How many values after a change do not count.
    pub cooldown: u64,
    /// The least learning rate.
    pub min_lr: f64,
    /// A change that is not larger is not made.
    pub eps: f64,
}

impl Default for PlateauOptions {
    fn default() -> Self {
        Self {
            mode: PlateauMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: Threshold::Rel(1e-4),
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

/// `torch.optim.lr_scheduler.ReduceLROnPlateau`: lowers the learning rate of each group of parameters
/// when a value has not become better for some time.
///
/// It is its own state: what `serde` writes of it goes on where it stopped.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::{PlateauOptions, ReduceLROnPlateau, Sgd, SgdOptions};
/// use signet::{Arena, Device};
///
/// let arena = Arena::<f32>::new(&Device::cpu()?)?;
/// let mut optimizer = Sgd::new(&arena, SgdOptions::new(0.1))?;
/// let options = PlateauOptions { patience: 1, ..Default::default() };
/// let mut schedule = ReduceLROnPlateau::new(options)?;
/// let changes = [0.9, 0.5, 0.5, 0.6].map(|loss| schedule.step(loss, &mut optimizer));
/// // The second that is no better is one too many.
/// assert_eq!(changes.map(|change| change.unwrap()), [false, false, false, true]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReduceLROnPlateau {
    options: PlateauOptions,
    /// None before the first value.
    best: Option<f64>,
    num_bad_epochs: u64,
    cooldown_counter: u64,
}

impl ReduceLROnPlateau {
    /// A schedule that has seen no value.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number outside its range.
    pub fn new(options: PlateauOptions) -> Result<Self> {
        let PlateauOptions { factor, min_lr, eps, threshold, .. } = options;
        if !(0.0..1.0).contains(&factor) {
            let message = format!("must be at least 0 and less than 1, got {factor}");
            return Err(Error::argument("factor", message));
        }
        super::not_negative("min_lr", min_lr)?;
        super::not_negative("eps", eps)?;
        let (Threshold::Rel(by) | Threshold::Abs(by)) = threshold;
        if !by.is_finite() {
            return Err(Error::argument("threshold", format!("must be a number, got {by}")));
        }
        Ok(Self { options, best: None, num_bad_epochs: 0, cooldown_counter: 0 })
    }

    /// Takes the value of an epoch, and lowers the learning rates if it is time to; whether it did so.
    ///
    /// # Errors
    /// When the device fails.
    pub fn step<T: Float>(
        &mut self,
        metric: f64,
        optimizer: &mut dyn Optimizer<T>,
    ) -> Result<bool> {
        if self.is_better(metric) {
            (self.best, self.num_bad_epochs) = (Some(metric), 0);
        } else {
            self.num_bad_epochs += 1;
        }
        if self.cooldown_counter > 0 {
            self.cooldown_counter -= 1;
            self.num_bad_epochs = 0;
        }
        if self.num_bad_epochs <= self.options.patience {
            return Ok(false);
        }
        (self.cooldown_counter, self.num_bad_epochs) = (self.options.cooldown, 0);
        let mut changed = false;
        for (group, of_group) in optimizer.param_groups().iter().enumerate() {
            let lr = of_group.options.iter().find(|(name, _)| name == "lr").map(|(_, lr)| *lr);
            let Some(lr) = lr else { continue };
            let lower = (lr * self.options.factor).max(self.options.min_lr);
            if lr - lower > self.options.eps {
                optimizer.set_group_lr(group, lower)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Whether `metric` is better than the best so far; NaN is not.
    fn is_better(&self, metric: f64) -> bool {
        let PlateauOptions { mode, threshold, .. } = self.options;
        let best = self.best.unwrap_or(match mode {
            PlateauMode::Min => f64::INFINITY,
            PlateauMode::Max => f64::NEG_INFINITY,
        });
        match (mode, threshold) {
            (PlateauMode::Min, Threshold::Rel(by)) => metric < best * (1.0 - by),
            (PlateauMode::Min, Threshold::Abs(by)) => metric < best - by,
            (PlateauMode::Max, Threshold::Rel(by)) => metric > best * (1.0 + by),
            (PlateauMode::Max, Threshold::Abs(by)) => metric > best + by,
        }
    }
}
