//! The part of a run that happens on the device: epoch after epoch, each printed and saved.

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::bar::{self, EpochBar};
use crate::cli::plot::plot;
use crate::cli::signals::INTERRUPTED;
use crate::cli::terminal::{stdout_is_terminal, stdout_width, table_width};
use crate::cli::{note, print, print_drawing, say};
use crate::report::remark::remark;
use crate::report::words::{count, duration, loss};
use crate::runs::{BEST, EpochLine, Record, RunFolder};
use crate::words::{self, counted};
use signet::data::Split;
use signet::nn::Sequential;
use signet::train::{EpochMetrics, Outcome, ScheduleKind, TrainState, Trainer};
use signet::{Device, Error, Result};

/// The part of a run that happens on the device.
pub struct Training<'a> {
    pub record: &'a Record,
    pub split: &'a Split,
    pub run: &'a RunFolder,
    pub state: Option<TrainState>,
    pub interrupted: &'a AtomicBool,
    pub quiet: bool,
    pub json: bool,
    pub plot: bool,
    pub graphs: bool,
    pub fuse: bool,
    pub detect_anomaly: bool,
}

impl Training<'_> {
    pub fn run(self, device: &Device) -> Result<ExitCode> {
        let epochs = self.record.config.epochs;
        let bar = Arc::new(EpochBar::new(self.quiet, epochs, self.split.valid.len()));
        let mut trainer = self.trainer(device, self.state.as_ref(), &bar)?;
        if self.detect_anomaly {
            trainer.detect_anomaly();
        }
        if !self.quiet && !self.json && trainer.epoch() < epochs {
            summary(trainer.model(), self.record.config.batch_size, self.split)?;
        }
        if let Some(state) = &self.state {
            if !self.quiet {
                note(format_args!("{}", self.where_it_goes_on(&trainer)));
            }
            // The files may be those of another moment, and the record has changed.
            self.run.save(state, self.record)?;
        }
        let lines = !self.json && stdout_is_terminal();
        if lines && trainer.epoch() < epochs {
            print(bar::heading())?;
        }
        let remarked = Cell::new(false);
        while trainer.epoch() < epochs {
            let outcome = match self.epoch(&mut trainer, &bar) {
                Err(Error::NonFinite(loss)) => {
                    // The search needs the memory.
                    drop(trainer);
                    return Err(self.located(device, loss));
                }
                outcome => outcome?,
            };
            self.run.save(&trainer.state()?, self.record)?;
            match outcome {
                Outcome::Finished(metrics) => {
                    if lines {
                        let best = trainer.best().is_some_and(|best| best.epoch == metrics.epoch);
                        print(bar::epoch_line(&metrics, self.means(&metrics), best))?;
                    } else {
                        self.report(&metrics)?;
                    }
                    self.remark_once(&metrics, &remarked);
                }
                Outcome::Interrupted => return self.stopped(&trainer),
            }
            if self.interrupted.load(Ordering::Relaxed) && trainer.epoch() < epochs {
                return self.stopped(&trainer);
            }
        }
        self.done(trainer.history(), trainer.best())?;
        Ok(ExitCode::SUCCESS)
    }

    fn trainer(
        &self,
        device: &Device,
        state: Option<&TrainState>,
        bar: &Arc<EpochBar>,
    ) -> Result<Trainer> {
        let mut trainer = Trainer::new(device, self.record.config.clone(), self.split)?;
        trainer.use_graphs(self.graphs);
        trainer.on_notice(|line| note(format_args!("{line}")));
        let bar = Arc::clone(bar);
        trainer.on_validation(move |images, all| bar.show_validation(images, all));
        trainer.model().fuse(self.fuse);
        if let Some(state) = state {
            trainer.restore(state)?;
        }
        Ok(trainer)
    }

    /// Trains an epoch with a bar beside it.
    fn epoch(&self, trainer: &mut Trainer, bar: &EpochBar) -> Result<Outcome> {
        bar.start();
        let outcome = trainer.run_epoch(|progress| {
            bar.show(&progress);
            !self.interrupted.load(Ordering::Relaxed)
        });
        bar.clear(match &outcome {
            Ok(Outcome::Finished(metrics)) => Some(metrics),
            _ => None,
        });
        outcome
    }

    /// Where a run goes on that was begun before, or that there is nothing left to do.
    fn where_it_goes_on(&self, trainer: &Trainer) -> String {
        let (epoch, (step, steps)) = (trainer.epoch(), trainer.steps());
        let config = &self.record.config;
        if epoch < config.epochs {
            return match step {
                0 => format!("going on in epoch {epoch}"),
                _ => format!("going on in epoch {epoch}, after step {step} of {steps}"),
            };
        }
        let folder = words::argument(self.run.path());
        let done = match epoch {
            1 => "its one epoch is done".to_owned(),
            _ => format!("all of its {epoch} epochs are done"),
        };
        let more = match config.schedule {
            ScheduleKind::Cosine => {
                "its learning rate has fallen to the end of its cosine, so a longer run is another \
                 one: signet train --epochs N"
                    .to_owned()
            }
            _ => format!(
                "for more: signet train --resume {folder} --epochs {}",
                epoch + epoch.div_ceil(2)
            ),
        };
        format!("nothing to go on with in {folder}: {done}\n{more}")
    }

    /// The mean losses of an epoch, of training and of validation.
    fn means(&self, metrics: &EpochMetrics) -> [f64; 2] {
        let [train, valid] = self.batches().map(|batches| batches as f64);
        [metrics.train_loss / train, metrics.valid_loss / valid]
    }

    fn batches(&self) -> [usize; 2] {
        let config = &self.record.config;
        [&self.split.train, &self.split.valid].map(|part| config.batches(part.len()).max(1))
    }

    /// Says once when a run does not learn.
    fn remark_once(&self, metrics: &EpochMetrics, remarked: &Cell<bool>) {
        if self.quiet || remarked.get() {
            return;
        }
        let (mean, classes) = (self.means(metrics)[0], self.split.train.classes.len());
        if let Some(remark) = remark(&self.record.config, classes, metrics.epoch, mean) {
            note(format_args!("remark: {remark}"));
            remarked.set(true);
        }
    }

    /// The error of a training that ran into `what`, with the layer where that began. Looking at
    /// every layer in every step would slow down all trainings; but a training that is repeated
    /// from its last state has the same bits, so it is enough to look then.
    fn located(&self, device: &Device, what: String) -> Error {
        if self.detect_anomaly {
            return Error::NonFinite(what);
        }
        note(format_args!("{what}; looking for the layer where that began"));
        let again = || {
            let bar = Arc::new(EpochBar::new(self.quiet, 1, self.split.valid.len()));
            let mut trainer = self.trainer(device, self.run.state().ok().as_ref(), &bar)?;
            trainer.detect_anomaly();
            self.epoch(&mut trainer, &bar)
        };
        match again() {
            Err(Error::NonFinite(first)) => Error::NonFinite(first),
            // The search is not what was asked for: what it runs into is not the answer.
            _ => Error::NonFinite(what),
        }
    }

    fn report(&self, metrics: &EpochMetrics) -> Result<()> {
        if self.json {
            let json = serde_json::to_string(&EpochLine::new(metrics, self.record))
                .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))?;
            return print(json);
        }
        print(metrics)?;
        if !self.quiet {
            note(format_args!(
                "  {} images/s, {:.1} s training, {:.1} s validation",
                count(metrics.images_per_second as u64),
                metrics.train_seconds,
                metrics.valid_seconds
            ));
        }
        Ok(())
    }

    fn stopped(&self, trainer: &Trainer) -> Result<ExitCode> {
        let folder = words::argument(self.run.path());
        let (epoch, epochs) = (trainer.epoch(), self.record.config.epochs);
        let place = match trainer.steps() {
            (0, _) => format!("before epoch {epoch}"),
            (step, steps) => format!("in epoch {epoch}, after step {step} of {steps}"),
        };
        // Epochs are counted from 0: their number says how many are done, and not which is the last.
        let done = format!("{epoch} of {} done", counted(epochs, "epoch"));
        note(format_args!("stopped {place}, {done}; go on with: signet train --resume {folder}"));
        Ok(ExitCode::from(INTERRUPTED))
    }

    fn done(&self, history: &[EpochMetrics], best: Option<&EpochMetrics>) -> Result<()> {
        let (Some(last), Some(best)) = (history.last(), best) else {
            return Ok(());
        };
        if !self.json {
            let drawn = if self.split.source.is_synthetic() {
                " (on synthetic hands: not the accuracy on photographs)"
            } else {
                ""
            };
            // Where the last epoch is the best, once is enough.
            let last = if last.epoch == best.epoch {
                String::new()
            } else {
                let mean = loss(self.means(last)[1]);
                format!("; last: {:.4}, mean loss {mean}", last.valid_accuracy)
            };
            say(format_args!(
                "best: validation accuracy {:.4} in epoch {}, mean loss {}{last}{drawn}\n\
                 best model: {}",
                best.valid_accuracy,
                best.epoch,
                loss(self.means(best)[1]),
                words::path(&self.run.file(BEST))
            ))?;
        }
        if !self.quiet {
            let sum = |of: fn(&EpochMetrics) -> f64| history.iter().map(of).sum::<f64>();
            let (train, valid) = (sum(|at| at.train_seconds), sum(|at| at.valid_seconds));
            note(format_args!(
                "time: {} for {} ({} training, {} validation)",
                duration(train + valid),
                counted(history.len() as u64, "epoch"),
                duration(train),
                duration(valid)
            ));
        }
        if self.plot {
            let colour = stdout_is_terminal() && console::colors_enabled();
            let drawing = plot(history, self.batches(), stdout_width(), colour);
            print_drawing(&format!("\n{drawing}\n"))?;
        }
        Ok(())
    }
}

fn summary(model: &Sequential, batch_size: usize, split: &Split) -> Result<()> {
    let images = &split.train;
    let shape = [batch_size, images.channels, images.height, images.width];
    print(model.summary(shape)?.fitting(table_width()))
}
