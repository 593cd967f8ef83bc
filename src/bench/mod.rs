//! Kernel throughput: how fast each kernel runs, and how fast the device could run it.
//!
//! `cargo bench` and `signet bench` are this module. A row is one kernel, one op or one whole training
//! step; its cost is what the kernels it ran declare ([`Cost`]), its time the
//! median of many runs, and its roofline what the device's own peaks, measured on the spot, allow.
//!
//! | file | subject |
//! |---|---|
//! | `meter.rs` | what measuring asks of a device |
//! | `cpu.rs`, `cuda.rs` | the two that can: clocks and peaks |
//! | `kernels.rs`, `fused.rs`, `training.rs` | what is measured: single kernels, ops on a tape, steps and epochs |
//! | `spread.rs` | medians and percentiles |
//! | `roofline.rs` | the least time that a device's peaks allow, and which of them binds |
//! | `document.rs` | the results, as JSON too |
//! | `reference.rs` | another program's results, to compare with |
#![forbid(unsafe_code)]

mod cpu;
mod cuda;
mod document;
mod fused;
mod kernels;
mod meter;
mod reference;
mod roofline;
mod spread;
mod training;

pub use document::{Document, Machine, Row};
pub use meter::{About, Case, Effort, Work};
use meter::{Meter, meter};
pub use reference::Reference;
pub use roofline::{Limit, Peaks, Roofline};
pub use spread::Spread;
pub use training::{trace_layers, trace_step};

use crate::Result;
use crate::device::{Cost, Device, KernelRun};

/// What to measure.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How long to take.
    pub effort: Effort,
    /// Only rows whose name contains this.
    pub filter: Option<String>,
}

/// A row before it is measured.
struct Plan {
    name: String,
    measure: Box<Measure>,
}

/// Makes what a row needs on a device, and measures it.
type Measure = dyn FnOnce(&Device, Effort) -> Result<Timing>;

/// What measuring a row gives.
struct Timing {
    /// The kernels that one run consists of.
    runs: Vec<KernelRun>,
    /// How often a sample repeats them: an epoch is many steps.
    times: f64,
    spread: Spread,
}

/// Measures everything that `options` ask for; `watch` hears the name of each row before it is
/// measured, and how many there are.
///
/// # Errors
/// When the device fails, and [`Error::Argument`](crate::Error::Argument) when no row has the name.
pub fn run(
    device: &Device,
    options: &Options,
    mut watch: impl FnMut(&str, usize),
) -> Result<Document> {
    let plans = plans(options)?;
    let meter = meter(device);
    meter.prepare();
    let peaks = meter.peaks(options.effort)?;
    let count = plans.len();
    let mut rows = Vec::with_capacity(count);
    for Plan { name, measure } in plans {
        watch(&name, count);
        let Timing { runs, times, spread } = measure(device, options.effort)?;
        let cost: Cost = runs.iter().map(|run| run.cost).sum();
        rows.push(Row::new(name, runs.len(), cost, times, spread, peaks.roofline(&runs)));
    }
    Ok(Document::new(meter.about(), options.effort, peaks, rows))
}

/// How fast `device` moves memory, multiplies and starts kernels, measured at this moment.
///
/// # Errors
/// When the device fails or computes something wrong.
pub fn peaks(device: &Device, effort: Effort) -> Result<Peaks> {
    meter(device).peaks(effort)
}

/// The rows that `options` ask for.
fn plans(options: &Options) -> Result<Vec<Plan>> {
    let mut plans = kernels::plans(options.effort);
    plans.extend(fused::plans(options.effort));
    plans.extend(training::plans(options.effort));
    if let Some(filter) = &options.filter {
        let known: Vec<_> = plans.iter().map(|plan| plan.name.clone()).collect();
        plans.retain(|plan| plan.name.contains(filter.as_str()));
        if plans.is_empty() {
            let known = known.join("\n  ");
            let message = format!("no row is called {filter:?}; there are\n  {known}");
            return Err(crate::Error::argument("filter", message));
        }
    }
    Ok(plans)
}

/// A row that runs `make`'s case on its own.
fn plan(name: String, make: impl FnOnce(&Device) -> Result<Case> + 'static) -> Plan {
    let measure = move |device: &Device, effort: Effort| {
        let mut case = make(device)?;
        // The first run compiles and allocates what it needs; the second is typical.
        case()?()?;
        let work = case()?;
        device.start_trace();
        work()?;
        let runs = device.take_trace();
        let meter = meter(device);
        let once = meter.time(1, &mut case)?[0];
        let spread = Spread::of(meter.time(effort.repetitions(once), &mut case)?);
        Ok(Timing { runs, times: 1.0, spread })
    };
    Plan { name, measure: Box::new(measure) }
}
