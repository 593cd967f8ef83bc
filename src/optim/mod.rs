//! Optimizers over a flat arena, and learning-rate schedules.
#![forbid(unsafe_code)]

mod adam;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamOptions};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdOptions};

use crate::arena::Arena;
use crate::device::{Device, Memory};
use crate::dtype::{Element, Float};
use crate::ops::UpdateState;
use crate::{Error, Result};

/// Something that moves parameters along their gradients.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::{Optimizer, Sgd, SgdOptions};
/// use signet::{Arena, Cpu, Tape};
///
/// // The least of (w - 3)^2.
/// let device = Cpu::new(None)?;
/// let arena = Arena::<Cpu, f64>::new(&device)?;
/// let w = arena.parameter(&[0.0], [1])?;
/// let three = signet::Tensor::from_slice(&device, &[-3.0], [1])?;
/// let mut optimizer = Sgd::new(&arena, SgdOptions::new(0.1))?;
/// for _ in 0..100 {
///     let tape = Tape::new();
///     let difference = tape.input(&three).add(&w)?;
///     let loss = difference.mul(&difference)?.sum()?;
///     optimizer.zero_grad();
///     loss.backward()?;
///     optimizer.step()?;
/// }
/// assert!((w.item()? - 3.0).abs() < 1e-6);
/// # Ok(()) }
/// ```
pub trait Optimizer<D: Device<T>, T: Float> {
    /// Updates every parameter that has a gradient; one whose gradient is missing stays as it is.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    fn step(&mut self) -> Result<()>;

    /// Forgets the gradients.
    fn zero_grad(&self);

    /// Sets the learning rate of the next step.
    ///
    /// # Errors
    /// [`Error::Argument`] for one that is negative or no number, [`Error::Device`] when the device fails.
    fn set_lr(&mut self, lr: f64) -> Result<()>;

    /// A copy of what it remembers, for a checkpoint.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    fn state(&self) -> Result<OptimizerState<T>>;

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is the state of another optimizer or model; nothing is changed
    /// then.
    fn load_state(&mut self, state: &OptimizerState<T>) -> Result<()>;
}

/// What an optimizer remembers, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState<T> {
    /// Steps made.
    pub step: u64,
    /// Moments by PyTorch's names, each as long as the arena.
    pub moments: Vec<(String, Vec<T>)>,
}

impl<T: Float> OptimizerState<T> {
    fn read<D: Device<T>>(
        device: &D,
        step: u64,
        moments: &[(&str, Option<&D::Buffer<T>>)],
    ) -> Result<Self> {
        let read = |(name, buffer): &(&str, Option<&D::Buffer<T>>)| {
            let buffer = (*buffer)?;
            Some(device.read(D::view(buffer)).map(|values| (name.to_string(), values)))
        };
        Ok(Self { step, moments: moments.iter().filter_map(read).collect::<Result<_>>()? })
    }

    fn write<D: Device<T>>(
        &self,
        device: &D,
        moments: Vec<(&str, Option<&mut D::Buffer<T>>)>,
    ) -> Result<()> {
        let moments: Vec<_> =
            moments.into_iter().filter_map(|(name, buffer)| Some((name, buffer?))).collect();
        let expected: Vec<_> = moments.iter().map(|(name, b)| (*name, D::len(b))).collect();
        let found: Vec<_> = self.moments.iter().map(|(name, v)| (name.as_str(), v.len())).collect();
        if expected != found {
            let message = format!("its state is {found:?}, expected {expected:?}");
            return Err(Error::argument("optimizer", message));
        }
        for ((_, buffer), (_, values)) in moments.into_iter().zip(&self.moments) {
            device.write(D::view_mut(buffer), values)?;
        }
        Ok(())
    }
}

/// What changes between steps. It lies on the device, where a captured step finds it.
struct StepState<D: Memory> {
    device: D,
    /// As on the device.
    lr: f64,
    /// `[1]`.
    lr_on_device: D::Buffer<f64>,
    /// The steps made, `[1]`.
    steps: D::Buffer<u64>,
}

impl<D: Memory> StepState<D> {
    /// Before the first step.
    fn new(device: &D, lr: f64) -> Result<Self> {
        let (lr_on_device, steps) = (device.upload(&[lr])?, device.upload(&[0])?);
        Ok(Self { device: device.clone(), lr, lr_on_device, steps })
    }

    /// For a kernel.
    fn update(&mut self, is_last: bool) -> UpdateState<'_, D> {
        let (lr, steps) = (D::view(&self.lr_on_device), D::view_mut(&mut self.steps));
        UpdateState { lr, steps, is_last }
    }

    fn set_lr(&mut self, lr: f64) -> Result<()> {
        not_negative("lr", lr)?;
        if lr.to_bits() != self.lr.to_bits() {
            self.device.write(D::view_mut(&mut self.lr_on_device), &[lr])?;
            self.lr = lr;
        }
        Ok(())
    }

    fn steps(&self) -> Result<u64> {
        Ok(self.device.read(D::view(&self.steps))?[0])
    }

    fn set_steps(&mut self, steps: u64) -> Result<()> {
        self.device.write(D::view_mut(&mut self.steps), &[steps])
    }
}

/// A buffer of zeros beside an arena.
fn zeros<D: Memory, E: Element>(arena: &Arena<D, E>) -> Result<D::Buffer<E>> {
    let mut buffer = arena.device().alloc(arena.len())?;
    arena.device().zero(D::view_mut(&mut buffer))?;
    Ok(buffer)
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
