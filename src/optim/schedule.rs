//! Learning rates over epochs.

use crate::{Error, Result};
use std::f64::consts::PI;

/// How a rate goes from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anneal {
    /// Along half a cosine.
    Cos,
    /// Along a line.
    Linear,
}

impl Anneal {
    /// `share` of the way from `start` to `end`.
    fn between(self, start: f64, end: f64, share: f64) -> f64 {
        match self {
            Self::Cos => end + (start - end) / 2.0 * (1.0 + (PI * share).cos()),
            Self::Linear => (end - start) * share + start,
        }
    }
}

/// How the learning rate changes from epoch to epoch, or from step to step.
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
    /// `torch.optim.lr_scheduler.OneCycleLR` with a `max_lr` of the full rate: from a `div_factor`-th of
    /// it up to it, and down to far below where it began. It leaves a momentum alone, as
    /// `cycle_momentum=False`.
    OneCycle {
        /// Steps in all; the last rate holds from then on.
        total_steps: u64,
        /// The share of the steps that goes up.
        pct_start: f64,
        /// How it goes up and down.
        anneal_strategy: Anneal,
        /// The full rate divided by the first.
        div_factor: f64,
        /// The first rate divided by the last.
        final_div_factor: f64,
        /// Whether it comes down to the first rate as fast as it went up, and only then below.
        three_phase: bool,
    },
}

impl Schedule {
    /// PyTorch's defaults of `OneCycleLR`.
    ///
    /// ```
    /// use signet::optim::Schedule;
    ///
    /// let schedule = Schedule::one_cycle(10);
    /// let rates = [0, 2, 9].map(|step| schedule.lr(0.1, step));
    /// assert!((rates[0] - 0.004).abs() < 1e-12 && rates[1] == 0.1 && rates[2] < 1e-6);
    /// ```
    pub fn one_cycle(total_steps: u64) -> Self {
        Self::OneCycle {
            total_steps,
            pct_start: 0.3,
            anneal_strategy: Anneal::Cos,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

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
            Self::OneCycle { total_steps: 0, .. } => {
                Err(Error::argument("total_steps", "must be at least 1, got 0"))
            }
            Self::OneCycle { pct_start, .. } if !(0.0..=1.0).contains(&pct_start) => {
                let message = format!("must be from 0 to 1, got {pct_start}");
                Err(Error::argument("pct_start", message))
            }
            Self::OneCycle { div_factor, final_div_factor, .. } => {
                for (name, factor) in
                    [("div_factor", div_factor), ("final_div_factor", final_div_factor)]
                {
                    if !factor.is_finite() || factor <= 0.0 {
                        let message = format!("must be a positive number, got {factor}");
                        return Err(Error::argument(name, message));
                    }
                }
                Ok(())
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
            Self::OneCycle {
                total_steps,
                pct_start,
                anneal_strategy,
                div_factor,
                final_div_factor,
                three_phase,
            } => {
                let (first, total) = (lr / div_factor, total_steps as f64);
                let least = first / final_div_factor;
                let top = pct_start * total - 1.0;
                // Where each phase ends, and from which rate to which it goes.
                let down = if three_phase {
                    [(2.0 * pct_start * total - 2.0, lr, first), (total - 1.0, first, least)]
                } else {
                    [(top, lr, lr), (total - 1.0, lr, least)]
                };
                let (step, mut start) = (epoch as f64, 0.0);
                for (end, from, to) in [(top, first, lr), down[0]] {
                    if step <= end {
                        return anneal_strategy.between(from, to, share(step, start, end));
                    }
                    start = end;
                }
                let (end, from, to) = down[1];
                anneal_strategy.between(from, to, share(step, start, end).min(1.0))
            }
        }
    }
}

/// How far `step` is from `start` to `end`; there, where they are one.
fn share(step: f64, start: f64, end: f64) -> f64 {
    if end > start { (step - start) / (end - start) } else { 1.0 }
}
