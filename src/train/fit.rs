//! Epochs of steps of any model.

use super::{Inputs, TrainStep};
use crate::dtype::Float;
use crate::nn::StateDict;
use crate::{Error, Result};
use std::time::{Duration, Instant};

/// How long [`fit`] trains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Passes over the data at most.
    pub epochs: u64,
    /// Epochs without a better validation loss after which it stops; `None`: it goes on.
    pub patience: Option<u64>,
    /// The time after which no further epoch begins; `None`: any.
    pub time_budget: Option<Duration>,
}

impl FitOptions {
    /// So many epochs.
    pub fn new(epochs: u64) -> Self {
        Self { epochs, patience: None, time_budget: None }
    }

    /// Stops after so many epochs without a better validation loss.
    pub fn patience(self, epochs: u64) -> Self {
        Self { patience: Some(epochs), ..self }
    }

    /// Begins no epoch after so long.
    pub fn time_budget(self, time: Duration) -> Self {
        Self { time_budget: Some(time), ..self }
    }
}

/// What an epoch of [`fit`] achieved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitEpoch {
    /// Counted from 0.
    pub epoch: u64,
    /// The mean of the losses of its batches.
    pub train_loss: f64,
    /// What the validation after it gave.
    pub valid_loss: f64,
    /// Of both.
    pub seconds: f64,
}

/// Why a [`fit`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All epochs are done.
    Finished,
    /// The validation loss did not get better for as many epochs as [`FitOptions::patience`] says.
    Patience,
    /// [`FitOptions::time_budget`] is used up.
    TimeBudget,
    /// It was asked to.
    Asked,
}

/// What [`fit`] leaves behind beside the model of the last epoch.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The epochs.
    pub epochs: Vec<FitEpoch>,
    /// The number of the one with the least validation loss, and the model as it was then.
    pub best: Option<(u64, StateDict)>,
    /// Why there are no more.
    pub stopped: Stopped,
}

/// Trains any model: for each epoch, `step` on all of `batches(epoch)`, then `validate`, whose loss says
/// which epoch is the best. `watch` sees each epoch and returns whether to go on.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::data::{DataLoader, synthetic};
/// use signet::nn::{Flatten, Forward, Linear, Sequential};
/// use signet::ops::cross_entropy::cross_entropy;
/// use signet::optim::{Adam, AdamOptions};
/// use signet::train::{FitOptions, TrainStep, fit};
/// use signet::{Device, Tensor, layers, no_grad};
///
/// let device = Device::auto()?;
/// let data = synthetic(0, 256, 64);
/// let train = DataLoader::new(&device, &data.train, 32, Some(0))?;
/// let valid = DataLoader::new(&device, &data.valid, 64, None)?;
/// let model = Sequential::new(&device, 0, layers![Flatten, Linear::new(784, 24)])?;
/// let optimizer = Adam::new(model.arena(), AdamOptions::adam(1e-3))?;
/// let loss = |(x, y): &(Tensor, Tensor<i32>)| {
///     Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
/// };
/// let mut step = TrainStep::new(&model, model.context(), optimizer, loss)?;
/// let validate = || {
///     let batch = valid.epoch(0, 0)?.next().expect("there is one batch")?;
///     no_grad(|| Ok(loss(&batch)?.item()?.into()))
/// };
/// let options = FitOptions::new(5).patience(2);
/// let fit = fit(&mut step, |epoch| train.epoch(epoch, 0), validate, &options, |epoch| {
///     println!("epoch {}: {:.4}, {:.4}", epoch.epoch, epoch.train_loss, epoch.valid_loss);
///     true
/// })?;
/// assert!(fit.epochs[4].train_loss < fit.epochs[0].train_loss);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of the step, the batches and the validation; [`Error::NonFinite`] when a mean loss is no number.
pub fn fit<I: Inputs, T: Float, B: IntoIterator<Item = Result<I>>>(
    step: &mut TrainStep<'_, I, T>,
    mut batches: impl FnMut(u64) -> Result<B>,
    mut validate: impl FnMut() -> Result<f64>,
    options: &FitOptions,
    mut watch: impl FnMut(&FitEpoch) -> bool,
) -> Result<Fit> {
    let began = Instant::now();
    let mut fit = Fit { epochs: Vec::new(), best: None, stopped: Stopped::Finished };
    let (mut least, mut since) = (f64::INFINITY, 0);
    for epoch in 0..options.epochs {
        let start = Instant::now();
        if options.time_budget.is_some_and(|budget| began.elapsed() >= budget) {
            fit.stopped = Stopped::TimeBudget;
            break;
        }
        for batch in batches(epoch)? {
            step.run(&batch?)?;
        }
        let train_loss = step.mean_loss()?;
        if !train_loss.is_finite() {
            let message = format!("the mean loss of epoch {epoch} is {train_loss}");
            return Err(Error::NonFinite(message));
        }
        step.train(false);
        let valid_loss = validate();
        step.train(true);
        let valid_loss = valid_loss?;
        since += 1;
        if valid_loss < least {
            (least, since) = (valid_loss, 0);
            fit.best = Some((epoch, step.model().state_dict()?));
        }
        let seconds = start.elapsed().as_secs_f64();
        let done = FitEpoch { epoch, train_loss, valid_loss, seconds };
        fit.epochs.push(done);
        if !watch(&done) {
            fit.stopped = Stopped::Asked;
            break;
        }
        if options.patience.is_some_and(|patience| since >= patience) {
            fit.stopped = Stopped::Patience;
            break;
        }
    }
    Ok(fit)
}
