use super::{Config, EpochMetrics, Measured, State, evaluate};
use crate::data::{DataLoader, Split};
use crate::device::Device;
use crate::nn::{Module, Sequential, asl};
use crate::optim::Optimizer;
use crate::{Error, Result, Tape, Tensor};
use std::time::Instant;

/// Steps between two looks at the losses. A look waits for the device, so it is taken now and then:
/// often enough for a live display and for stopping at a loss that is no number.
const STEPS_PER_LOOK: usize = 32;

/// The training of the ASL network on a device: model, optimizer, data, and how far it is.
pub struct Trainer<D: Device<f32>> {
    config: Config,
    model: Sequential<D, f32>,
    optimizer: Box<dyn Optimizer<D, f32>>,
    train: DataLoader<D, f32>,
    valid: DataLoader<D, f32>,
    classes: usize,
    history: Vec<EpochMetrics>,
    best_model: Option<crate::nn::StateDict>,
    /// The part of the current epoch that is done.
    partial: Partial,
    /// Where the steps of an epoch leave their losses and hits, on the device.
    losses: Tensor<D, f32>,
    correct: Tensor<D, i32>,
}

/// The part of an epoch that is done.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Partial {
    pub losses: Vec<f32>,
    pub correct: u64,
    pub seconds: f64,
}

/// How far the current epoch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Steps made in it.
    pub step: usize,
    /// Steps of it.
    pub steps: usize,
    /// Images learned in it.
    pub images: usize,
    /// Images of it.
    pub images_in_all: usize,
    /// The mean loss so far; NaN before the first look.
    pub loss: f64,
}

/// How an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It is done.
    Finished(EpochMetrics),
    /// It was interrupted after a step; [`Trainer::state`] goes on from there.
    Interrupted,
}

impl<D: Device<f32>> Trainer<D> {
    /// A new training of the ASL network.
    ///
    /// # Errors
    /// [`Error::Argument`] for a setting outside its range, and when the device fails.
    pub fn new(device: &D, config: Config, split: &Split) -> Result<Self> {
        config.check()?;
        let classes = split.train.classes.len();
        let model = Sequential::new(device, config.seed, asl(classes))?;
        let train = DataLoader::new(device, &split.train, config.batch_size, Some(config.seed))?;
        let valid = DataLoader::new(device, &split.valid, config.batch_size, None)?;
        Ok(Self {
            optimizer: config.optimizer(model.arena())?,
            losses: Tensor::zeros(device, [train.batches()])?,
            correct: Tensor::zeros(device, [train.batches()])?,
            config,
            model,
            train,
            valid,
            classes,
            history: Vec::new(),
            best_model: None,
            partial: Partial::default(),
        })
    }

    /// Goes on from a state, bit for bit as if there had been no interruption.
    ///
    /// # Errors
    /// When it is the state of another model or optimizer.
    pub fn restore(&mut self, state: &State) -> Result<()> {
        self.model.load_state_dict(&state.model)?;
        self.optimizer.load_state(&state.optimizer)?;
        self.history.clone_from(&state.history);
        self.best_model.clone_from(&state.best_model);
        self.partial = state.partial.clone();
        Ok(())
    }

    /// Everything that [`Trainer::restore`] needs.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self) -> Result<State> {
        Ok(State {
            model: self.model.state_dict()?,
            optimizer: self.optimizer.state()?,
            history: self.history.clone(),
            best_model: self.best_model.clone(),
            partial: self.partial.clone(),
        })
    }

    /// The model.
    pub fn model(&self) -> &Sequential<D, f32> {
        &self.model
    }

    /// What the epochs so far achieved.
    pub fn history(&self) -> &[EpochMetrics] {
        &self.history
    }

    /// The epoch with the best validation accuracy, the first of several.
    pub fn best(&self) -> Option<&EpochMetrics> {
        best(&self.history)
    }

    /// The next epoch, counted from 0; [`Config::epochs`] when all are done.
    pub fn epoch(&self) -> u64 {
        self.history.len() as u64
    }

    /// Trains to the end of the current epoch and validates. `watch` sees the progress after each
    /// step and returns whether to go on.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a loss is no number; [`Error::Device`] when the device fails.
    pub fn run_epoch(&mut self, mut watch: impl FnMut(Progress) -> bool) -> Result<Outcome> {
        let epoch = self.epoch();
        let lr = self.config.schedule().lr(self.config.lr, epoch);
        self.optimizer.set_lr(lr);
        self.model.train();
        let steps = self.train.batches();
        let done_before = self.partial.seconds;
        let start = Instant::now();
        let first = self.partial.losses.len();
        for (batch, step) in self.train.epoch(epoch, first)?.zip(first..) {
            let (images, targets) = batch?;
            self.step(epoch * steps as u64 + step as u64, step, &images, &targets)?;
            let done = step + 1;
            let look = done.is_multiple_of(STEPS_PER_LOOK) || done == steps;
            if look {
                self.look(done)?;
            }
            let known = &self.partial.losses;
            let progress = Progress {
                epoch,
                step: done,
                steps,
                images: (done * self.config.batch_size).min(self.train.rows()),
                images_in_all: self.train.rows(),
                loss: known.iter().map(|&loss| f64::from(loss)).sum::<f64>() / known.len() as f64,
            };
            if !watch(progress) && done < steps {
                self.look(done)?;
                self.partial.seconds = done_before + start.elapsed().as_secs_f64();
                return Ok(Outcome::Interrupted);
            }
        }
        let train_seconds = done_before + start.elapsed().as_secs_f64();

        let start = Instant::now();
        let valid = evaluate(&self.model, &self.valid, self.classes)?.measured;
        let valid_seconds = start.elapsed().as_secs_f64();
        let Partial { losses, correct, .. } = std::mem::take(&mut self.partial);
        let rows = self.train.rows() as f64;
        let train = Measured {
            loss: losses.iter().map(|&loss| f64::from(loss)).sum(),
            accuracy: correct as f64 / rows,
        };
        let metrics = EpochMetrics {
            epoch,
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            valid_loss: valid.loss,
            valid_accuracy: valid.accuracy,
            train_seconds,
            valid_seconds,
            images_per_second: rows / train_seconds,
            lr,
        };
        if self.best().is_none_or(|best| valid.accuracy > best.valid_accuracy) {
            self.best_model = Some(self.model.state_dict()?);
        }
        self.history.push(metrics);
        Ok(Outcome::Finished(metrics))
    }

    /// One step of the notebook's loop; `global` numbers it in the run, `step` in its epoch.
    fn step(
        &mut self,
        global: u64,
        step: usize,
        images: &Tensor<D, f32>,
        targets: &Tensor<D, i32>,
    ) -> Result<()> {
        self.model.context().set_step(global)?;
        let tape = Tape::new();
        let images = tape.input(images);
        let (loss, correct) = self.model.cross_entropy(&images, targets, &Default::default())?;
        self.optimizer.zero_grad();
        loss.backward()?;
        self.optimizer.step()?;
        self.losses.rows(step, 1).copy_from(&loss)?;
        self.correct.rows(step, 1).copy_from(&correct)
    }

    /// Fetches the losses and hits of the steps since the last look.
    fn look(&mut self, done: usize) -> Result<()> {
        let seen = self.partial.losses.len();
        let losses = self.losses.rows(seen, done - seen).to_vec()?;
        let correct = self.correct.rows(seen, done - seen).to_vec()?;
        if let Some(i) = losses.iter().position(|loss| !loss.is_finite()) {
            return Err(Error::NonFinite(format!(
                "the loss is {} at step {} of epoch {}; try a smaller --lr",
                losses[i],
                seen + i,
                self.epoch()
            )));
        }
        self.partial.losses.extend(losses);
        self.partial.correct += correct.iter().map(|&hits| hits as u64).sum::<u64>();
        Ok(())
    }
}

/// The epoch with the best validation accuracy, the first of several.
pub(super) fn best(history: &[EpochMetrics]) -> Option<&EpochMetrics> {
    history.iter().reduce(
        |best, next| {
            if next.valid_accuracy > best.valid_accuracy { next } else { best }
        },
    )
}
