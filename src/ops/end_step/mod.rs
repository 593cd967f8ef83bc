//! The end of a training step: its loss is put away and the clock goes on.
//!
//! Both lie on the device, so that a step that was captured as a graph leaves its loss in another
//! place, and begins the next step, each time it is replayed.

mod cpu;
mod cuda;

use crate::device::{Cost, kernels};
use crate::dtype::Float;
use crate::ops::index32;
use crate::{Error, Result, Tensor};

/// A loss and a count are read and written, two counters moved on.
fn cost<T>() -> Cost {
    Cost::default().moving::<T>(3).moving::<u32>(1).moving::<u64>(4)
}

kernels! {
    /// What the end of a step asks of a device.
    pub(crate) trait EndStepKernels<T: Float>: Backend {
        /// With `clock = [step, batch]`: `losses[batch] = [loss, correct]`, then both count on. A
        /// batch that is beyond `losses [batches, 2]` leaves it as it is.
        fn end_step(
            &self,
            loss: Self::View<'_, T>,
            correct: Self::View<'_, i32>,
            losses: Self::ViewMut<'_, T>,
            clock: Self::ViewMut<'_, u64>,
        ) -> Result<()>;
    }
}

/// Ends a step: leaves its `loss` and how many it got right, `correct [1]`, in row `batch` of
/// `losses [batches * 2]`, and moves `clock [2]`, which is `[step, batch]`, on by one. A count below
/// 2^24 is exact in either float type.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::ops::end_step::end_step;
/// use signet::{Device, Tensor};
///
/// let device = Device::cpu()?;
/// let loss = Tensor::from_slice(&device, &[0.5_f32], [])?;
/// let correct = Tensor::from_slice(&device, &[7], [1])?;
/// let losses = Tensor::zeros(&device, [4])?;
/// let clock = Tensor::from_slice(&device, &[8, 1], [2])?;
/// end_step(&loss, &correct, &losses, &clock)?;
/// assert_eq!(losses.to_vec()?, [0.0, 0.0, 0.5, 7.0]);
/// assert_eq!(clock.to_vec()?, [9, 2]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit; [`Error::Device`] when the device fails.
pub fn end_step<T: Float>(
    loss: &Tensor<T>,
    correct: &Tensor<i32>,
    losses: &Tensor<T>,
    clock: &Tensor<u64>,
) -> Result<()> {
    const OP: &str = "end_step";
    let rows_of_two = losses.numel().is_multiple_of(2);
    if loss.numel() != 1 || correct.numel() != 1 || clock.numel() != 2 || !rows_of_two {
        let message = format!(
            "loss {}, correct {}, losses {} and clock {}: expected 1, 1, 2 per batch and 2 values",
            loss.shape(),
            correct.shape(),
            losses.shape(),
            clock.shape()
        );
        return Err(Error::shape(OP, message));
    }
    index32(OP, losses.numel())?;
    let (loss, correct) = (loss.read(), correct.read());
    let (mut losses, mut clock_of) = (losses.write(), clock.write());
    let device = clock.device();
    device.end_step(loss.view(), correct.view(), losses.view_mut(), clock_of.view_mut())
}
