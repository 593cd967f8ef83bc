//! The moving average of a model's parameters.

use crate::autograd::Arena;
use crate::device::{AnyBuffer, Backend, Device};
use crate::dtype::Float;
use crate::ops::lerp::LerpKernels;
use crate::{Error, Result};

/// The exponential moving average of all parameters of an arena, which often measures better than the last
/// ones: PyTorch's `AveragedModel` with `get_ema_multi_avg_fn(decay)`. One launch an update.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::optim::Ema;
/// use signet::{Arena, Device};
///
/// let arena = Arena::<f32>::new(&Device::cpu()?)?;
/// let w = arena.parameter(&[1.0], [1])?;
/// let mut ema = Ema::new(&arena, 0.75)?;
/// w.set(&[5.0])?;
/// ema.update()?;
/// // For an evaluation; once more, and training goes on.
/// ema.swap()?;
/// assert_eq!(w.to_vec()?, [2.0]);
/// ema.swap()?;
/// assert_eq!(w.to_vec()?, [5.0]);
/// # Ok(()) }
/// ```
pub struct Ema<T: Float = f32> {
    arena: Arena<T>,
    weight: T,
    average: AnyBuffer<T>,
}

impl<T: Float> Ema<T> {
    /// The average that starts as what the parameters are; it keeps the share `decay` of itself in an
    /// update. Parameters that come later are not part of it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a decay outside 0 to 1, and when the device fails.
    pub fn new(arena: &Arena<T>, decay: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Error::argument("decay", format!("must be from 0 to 1, got {decay}")));
        }
        let device = arena.device();
        let mut average = device.alloc(arena.len())?;
        let values = arena.values_mut();
        let values = Device::slice(Device::view(&values), 0..arena.len());
        device.copy(values, Device::view_mut(&mut average))?;
        Ok(Self { arena: arena.clone(), weight: T::of(1.0 - decay), average })
    }

    /// `average = decay average + (1 - decay) parameters`.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub fn update(&mut self) -> Result<()> {
        let (device, len) = (self.arena.device(), Device::len(&self.average));
        let values = self.arena.values_mut();
        let values = Device::slice(Device::view(&values), 0..len);
        device.lerp(self.weight, values, Device::view_mut(&mut self.average))
    }

    /// Exchanges the parameters and their average, for an evaluation or a checkpoint. Running statistics
    /// stay those of training.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub fn swap(&mut self) -> Result<()> {
        let (device, len) = (self.arena.device(), Device::len(&self.average));
        let mut kept = device.alloc(len)?;
        let mut values = self.arena.values_mut();
        device.copy(Device::slice(Device::view(&values), 0..len), Device::view_mut(&mut kept))?;
        let all = Device::slice_mut(Device::view_mut(&mut values), 0..len);
        device.copy(Device::view(&self.average), all)?;
        self.average = kept;
        self.arena.changed(0..self.arena.parameters());
        Ok(())
    }
}
