//! Learning rates over epochs.

use crate::{Error, Result};
use std::f64::consts::PI;

/// How the learning rate changes from epoch to epoch.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::Schedule;
///
/// let schedule = Schedule::Step { step_size: 10, gamma: 0.5 };
/// let rates = [0, 9, 10, 25].map(|epoch| schedule.lr(0.1, epoch));
/// assert_eq!(rates, [0.1, 0.1, 0.05, 0.025]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// `torch.optim.lr_scheduler.StepLR`: times `gamma` every `step_size` epochs.
    Step {
        /// Epochs between two changes.
        step_size: u64,
        /// The factor of a change.
        gamma: f64,
    },
    /// `LinearLR(start_factor, total_iters = warmup)` followed by
    /// `CosineAnnealingLR(T_max = epochs - warmup)`: up to the full rate in `warmup` epochs, then
    /// down to `eta_min` along half a cosine.
    Cosine {
        /// Epochs until the full rate.
        warmup: u64,
        /// The share of the full rate to start from.
        start_factor: f64,
        /// Epochs in all.
        epochs: u64,
        /// The rate after the last epoch.
        eta_min: f64,
    },
}

impl Schedule {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] for one outside its range.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Step { step_size: 0, .. } => {
                Err(Error::argument("step_size", "must be at least 1, got 0"))
            }
            Self::Step { gamma, .. } if !gamma.is_finite() || gamma <= 0.0 => {
                Err(Error::argument("gamma", format!("must be a positive number, got {gamma}")))
            }
            Self::Cosine { start_factor, .. } if !(start_factor > 0.0 && start_factor <= 1.0) => {
                let message = format!("must be above 0 and at most 1, got {start_factor}");
                Err(Error::argument("start_factor", message))
            }
            Self::Cosine { eta_min, .. } if !eta_min.is_finite() || eta_min < 0.0 => {
                let message = format!("must be a number of at least 0, got {eta_min}");
                Err(Error::argument("eta_min", message))
            }
            _ => Ok(()),
        }
    }

    /// The learning rate of `epoch`, counted from 0, when the full rate is `lr`.
    pub fn lr(&self, lr: f64, epoch: u64) -> f64 {
        match *self {
            Self::Constant => lr,
            Self::Step { step_size, gamma } => lr * gamma.powf((epoch / step_size.max(1)) as f64),
            Self::Cosine { warmup, start_factor, .. } if epoch < warmup => {
                lr * (start_factor + (1.0 - start_factor) * epoch as f64 / warmup as f64)
            }
            Self::Cosine { warmup, epochs, eta_min, .. } => {
                let span = epochs.saturating_sub(warmup).max(1) as f64;
                let progress = ((epoch - warmup) as f64 / span).min(1.0);
                eta_min + (lr - eta_min) * (1.0 + (PI * progress).cos()) / 2.0
            }
        }
    }
}
