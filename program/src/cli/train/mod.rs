//! `signet train`: the course notebook's training, from start or from where it stopped.

mod settings;
mod training;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bar;
use super::choices::{choice, name};
use super::device::profile_table;
use super::explain::explain;
use super::numbers::{number, whole};
use super::report::after_training;
use super::signals::on_signals;
use super::terminal::notes_width;
use super::{AugmentArgs, DataArgs, DeviceArgs, note, print};
use crate::data::Request;
use crate::recipes::Recipe;
use crate::report::kernels::write as save_profile;
use crate::report::remark::remark_on_no_number;
use crate::runs::{Record, Resumed, RunFolder};
use crate::words::{self, counted};
use settings::{images, settings};
use signet::data::{Split, are_letters};
use signet::device::Chosen;
use signet::train::{
    Config, OptimizerKind, ScheduleKind, TrainState, prepare, with_batch_that_fits,
};
use signet::{Device, Error, Result};
use training::Training;

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
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    epochs: Option<u64>,

    /// Settings by name, of which the flags below change single ones
    #[arg(long, value_enum, default_value = "notebook", conflicts_with = "resume")]
    recipe: Recipe,

    /// Images of a step [default: 32]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true, conflicts_with = "resume")]
    batch_size: Option<usize>,

    /// Learning rate [default: 0.001; 0.002 for `--recipe best`]
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true, conflicts_with = "resume")]
    lr: Option<f64>,

    /// Optimizer [default: adam]
    #[arg(long, value_parser = choice::<OptimizerKind>(), conflicts_with = "resume")]
    optimizer: Option<OptimizerKind>,

    /// Weight decay [default: the optimizer's; 0.01 for adamw, else 0]
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true, conflicts_with = "resume")]
    weight_decay: Option<f64>,

    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true, conflicts_with = "resume")]
    momentum: Option<f64>,

    /// How the learning rate changes [default: constant; cosine for `--recipe best`]
    #[arg(long, value_parser = choice::<ScheduleKind>(), conflicts_with = "resume")]
    schedule: Option<ScheduleKind>,

    /// Epochs between two changes of `--schedule step` [default: 10]
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true, conflicts_with = "resume")]
    step_size: Option<u64>,

    /// Factor of a change of `--schedule step` [default: 0.1]
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true, conflicts_with = "resume")]
    gamma: Option<f64>,

    /// Epochs until the full rate of `--schedule cosine` [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true, conflicts_with = "resume")]
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

    /// Draw the curves of loss and accuracy at the end, in the terminal
    #[arg(long, conflicts_with = "json")]
    plot: bool,

    /// Do not write report.html at the end, which takes an evaluation
    #[arg(long)]
    no_report: bool,

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
            self.say_what_has_no_effect(&config);
            let chosen = self.device.choose()?;
            note(format_args!("device: {chosen}"));
            print(explain(&chosen.device, &config, !self.no_fuse, self.json)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let prepared = match &self.resume {
            Some(folder) => self.resumed(folder)?,
            None => self.new_run()?,
        };
        let Prepared { chosen, split, record, run, state } = prepared;
        let is_new = self.resume.is_none();
        if !self.quiet {
            let Record { config, precisions, data_source, recipe, .. } = &record;
            note(format_args!("device: {chosen}\nprecision: {precisions}\ndata: {data_source}"));
            note(format_args!("{}", images(&split)));
            note(format_args!("{}", settings(config, recipe.as_deref())));
            note(format_args!("run: {}", words::path(run.path())));
        }
        let device = chosen.device;
        if self.no_graph && matches!(device, Device::Cpu(_)) {
            note(format_args!("notice: --no-graph has no effect on the CPU, which has no graphs"));
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        // A second Ctrl-C does not wait for the step under way.
        on_signals(move || flag.store(true, Ordering::Relaxed), bar::leave)?;
        if self.profile {
            device.start_profile();
        }
        let training = Training {
            record: &record,
            split: &split,
            run: &run,
            state,
            interrupted: &interrupted,
            quiet: self.quiet,
            json: self.json,
            plot: self.plot,
            graphs: !self.no_graph,
            fuse: !self.no_fuse,
            detect_anomaly: self.detect_anomaly,
        };
        let fuse = !self.no_fuse;
        let result = prepare(&device, &record.config, fuse)
            .and_then(|()| device.install(|| training.run(&device)))
            .map_err(|error| {
                let graphs = !self.no_graph;
                with_batch_that_fits(error, &device, &record.config, &split, fuse, graphs)
            });
        match result {
            Ok(code) => {
                if self.profile {
                    let times = device.profile()?;
                    note(format_args!("{}", profile_table(&times, &device, notes_width())));
                    if let Err(error) = save_profile(&run, &times) {
                        note(format_args!("notice: the times are not kept: {error}"));
                    }
                }
                if !self.no_report {
                    after_training(&run, &device, &split, self.quiet);
                }
                if !self.quiet && code == ExitCode::SUCCESS {
                    note(format_args!("{}", next(&run, are_letters(&record.classes))));
                }
                Ok(code)
            }
            Err(error) => {
                if let Error::NonFinite(_) = error
                    && let Some(remark) = remark_on_no_number(&record.config, run.epochs_done())
                {
                    note(format_args!("remark: {remark}"));
                }
                if run.has_state() {
                    let folder = words::argument(run.path());
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

    /// Names the flags that change nothing beside the others.
    fn say_what_has_no_effect(&self, config: &Config) {
        let Config { optimizer, schedule, augment, .. } = config;
        let says = |flag: &str, why: &str| note(format_args!("notice: {flag} has no effect {why}"));
        if self.momentum.is_some() && *optimizer != OptimizerKind::Sgd {
            says("--momentum", &format!("with --optimizer {}, only with sgd", name(*optimizer)));
        }
        let of_schedules = [
            ("--step-size", self.step_size.is_some(), ScheduleKind::Step),
            ("--gamma", self.gamma.is_some(), ScheduleKind::Step),
            ("--warmup", self.warmup.is_some(), ScheduleKind::Cosine),
        ];
        for (flag, is_given, of) in of_schedules {
            if is_given && *schedule != of {
                let why = format!("with --schedule {}, only with {}", name(*schedule), name(of));
                says(flag, &why);
            }
        }
        if self.augment.is_given() && augment.is_none() {
            note(format_args!(
                "notice: the augmentation flags have no effect: they change nothing"
            ));
        }
        let of_training = [
            ("--data", self.data.data != Request::Auto),
            ("--offline", self.data.offline),
            ("--name", self.name.is_some()),
            ("--no-report", self.no_report),
            ("--no-graph", self.no_graph),
            ("--detect-anomaly", self.detect_anomaly),
            ("--quiet", self.quiet),
            ("--plot", self.plot),
        ];
        for (flag, _) in of_training.iter().filter(|(_, is_given)| self.explain && *is_given) {
            says(flag, "with --explain, which does not train");
        }
    }

    fn new_run(&self) -> Result<Prepared> {
        let config = self.config()?;
        self.say_what_has_no_effect(&config);
        let chosen = self.device.choose()?;
        let split = self.data.load()?;
        let record = Record {
            config,
            recipe: Some(self.recipe.name()),
            data: self.data.data.kept(&split.source),
            data_source: split.source.to_string(),
            synthetic: split.source.is_synthetic(),
            data_sha256: split.digest(),
            classes: split.train.classes.clone(),
            whole_images: split.source.is_whole_images(),
            images: Some([split.train.len(), split.valid.len()]),
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
            note(format_args!("notice: {notice}"));
        }
        if let Some(epochs) = self.epochs {
            grow(&mut record, epochs, state.as_ref().map_or(0, TrainState::epochs))?;
        }
        let chosen = self.device.choose()?;
        // Also for drawn hands that are asked for by name.
        let data = DataArgs { seed: record.config.seed, ..self.data.clone() };
        let split = data.or_of(&record).load()?;
        record.check_data(&split, &words::path(folder))?;
        if self.device.precision.is_none() {
            // Where the device has the run's precision, the bits stay the same; else it has its own.
            let _ = chosen.device.set_precisions(record.precisions);
        }
        record.images = Some([split.train.len(), split.valid.len()]);
        record.device = chosen.device.describe();
        record.precisions = chosen.device.precisions();
        run.write_record(&record)?;
        Ok(Prepared { chosen, split, record, run, state })
    }
}

/// What to do with a run that is done.
fn next(run: &RunFolder, letters: bool) -> String {
    let folder = words::argument(run.path());
    let image = if letters { "hand.jpg" } else { "image.jpg" };
    format!(
        "next:\n  signet evaluate {folder}\n  signet predict {folder} {image}\n  signet serve \
         {folder} --open"
    )
}

/// Sets another number of epochs for a run of which `done` are done.
fn grow(record: &mut Record, epochs: u64, done: u64) -> Result<()> {
    let config = &mut record.config;
    if epochs < done {
        let are = if done == 1 { "is" } else { "are" };
        let message = format!("{} {are} done already, got {epochs}", counted(done, "epoch"));
        return Err(Error::argument("--epochs", message));
    }
    if config.schedule == ScheduleKind::Cosine && epochs != config.epochs {
        let message = format!(
            "the cosine schedule of this run ends after {}; another number would have been \
             another run from the start",
            counted(config.epochs, "epoch")
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
    state: Option<TrainState>,
}
