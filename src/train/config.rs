use crate::autograd::Arena;
use crate::dtype::Float;
use crate::ops::augment::AugmentOptions;
use crate::optim::{Adam, AdamOptions, Optimizer, Schedule, Sgd, SgdOptions};
use crate::support::words::counted;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The settings of a run; with the data they determine its bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Passes over the training data.
    pub epochs: u64,
    /// Images of a step.
    pub batch_size: usize,
    /// The full learning rate.
    pub lr: f64,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// Weight decay; `None` is the optimizer's default.
    pub weight_decay: Option<f64>,
    /// Momentum of SGD.
    pub momentum: f64,
    /// How the learning rate changes.
    pub schedule: ScheduleKind,
    /// Epochs between two changes of the `step` schedule.
    pub step_size: u64,
    /// The factor of a change of the `step` schedule.
    pub gamma: f64,
    /// Epochs until the full rate of the `cosine` schedule.
    pub warmup: u64,
    /// The seed of every random number.
    pub seed: u64,
    /// How images are changed before a step trains on them; `None` leaves them as they are.
    #[serde(default)]
    pub augment: Option<AugmentOptions>,
}

/// An optimizer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// `torch.optim.Adam`
    Adam,
    /// `torch.optim.AdamW`
    AdamW,
    /// `torch.optim.SGD`
    Sgd,
}

/// A schedule by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// The same rate all along
    Constant,
    /// Times `gamma` every `step-size` epochs
    Step,
    /// Up to the full rate in `warmup` epochs, then down to 0 along half a cosine
    Cosine,
}

impl Default for Config {
    /// The course notebook's.
    fn default() -> Self {
        Self {
            epochs: 20,
            batch_size: 32,
            lr: 1e-3,
            optimizer: OptimizerKind::Adam,
            weight_decay: None,
            momentum: 0.9,
            schedule: ScheduleKind::Constant,
            step_size: 10,
            gamma: 0.1,
            warmup: 0,
            seed: 0,
            augment: None,
        }
    }
}

impl Config {
    /// How many batches `images` images make.
    pub fn batches(&self, images: usize) -> usize {
        images.div_ceil(self.batch_size.max(1))
    }

    /// Checks what neither an optimizer nor a schedule checks.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number outside its range.
    pub fn check(&self) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::argument("batch_size", "must be at least 1, got 0"));
        }
        if self.epochs == 0 {
            return Err(Error::argument("epochs", "must be at least 1, got 0"));
        }
        if !self.lr.is_finite() || self.lr < 0.0 {
            let message = format!("must be a number of at least 0, got {}", self.lr);
            return Err(Error::argument("lr", message));
        }
        if self.schedule == ScheduleKind::Cosine && self.warmup >= self.epochs {
            let message =
                format!("{} of {}: some must be left", self.warmup, counted(self.epochs, "epoch"));
            return Err(Error::argument("warmup", message));
        }
        self.augment.map_or(Ok(()), |augment| augment.check())?;
        self.schedule().check()
    }

    /// The schedule, in epochs.
    pub fn schedule(&self) -> Schedule {
        match self.schedule {
            ScheduleKind::Constant => Schedule::Constant,
            ScheduleKind::Step => Schedule::Step { step_size: self.step_size, gamma: self.gamma },
            ScheduleKind::Cosine => Schedule::Cosine {
                warmup: self.warmup,
                start_factor: 1.0 / (self.warmup + 1) as f64,
                epochs: self.epochs,
                eta_min: 0.0,
            },
        }
    }

    /// The optimizer of all parameters in `arena`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number outside its range.
    pub fn optimizer<T: Float>(&self, arena: &Arena<T>) -> Result<Box<dyn Optimizer<T> + Send>> {
        let adam = |options: AdamOptions| {
            let weight_decay = self.weight_decay.unwrap_or(options.weight_decay);
            Adam::new(arena, AdamOptions { weight_decay, ..options })
        };
        Ok(match self.optimizer {
            OptimizerKind::Adam => Box::new(adam(AdamOptions::adam(self.lr))?),
            OptimizerKind::AdamW => Box::new(adam(AdamOptions::adamw(self.lr))?),
            OptimizerKind::Sgd => {
                let weight_decay = self.weight_decay.unwrap_or(0.0);
                let momentum = self.momentum;
                let options = SgdOptions { momentum, weight_decay, ..SgdOptions::new(self.lr) };
                Box::new(Sgd::new(arena, options)?)
            }
        })
    }
}
