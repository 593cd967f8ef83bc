//! `signet train`: the course notebook's training, from start or from where it stopped.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bar::{self, EpochBar};
use super::device::profile_table;
use super::explain::explain;
use super::report::after_training;
use super::terminal::stdout_is_terminal;
use super::{AugmentArgs, DataArgs, DeviceArgs, note, print};
use crate::data::{Split, synthetic};
use crate::device::{AnyDevice, Chosen, Device, OnDevice};
use crate::nn::Sequential;
use crate::report::kernels::write as save_profile;
use crate::train::{
    Config, EpochMetrics, OptimizerKind, Outcome, Recipe, Record, Resumed, RunFolder, ScheduleKind,
    State, Trainer, largest_batch,
};
use crate::{Error, Result};

/// The exit code of a program that a signal stopped, as shells give it for Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// Train the network of the course notebook
///
/// Prints, per epoch, the sum of the batches' mean losses and the accuracy. The models, the
/// metrics and all that is needed to go on are written to a folder of the run's own.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    device: DeviceArgs,

    /// Passes over the training images [default: 20]
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,

    /// Settings by name, of which the flags below change single ones
    #[arg(long, value_enum, default_value = "notebook", conflicts_with = "resume")]
    recipe: Recipe,

    /// Images of a step [default: 32]
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    batch_size: Option<usize>,

    /// Learning rate [default: 0.001]
    #[arg(long, value_name = "X", allow_negative_numbers = true, conflicts_with = "resume")]
    lr: Option<f64>,

    /// Optimizer [default: adam]
    #[arg(long, value_enum, conflicts_with = "resume")]
    optimizer: Option<OptimizerKind>,

    /// Weight decay [default: the optimizer's; 0.01 for adamw, else 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, conflicts_with = "resume")]
    weight_decay: Option<f64>,

    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "X", allow_negative_numbers = true, conflicts_with = "resume")]
    momentum: Option<f64>,

    /// How the learning rate changes [default: constant; cosine for `--recipe best`]
    #[arg(long, value_enum, conflicts_with = "resume")]
    schedule: Option<ScheduleKind>,

    /// Epochs between two changes of `--schedule step` [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    step_size: Option<u64>,

    /// Factor of a change of `--schedule step` [default: 0.1]
    #[arg(long, value_name = "X", allow_negative_numbers = true, conflicts_with = "resume")]
    gamma: Option<f64>,

    /// Epochs until the full rate of `--schedule cosine` [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    warmup: Option<u64>,

    /// Where the run's folder goes
    #[arg(long, value_name = "DIR", default_value = "runs", conflicts_with = "resume")]
    out: PathBuf,

    /// Name of the run's folder [default: the first free of asl-1, asl-2, …]
    #[arg(long, conflicts_with = "resume")]
    name: Option<String>,

    /// Go on with the run in this folder, with the same bits as if it had not stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["seed", "AugmentArgs"])]
    resume: Option<PathBuf>,

    /// Print results only: no summary, no progress
    #[arg(long, short)]
    quiet: bool,

    /// Print one JSON object an epoch, or of a plan (--explain)
    #[arg(long)]
    json: bool,

    /// Print the time of each kernel at the end, which takes launching them one by one
    #[arg(long)]
    profile: bool,

    /// Launch each kernel by itself instead of a whole step as one CUDA graph; same results
    #[arg(long)]
    no_graph: bool,

    /// Compute each layer by itself instead of several by one op; same results to rounding
    #[arg(long)]
    no_fuse: bool,

    /// Look at each layer's output, each gradient and each parameter in every step, and stop at the
    /// first that is no finite number; slow. Without it, an epoch that ends so is repeated with it
    #[arg(long)]
    detect_anomaly: bool,

    /// Print the kernels of one training step, with their cost and estimated time, and do not train
    #[arg(long, conflicts_with_all = ["resume", "profile"])]
    explain: bool,

    #[command(flatten)]
    augment: AugmentArgs,
}

impl Args {
    /// Trains.
    ///
    /// # Errors
    /// For wrong settings, unusable data, an unwritable folder, and a loss that is no number.
    pub fn run(self) -> Result<ExitCode> {
        if self.explain {
            let config = self.config()?;
            let chosen = self.device.choose()?;
            note(format_args!("device: {chosen}"));
            print(explain(&chosen.device, &config, !self.no_fuse, self.json)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let job = match &self.resume {
            Some(folder) => self.resumed(folder)?,
            None => self.new_run()?,
        };
        let Prepared { chosen, split, record, run, state } = job;
        let is_new = self.resume.is_none();
        if !self.quiet {
            note(format_args!("device: {chosen}"));
            note(format_args!("precision: {}", record.precisions));
            note(format_args!("data: {}", record.data_source));
        }
        let device = chosen.device;
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        // A second Ctrl-C does not wait for the step under way.
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                bar::leave();
                std::process::exit(i32::from(INTERRUPTED));
            }
        })
        .map_err(|e| Error::argument("signal handler", e.to_string()))?;
        if self.profile {
            device.start_profile();
        }
        let prepared = match &device {
            AnyDevice::Cuda(cuda) => {
                cuda.set_specialise(true);
                cuda.rehearse(|| {
                    // Which kernels are needed depends on the images' size alone.
                    let batch = synthetic(record.config.seed, record.config.batch_size, 1);
                    let trainer = Trainer::new(cuda, record.config.clone(), &batch)?;
                    trainer.model().fuse(!self.no_fuse);
                    trainer.rehearse()
                })
            }
            AnyDevice::Cpu(_) => Ok(()),
        };
        let work = Job {
            record: &record,
            split: &split,
            run: &run,
            state,
            interrupted: &interrupted,
            quiet: self.quiet,
            json: self.json,
            graphs: !self.no_graph,
            fuse: !self.no_fuse,
            detect_anomaly: self.detect_anomaly,
        };
        let result = prepared
            .and_then(|()| device.run(work))
            .map_err(|error| self.with_batch_that_fits(error, &device, &record.config, &split));
        match result {
            Ok(code) => {
                if self.profile {
                    let times = device.profile()?;
                    note(format_args!("{}", profile_table(&times)));
                    if let Err(error) = save_profile(&run, &times) {
                        note(format_args!("notice: the times are not kept: {error}"));
                    }
                }
                after_training(&run, &device, &split, self.quiet);
                Ok(code)
            }
            Err(error) => {
                if run.has_state() {
                    let folder = run.path().display();
                    note(format_args!(
                        "what was saved last is in {folder}; go on with: signet train --resume {folder}"
                    ));
                } else if is_new {
                    run.discard();
                }
                Err(error)
            }
        }
    }

    /// Where a GPU has too little memory, also says how large a batch may be.
    fn with_batch_that_fits(
        &self,
        error: Error,
        device: &AnyDevice,
        config: &Config,
        split: &Split,
    ) -> Error {
        let is_out_of_memory = error.is_out_of_memory();
        match (device, error) {
            (AnyDevice::Cuda(cuda), Error::Device { device, message }) if is_out_of_memory => {
                let found = largest_batch(cuda, config, split, !self.no_fuse, !self.no_graph);
                let found = found.map_or_else(
                    || "not even --batch-size 1 fits: use another GPU, or --device cpu".into(),
                    |size| format!("the largest that fits is --batch-size {size}"),
                );
                Error::Device { device, message: format!("{message}; {found}") }
            }
            (_, error) => error,
        }
    }

    /// The settings of a new run.
    fn config(&self) -> Result<Config> {
        let base = self.recipe.config();
        let config = Config {
            epochs: self.epochs.unwrap_or(base.epochs),
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            lr: self.lr.unwrap_or(base.lr),
            optimizer: self.optimizer.unwrap_or(base.optimizer),
            weight_decay: self.weight_decay.or(base.weight_decay),
            momentum: self.momentum.unwrap_or(base.momentum),
            schedule: self.schedule.unwrap_or(base.schedule),
            step_size: self.step_size.unwrap_or(base.step_size),
            gamma: self.gamma.unwrap_or(base.gamma),
            warmup: self.warmup.unwrap_or(base.warmup),
            seed: self.data.seed,
            augment: self.augment.options(base.augment)?,
        };
        config.check()?;
        Ok(config)
    }

    fn new_run(&self) -> Result<Prepared> {
        let config = self.config()?;
        let chosen = self.device.choose()?;
        let split = self.data.load()?;
        let record = Record {
            config,
            data: self.data.data.to_string(),
            data_source: split.source.to_string(),
            synthetic: split.source.is_synthetic(),
            data_sha256: split.digest(),
            classes: split.train.classes.clone(),
            whole_images: split.source.is_whole_images(),
            device: chosen.device.describe(),
            precisions: chosen.device.precisions(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let run = RunFolder::create(&self.out, self.name.as_deref())?;
        run.write_record(&record)?;
        Ok(Prepared { chosen, split, record, run, state: None })
    }

    fn resumed(&self, folder: &Path) -> Result<Prepared> {
        let (run, Resumed { mut record, state, notice }) = RunFolder::resume(folder)?;
        if let Some(notice) = notice {
            note(format_args!("note: {notice}"));
        }
        let chosen = self.device.choose()?;
        let mut data = self.data.clone();
        data.seed = record.config.seed;
        if data.data == Default::default() {
            data.data = std::ffi::OsString::from(&record.data).into();
        }
        let split = data.load()?;
        record.check_data(&split, &folder.display().to_string())?;
        if let Some(epochs) = self.epochs {
            grow(&mut record, epochs, state.as_ref().map_or(0, State::epochs))?;
        }
        if self.device.precision.is_none() {
            // Where the device has the run's precision, the bits stay the same; else it has its own.
            let _ = chosen.device.set_precisions(record.precisions);
        }
        record.device = chosen.device.describe();
        record.precisions = chosen.device.precisions();
        run.write_record(&record)?;
        Ok(Prepared { chosen, split, record, run, state })
    }
}

/// Sets another number of epochs for a run of which `done` are done.
fn grow(record: &mut Record, epochs: u64, done: u64) -> Result<()> {
    let config = &mut record.config;
    if epochs < done {
        let message = format!("{done} epochs are done already, got {epochs}");
        return Err(Error::argument("--epochs", message));
    }
    if config.schedule == ScheduleKind::Cosine && epochs != config.epochs {
        let message = format!(
            "the cosine schedule of this run ends after {} epochs; another number would have \
             been another run from the start",
            config.epochs
        );
        return Err(Error::argument("--epochs", message));
    }
    config.epochs = epochs;
    Ok(())
}

/// A run that can begin.
struct Prepared {
    chosen: Chosen,
    split: Split,
    record: Record,
    run: RunFolder,
    state: Option<State>,
}

/// The part of a run that happens on the device.
struct Job<'a> {
    record: &'a Record,
    split: &'a Split,
    run: &'a RunFolder,
    state: Option<State>,
    interrupted: &'a AtomicBool,
    quiet: bool,
    json: bool,
    graphs: bool,
    fuse: bool,
    detect_anomaly: bool,
}

impl OnDevice for Job<'_> {
    type Result = ExitCode;

    fn run<D: Device<f32>>(self, device: &D) -> Result<ExitCode> {
        let mut trainer = self.trainer(device, self.state.as_ref())?;
        if self.detect_anomaly {
            trainer.detect_anomaly();
        }
        if !self.quiet && !self.json {
            summary(trainer.model(), self.record.config.batch_size, self.split)?;
        }
        if let Some(state) = &self.state {
            if !self.quiet {
                note(format_args!("going on in epoch {}", trainer.epoch()));
            }
            // The files may be those of another moment, and the record has changed.
            self.run.save(state, self.record)?;
        }
        let lines = !self.json && stdout_is_terminal();
        if lines && trainer.epoch() < self.record.config.epochs {
            print(bar::heading())?;
        }
        while trainer.epoch() < self.record.config.epochs {
            let outcome = match self.epoch(&mut trainer) {
                Err(Error::NonFinite(loss)) => return Err(self.located(device, loss)),
                outcome => outcome?,
            };
            self.run.save(&trainer.state()?, self.record)?;
            match outcome {
                Outcome::Finished(metrics) if lines => {
                    let best = trainer.best().is_some_and(|best| best.epoch == metrics.epoch);
                    print(bar::epoch_line(&metrics, best))?;
                }
                Outcome::Finished(metrics) => self.report(&metrics)?,
                Outcome::Interrupted => return self.stopped(),
            }
            if self.interrupted.load(Ordering::Relaxed)
                && trainer.epoch() < self.record.config.epochs
            {
                return self.stopped();
            }
        }
        self.done(trainer.history(), trainer.best())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Job<'_> {
    fn trainer<D: Device<f32>>(&self, device: &D, state: Option<&State>) -> Result<Trainer<D>> {
        let mut trainer = Trainer::new(device, self.record.config.clone(), self.split)?;
        trainer.use_graphs(self.graphs);
        trainer.on_notice(|line| note(format_args!("{line}")));
        trainer.model().fuse(self.fuse);
        if let Some(state) = state {
            trainer.restore(state)?;
        }
        Ok(trainer)
    }

    /// Trains an epoch with a bar beside it.
    fn epoch<D: Device<f32>>(&self, trainer: &mut Trainer<D>) -> Result<Outcome> {
        let bar = EpochBar::new(self.quiet, self.record.config.epochs);
        let outcome = trainer.run_epoch(|progress| {
            bar.show(&progress);
            !self.interrupted.load(Ordering::Relaxed)
        });
        bar.clear();
        outcome
    }

    /// The error of a training that ran into `what`, with the layer where that began. Looking at
    /// every layer in every step would slow down all trainings; but a training that is repeated
    /// from its last state has the same bits, so it is enough to look then.
    fn located<D: Device<f32>>(&self, device: &D, what: String) -> Error {
        const HELP: &str = "try a smaller --lr";
        if self.detect_anomaly {
            return Error::NonFinite(format!("{what}; {HELP}"));
        }
        note(format_args!("{what}; looking for the layer where that began"));
        let again = || {
            let state = self.run.state().ok();
            let mut trainer = self.trainer(device, state.as_ref().or(self.state.as_ref()))?;
            trainer.detect_anomaly();
            self.epoch(&mut trainer)
        };
        match again() {
            Err(Error::NonFinite(first)) => Error::NonFinite(format!("{first}; {HELP}")),
            // The search is not what was asked for: what it runs into is not the answer.
            _ => Error::NonFinite(format!("{what}; {HELP}")),
        }
    }

    fn report(&self, metrics: &EpochMetrics) -> Result<()> {
        if self.json {
            let json = serde_json::to_string(metrics)
                .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))?;
            return print(json);
        }
        print(metrics)?;
        if !self.quiet {
            note(format_args!(
                "  {:.0} images/s, {:.1} s training, {:.1} s validation",
                metrics.images_per_second, metrics.train_seconds, metrics.valid_seconds
            ));
        }
        Ok(())
    }

    fn stopped(&self) -> Result<ExitCode> {
        let folder = self.run.path().display();
        note(format_args!("stopped; go on with: signet train --resume {folder}"));
        Ok(ExitCode::from(INTERRUPTED))
    }

    fn done(&self, history: &[EpochMetrics], best: Option<&EpochMetrics>) -> Result<()> {
        let (Some(last), Some(best), false) = (history.last(), best, self.json) else {
            return Ok(());
        };
        let drawn = if self.split.source.is_synthetic() {
            " (on synthetic hands: not the accuracy on photographs)"
        } else {
            ""
        };
        print(format_args!(
            "Best validation accuracy {:.4} in epoch {}, last {:.4}{drawn}\nWritten to {}",
            best.valid_accuracy,
            best.epoch,
            last.valid_accuracy,
            self.run.path().display()
        ))
    }
}

fn summary<D: Device<f32>>(
    model: &Sequential<D, f32>,
    batch_size: usize,
    split: &Split,
) -> Result<()> {
    let images = &split.train;
    let shape = [batch_size, images.channels, images.height, images.width];
    print(model.summary(shape)?)
}
