//! Optimizers over a flat arena, and learning-rate schedules.
//!
//! | file | subject |
//! |---|---|
//! | `adam.rs`, `sgd.rs`, `rmsprop.rs`, `adagrad.rs` | [`Adam`], [`Sgd`], [`Rmsprop`], [`Adagrad`]: options and kernels |
//! | `groups.rs` | what they share: groups of parameters, steps, moments |
//! | `ema.rs` | [`Ema`]: the moving average of the parameters |
//! | `state.rs` | what is in a checkpoint |
//! | `clip.rs` | gradients kept within bounds |
//! | `schedule.rs` | [`Schedule`]: the learning rate of each epoch |
//! | `plateau.rs` | [`ReduceLROnPlateau`]: the learning rate by what was reached |
#![forbid(unsafe_code)]

mod adagrad;
mod adam;
mod clip;
mod ema;
mod groups;
mod plateau;
mod rmsprop;
mod schedule;
mod sgd;
mod state;

pub use adagrad::{Adagrad, AdagradOptions};
pub use adam::{Adam, AdamOptions};
pub use clip::{clip_grad_norm_, clip_grad_value_};
pub use ema::Ema;
pub use plateau::{PlateauMode, PlateauOptions, ReduceLROnPlateau, Threshold};
pub use rmsprop::{Rmsprop, RmspropOptions};
pub use schedule::{Anneal, Schedule};
pub use sgd::{Sgd, SgdOptions};
pub use state::{OptimizerState, ParamGroup};

use crate::dtype::Float;
use crate::{Error, Result};

/// Something that moves parameters along their gradients.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::{Optimizer, Sgd, SgdOptions};
/// use signet::{Arena, Device, Tensor};
///
/// // The least of (w - 3)^2.
/// let device = Device::cpu()?;
/// let arena = Arena::<f64>::new(&device)?;
/// let w = arena.parameter(&[0.0], [1])?;
/// let three = Tensor::from_slice(&device, &[-3.0], [1])?;
/// let mut optimizer = Sgd::new(&arena, SgdOptions::new(0.1))?;
/// for _ in 0..100 {
///     let difference = three.add(&w)?;
///     let loss = difference.mul(&difference)?.sum()?;
///     optimizer.zero_grad();
///     loss.backward()?;
///     optimizer.step()?;
/// }
/// assert!((w.item()? - 3.0).abs() < 1e-6);
/// # Ok(()) }
/// ```
pub trait Optimizer<T: Float = f32> {
    /// Updates every parameter that has a gradient; one whose gradient is missing stays as it is, and
    /// makes no step, as in PyTorch: bias corrections and first steps are each parameter's own.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    fn step(&mut self) -> Result<()>;

    /// Forgets the gradients.
    fn zero_grad(&self);

    /// Sets the learning rate of all groups of parameters from the next step on.
    ///
    /// # Errors
    /// [`Error::Argument`] for one that is negative or no number, [`Error::Device`] when the device fails.
    fn set_lr(&mut self, lr: f64) -> Result<()>;

    /// Sets the learning rate of one group; 0 is the group of all parameters that were not added to
    /// another.
    ///
    /// # Errors
    /// As [`Optimizer::set_lr`], and [`Error::Argument`] when there is no such group.
    fn set_group_lr(&mut self, group: usize, lr: f64) -> Result<()>;

    /// The groups of parameters with their options.
    fn param_groups(&self) -> Vec<ParamGroup>;

    /// A copy of what it remembers, for a checkpoint.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    fn state(&self) -> Result<OptimizerState<T>>;

    /// Goes on from a checkpoint, with the options that are in it, as PyTorch does.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is the state of another optimizer or model, or of other groups of
    /// parameters; nothing is changed then.
    fn load_state(&mut self, state: &OptimizerState<T>) -> Result<()>;
}

/// Yes and no as a kernel takes them.
fn number(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// A finite number of at least 0.
fn not_negative(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::argument(name, format!("must be a number of at least 0, got {value}")))
}

/// A decay rate, from 0 to below 1.
fn decay_rate(name: &'static str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::argument(name, format!("must be at least 0 and less than 1, got {value}")))
}
