//! Training: a step of any model, and the ASL network from the first epoch to the last.
//!
//! | file | subject |
//! |---|---|
//! | `step.rs` | a step of any model as one graph |
//! | `fit.rs` | epochs of such steps |
//! | `config.rs` | the settings of a run |
//! | `metrics.rs` | what an epoch achieved, and the notebook's three lines |
//! | `trainer.rs` | the loop: epochs of steps, interrupted and continued with the same bits |
//! | `evaluate.rs` | a model on a data set, also per class |
//! | `prepare.rs` | what a GPU needs before a run, and the largest batch that it has memory for |
//! | `repeated.rs` | a step, or a whole validation, as one graph |
//! | `state.rs` | everything a run needs to go on, as one file |
#![forbid(unsafe_code)]

mod config;
mod evaluate;
mod fit;
mod metrics;
mod prepare;
mod repeated;
mod state;
mod step;
mod trainer;

pub use config::{Config, OptimizerKind, ScheduleKind};
pub use evaluate::{Evaluation, evaluate};
pub use fit::{Fit, FitEpoch, FitOptions, Stopped, fit};
pub use metrics::{EpochMetrics, Measured};
pub use prepare::{prepare, with_batch_that_fits};
pub use state::TrainState;
pub use step::{Inputs, TrainStep};
pub use trainer::{Outcome, Progress, Trainer};
