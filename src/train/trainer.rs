use super::evaluate::Validation;
use super::repeated::{Graphs, Repeated};
use super::{Config, EpochMetrics, Measured, TrainState};
use crate::data::{DataLoader, Split};
use crate::device::{AnyPending, Backend, Device, Pending};
use crate::nn::{Module, Place, Sequential, asl};
use crate::ops::augment::augment;
use crate::ops::end_step::end_step;
use crate::optim::Optimizer;
use crate::{Error, Result, Shape, Tensor};
use std::time::Instant;

/// Steps whose losses are fetched together: few enough for a live display and for stopping soon at
/// a loss that is no number.
const STEPS_PER_LOOK: usize = 32;

/// Steps whose losses may be unknown. The host gives a step to a GPU in a fraction of the time that
/// the GPU needs: without a bound it would have given all of an epoch before the first loss is there,
/// and nothing could be shown or stopped any more.
const MOST_UNSEEN: usize = 2 * STEPS_PER_LOOK;

/// The training of the ASL network on a device: model, optimizer, data, and how far it is.
///
/// All that a step works on lies on the device, also what changes from step to step: the epoch's
/// order, the number of the batch in it, the number of the step, which picks dropout's masks, and
/// the learning rate. So the device can run a whole step as one graph, and the host waits for
/// nothing before the end of an epoch.
pub struct Trainer {
    config: Config,
    model: Sequential,
    optimizer: Box<dyn Optimizer + Send>,
    train: DataLoader,
    validation: Validation<f32>,
    history: Vec<EpochMetrics>,
    best_model: Option<crate::nn::StateDict>,
    /// The part of the current epoch that is done, as far as its losses are known.
    partial: Partial,
    buffers: Buffers,
    /// Losses on their way.
    pending: Option<AnyPending<f32>>,
    /// A step of a whole batch.
    whole: Repeated,
    /// A step of a last batch that is smaller.
    last: Repeated,
    graphs: Graphs,
}

/// What steps share on the device. Its addresses stay, as graphs know them.
struct Buffers {
    /// The epoch's order of the images, `[N]`.
    order: Tensor<u32>,
    /// The number of the step in the run and that of its batch in the epoch, `[2]`.
    clock: Tensor<u64>,
    /// Each step's loss and hits, `[steps of an epoch * 2]`.
    losses: Tensor,
    /// The gradient of a loss by itself, a scalar.
    one: Tensor,
}

/// The part of an epoch that is done.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Partial {
    pub losses: Vec<f32>,
    pub correct: u64,
    pub seconds: f64,
}

impl Partial {
    fn total_loss(&self) -> f64 {
        self.losses.iter().map(|&loss| f64::from(loss)).sum()
    }
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
    /// Images of these steps.
    pub images: usize,
    /// Images of the steps whose losses are known: a device may have begun more than it has done.
    pub known: usize,
    /// Images of it.
    pub images_in_all: usize,
    /// The mean of the losses that are known so far, NaN before any is: they come up to 64 steps late.
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

impl Trainer {
    /// A new training of the ASL network.
    ///
    /// # Errors
    /// [`Error::Argument`] for a setting outside its range, and when the device fails.
    pub fn new(device: &Device, config: Config, split: &Split) -> Result<Self> {
        config.check()?;
        let classes = split.train.classes.len();
        let model = Sequential::new(device, config.seed, asl(classes))?;
        let train = DataLoader::new(device, &split.train, config.batch_size, Some(config.seed))?;
        let valid = DataLoader::new(device, &split.valid, config.batch_size, None)?;
        let losses = Tensor::zeros(device, [2 * train.batches()])?;
        // Makes room on the host, so that no step has to.
        device.read_later(losses.read().view())?.wait()?;
        Ok(Self {
            optimizer: config.optimizer(model.arena())?,
            buffers: Buffers {
                order: Tensor::zeros(device, [train.rows()])?,
                clock: Tensor::zeros(device, [2])?,
                losses,
                one: Tensor::from_slice(device, &[1.0], Shape::default())?,
            },
            config,
            model,
            train,
            validation: Validation::new(device, valid, classes)?,
            history: Vec::new(),
            best_model: None,
            partial: Partial::default(),
            pending: None,
            whole: Repeated::New,
            last: Repeated::New,
            graphs: Graphs { enabled: true, ..Graphs::default() },
        })
    }

    /// Whether steps and validations are captured as graphs, as they are from the start on a device
    /// that has such: the results are the same to the last bit, and without graphs it takes longer.
    /// To be called before the first step.
    pub fn use_graphs(&mut self, enabled: bool) {
        self.graphs.enabled = enabled;
    }

    /// Has `notice` called, with a line for the user, should work not be captured for a reason that
    /// is no error: it then goes on without graphs.
    pub fn on_notice(&mut self, notice: impl Fn(&str) + Send + 'static) {
        self.graphs.notice = Some(Box::new(notice));
    }

    /// Has `watch` called with the images that a validation has gone through and how many it has. A
    /// device that runs a validation as one graph says nothing in between.
    pub fn on_validation(&mut self, watch: impl FnMut(usize, usize) + Send + 'static) {
        self.validation.watch = Some(Box::new(watch));
    }

    /// Looks at every layer's output and gradient and at every parameter in each step, so that
    /// [`Error::NonFinite`] names the first that ceases to be a finite number (see
    /// [`Sequential::detect_anomaly`]): several times slower, with the same results.
    pub fn detect_anomaly(&mut self) {
        self.model.detect_anomaly(true);
        self.graphs.enabled = false;
    }

    /// Goes on from a state, bit for bit as if there had been no interruption.
    ///
    /// # Errors
    /// When it is the state of another model or optimizer.
    pub fn restore(&mut self, state: &TrainState) -> Result<()> {
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
    pub fn state(&self) -> Result<TrainState> {
        Ok(TrainState {
            model: self.model.state_dict()?,
            optimizer: self.optimizer.state()?,
            history: self.history.clone(),
            best_model: self.best_model.clone(),
            partial: self.partial.clone(),
        })
    }

    /// The model.
    pub fn model(&self) -> &Sequential {
        &self.model
    }

    /// What the epochs so far achieved.
    pub fn history(&self) -> &[EpochMetrics] {
        &self.history
    }

    /// The best epoch, see [`EpochMetrics::best`].
    pub fn best(&self) -> Option<&EpochMetrics> {
        EpochMetrics::best(&self.history)
    }

    /// How many steps of the current epoch are done, and how many it has.
    pub fn steps(&self) -> (usize, usize) {
        (self.partial.losses.len(), self.train.batches())
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
        self.optimizer.set_lr(lr)?;
        self.model.train();
        let steps = self.train.batches();
        let done_before = self.partial.seconds;
        let start = Instant::now();
        let first = self.partial.losses.len();
        self.pending = None;
        let first_of_epoch = epoch * steps as u64;
        self.buffers.order.set(&self.train.order(epoch))?;
        self.buffers.clock.set(&[first_of_epoch + first as u64, first as u64])?;
        let mut total_loss = self.partial.total_loss();
        for step in first..steps {
            self.step(first_of_epoch + step as u64, self.train.rows_of(step))
                .map_err(|error| at(error, format_args!("step {step} of epoch {epoch}")))?;
            let done = step + 1;
            total_loss += self.poll_losses(done, done == steps)?;
            let progress = Progress {
                epoch,
                step: done,
                steps,
                images: (done * self.config.batch_size).min(self.train.rows()),
                known: (self.partial.losses.len() * self.config.batch_size).min(self.train.rows()),
                images_in_all: self.train.rows(),
                loss: total_loss / self.partial.losses.len() as f64,
            };
            if !watch(progress) && done < steps {
                self.poll_losses(done, true)?;
                self.partial.seconds = done_before + start.elapsed().as_secs_f64();
                return Ok(Outcome::Interrupted);
            }
        }
        let train_seconds = done_before + start.elapsed().as_secs_f64();

        let start = Instant::now();
        let after = format_args!("the validation of epoch {epoch}");
        let valid = self.validation.run(&self.model, self.model.context(), &mut self.graphs);
        let valid = valid.map_err(|error| at(error, after))?.measured;
        if !valid.loss.is_finite() {
            return Err(at(Error::NonFinite(format!("the loss is {}", valid.loss)), after));
        }
        let valid_seconds = start.elapsed().as_secs_f64();
        let partial = std::mem::take(&mut self.partial);
        let rows = self.train.rows() as f64;
        let train =
            Measured { loss: partial.total_loss(), accuracy: partial.correct as f64 / rows };
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
        if self.best().is_none_or(|best| metrics.beats(best)) {
            self.best_model = Some(self.model.state_dict()?);
        }
        self.history.push(metrics);
        Ok(Outcome::Finished(metrics))
    }

    /// Runs a step and a validation without a look at what they give: all that a run needs of a device
    /// has then been asked of it once.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub(super) fn rehearse(mut self) -> Result<()> {
        self.model.train();
        self.step(0, self.train.rows_of(0))?;
        self.model.eval();
        self.validation.pass(&self.model, &mut self.graphs)
    }

    /// Does what takes memory in a run, twice as a run does: first as it is, then captured.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails, as one without memory does.
    pub(super) fn take_memory(mut self) -> Result<()> {
        let last = self.train.batches() - 1;
        for _ in 0..2 {
            self.model.train();
            for step in [0, last] {
                // A step advances it, and here the next one is not the next of an epoch.
                self.buffers.clock.set(&[0, step as u64])?;
                self.step(step as u64, self.train.rows_of(step))?;
            }
            self.model.eval();
            self.validation.pass(&self.model, &mut self.graphs)?;
        }
        self.model.arena().device().synchronize()
    }

    /// One step of the notebook's loop, number `step` of the run, on a batch of `rows` images.
    fn step(&mut self, step: u64, rows: usize) -> Result<()> {
        let Buffers { order, clock, losses, one } = &self.buffers;
        let (config, model, train) = (&self.config, &self.model, &self.train);
        let optimizer = &mut self.optimizer;
        let is_whole = rows == train.batch_size();
        let repeated = if is_whole { &mut self.whole } else { &mut self.last };
        repeated.run(model.arena().device(), model, &mut self.graphs, || {
            // Should a capture fail, the step begins once more.
            model.context().follow(step, clock.rows(0, 1));
            let (mut images, targets) = train.gather_batch(order, &clock.rows(1, 1), rows)?;
            if let Some(options) = &config.augment {
                images = augment(&images, options, config.seed, &clock.rows(0, 1))?;
            }
            let (loss, correct) = model.cross_entropy(&images, &targets, &Default::default())?;
            model.enter(Place::Outside);
            optimizer.zero_grad();
            loss.backward_with(one)?;
            model.enter(Place::Outside);
            if model.detects_anomaly() {
                model.check_gradients()?;
            }
            optimizer.step()?;
            if model.detects_anomaly() {
                model.check_values()?;
            }
            end_step(&loss, &correct, losses, clock)
        })
    }

    /// Takes in the losses and hits that have arrived of the `done` steps, and sends for more; it waits
    /// for some where [`MOST_UNSEEN`] have not, and with `wait` for those of all steps. The sum of the
    /// losses that are known now and were not before.
    fn poll_losses(&mut self, done: usize, wait: bool) -> Result<f64> {
        let mut total = 0.0;
        loop {
            if let Some(pending) = self.pending.take() {
                let is_far_ahead = done - self.partial.losses.len() >= MOST_UNSEEN;
                if !wait && !is_far_ahead && !pending.is_ready()? {
                    self.pending = Some(pending);
                    return Ok(total);
                }
                total += self.take_losses(&pending.wait()?)?;
            }
            let seen = self.partial.losses.len();
            let unseen = done - seen;
            if unseen < if wait { 1 } else { STEPS_PER_LOOK } {
                return Ok(total);
            }
            let losses = self.buffers.losses.rows(2 * seen, 2 * unseen);
            self.pending = Some(losses.device().read_later(losses.read().view())?);
        }
    }

    /// Takes in the losses and hits of the next steps, `[steps * 2]`; the sum of the losses.
    fn take_losses(&mut self, losses: &[f32]) -> Result<f64> {
        let seen = self.partial.losses.len();
        let steps = losses.chunks_exact(2);
        if let Some(i) = steps.clone().position(|step| !step[0].is_finite()) {
            let error = Error::NonFinite(format!("the loss is {}", losses[2 * i]));
            return Err(at(error, format_args!("step {} of epoch {}", seen + i, self.epoch())));
        }
        self.partial.losses.extend(steps.clone().map(|step| step[0]));
        self.partial.correct += steps.clone().map(|step| step[1] as u64).sum::<u64>();
        Ok(steps.map(|step| f64::from(step[0])).sum())
    }
}

/// `error` with where in the training a number ceased to be finite.
fn at(error: Error, place: std::fmt::Arguments<'_>) -> Error {
    match error {
        Error::NonFinite(what) => Error::NonFinite(format!("{what} at {place}")),
        other => other,
    }
}
