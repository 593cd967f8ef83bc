//! The part of a run that happens on the device: epoch after epoch, each printed and saved.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::bar::{self, EpochBar};
use crate::cli::signals::INTERRUPTED;
use crate::cli::terminal::stdout_is_terminal;
use crate::cli::{note, print};
use crate::data::Split;
use crate::device::{Device, OnDevice};
use crate::nn::Sequential;
use crate::train::{EpochMetrics, Outcome, Record, RunFolder, State, Trainer};
use crate::{Error, Result, words};

/// The part of a run that happens on the device.
pub struct Job<'a> {
    pub record: &'a Record,
    pub split: &'a Split,
    pub run: &'a RunFolder,
    pub state: Option<State>,
    pub interrupted: &'a AtomicBool,
    pub quiet: bool,
    pub json: bool,
    pub graphs: bool,
    pub fuse: bool,
    pub detect_anomaly: bool,
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
                Err(Error::NonFinite(loss)) => {
                    // The search needs the memory.
                    drop(trainer);
                    return Err(self.located(device, loss));
                }
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
            let mut trainer = self.trainer(device, self.run.state().ok().as_ref())?;
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
        let folder = words::path(self.run.path());
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
            words::path(self.run.path())
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
