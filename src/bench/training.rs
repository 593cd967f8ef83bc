//! Whole training steps and epochs, as `signet train` makes them, on synthetic hands.

use super::{Effort, Plan, Spread, Timing, meter};
use crate::data::{Split, synthetic};
use crate::device::{Device, KernelRun};
use crate::nn::Place;
use crate::train::{Config, Outcome, Trainer};
use crate::{Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;

/// Classes of the data set.
pub(super) const CLASSES: usize = 24;
/// Training images of the real data set.
pub(super) const IMAGES: usize = 27_455;
/// The batch of the notebook.
const BATCH: usize = 32;

/// The rows of steps, one for each batch, and the row of an epoch.
pub(super) fn plans(effort: Effort) -> Vec<Plan> {
    let mut plans: Vec<_> = effort.batches().iter().map(|&batch| steps(batch, effort)).collect();
    let (images, batch) = match effort {
        Effort::Full => (IMAGES, BATCH),
        Effort::Quick => (3 * effort.batches()[0] + 1, effort.batches()[0]),
    };
    let measure = move |device: &Device, _| {
        let samples = if effort == Effort::Full { 3 } else { 1 };
        measure(device, batch, images, samples, images as f64 / batch as f64)
    };
    plans.push(Plan { name: format!("epoch/{batch}"), measure: Box::new(measure) });
    plans
}

/// The mean step of an epoch of some steps, many times.
fn steps(batch: usize, effort: Effort) -> Plan {
    let (steps, samples) = match effort {
        Effort::Full => ((1024 / batch).clamp(4, 64), 15),
        Effort::Quick => (2, 2),
    };
    let measure = move |device: &Device, _| {
        let mut timing = measure(device, batch, steps * batch, samples, 1.0)?;
        timing.spread = timing.spread.divided_by(steps as f64);
        Ok(timing)
    };
    Plan { name: format!("step/{batch}"), measure: Box::new(measure) }
}

/// Times epochs of `images`: without the validation, and without the first, which warms up.
fn measure(
    device: &Device,
    batch: usize,
    images: usize,
    samples: u64,
    times: f64,
) -> Result<Timing> {
    let config = Config { batch_size: batch, epochs: 1 + samples, ..Config::default() };
    let runs = trace_step(device, &config, true)?;
    let split = synthetic(config.seed, images, batch);
    let mut trainer = Trainer::new(device, config, &split)?;
    let mut seconds = Vec::new();
    for _ in 0..=samples {
        match trainer.run_epoch(|_| true)? {
            Outcome::Finished(metrics) => seconds.push(metrics.train_seconds),
            Outcome::Interrupted => return Err(interrupted()),
        }
    }
    Ok(Timing { runs, times, spread: Spread::of(seconds.split_off(1)) })
}

/// The kernels of one training step, in order: the first step of a training on synthetic hands, which
/// is the step that every later one repeats. With `fuse`, several layers are one op where there is one.
///
/// # Errors
/// As [`Trainer::run_epoch`].
pub fn trace_step(device: &Device, config: &Config, fuse: bool) -> Result<Vec<KernelRun>> {
    let runs = trace_layers(device, config, fuse)?;
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

/// The same, each kernel with the layers that it works for: nothing for what is outside of the model.
///
/// # Errors
/// As [`Trainer::run_epoch`].
pub fn trace_layers(
    device: &Device,
    config: &Config,
    fuse: bool,
) -> Result<Vec<(String, KernelRun)>> {
    meter(device).prepare();
    // Two batches, so that the epoch can be left after the first.
    let split: Split = synthetic(config.seed, 2 * config.batch_size, 1);
    let mut trainer = Trainer::new(device, config.clone(), &split)?;
    trainer.model().fuse(fuse);
    let (here, runs) = (Arc::new(Mutex::new(Place::Outside)), Arc::new(Mutex::new(Vec::new())));
    let (place, found, traced) = (Arc::clone(&here), Arc::clone(&runs), device.clone());
    // What was launched since the last change of place belongs to the place before.
    let enter = move |next: Place| {
        let before = std::mem::replace(&mut *place.lock(), next);
        found.lock().extend(traced.take_trace().into_iter().map(|run| (before.clone(), run)));
        traced.start_trace();
    };
    trainer.model().on_place(enter.clone());
    device.start_trace();
    let mut step = None;
    trainer.run_epoch(|_| {
        enter(Place::Outside);
        step.get_or_insert_with(|| runs.lock().clone());
        false
    })?;
    device.take_trace();
    let model = trainer.model();
    let named = |(place, run): (Place, KernelRun)| (model.name_of(&place), run);
    Ok(step.unwrap_or_default().into_iter().map(named).collect())
}

fn interrupted() -> Error {
    Error::argument("bench", "the training was interrupted, which nobody asked for")
}
