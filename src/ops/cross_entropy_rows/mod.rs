//! The cross-entropy of each row by itself, and the class that it is taken for: what a validation
//! asks of a model, without gradients.

mod cpu;
mod cuda;

use crate::device::{Cost, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::index32;
use crate::{Error, Result, Tensor};

/// Sizes of logits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct RowsGeometry {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub classes: u32,
}

impl Plain for RowsGeometry {}

impl RowsGeometry {
    /// Reads the logits once, 3 FLOP each: shifted, an exponential counted as one, summed.
    pub fn cost<T>(&self) -> Cost {
        Cost::elementwise::<T>(self.rows as usize * self.classes as usize, 1, 3)
    }
}

kernels! {
    /// What it asks of a device.
    pub(crate) trait CrossEntropyRowsKernels<T: Float>: Backend {
        /// Of each row `losses = -log softmax(logits)[target]`, rounded as in
        /// [`cross_entropy`](crate::ops::cross_entropy), and `predicted`, the index of the first of the
        /// largest logits. The loss of a target that is no class is NaN.
        fn cross_entropy_rows(
            &self,
            geometry: &RowsGeometry,
            logits: Self::View<'_, T>,
            target: Self::View<'_, i32>,
            losses: Self::ViewMut<'_, T>,
            predicted: Self::ViewMut<'_, i32>,
        ) -> Result<()>;
    }
}

/// Writes the cross-entropy of each row of `logits [N, classes]` against `target [N]` to
/// `losses [N]` and the class of its largest logit to `predicted [N]`:
/// `torch.nn.functional.cross_entropy(reduction="none")` and `torch.argmax`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy_rows::cross_entropy_rows;
///
/// let device = Device::cpu()?;
/// let logits = Tensor::from_slice(&device, &[0.0_f32, 0.0, 9.0, 0.0], [2, 2])?;
/// let target = Tensor::from_slice(&device, &[1, 0], [2])?;
/// let (losses, predicted) = (Tensor::zeros(&device, [2])?, Tensor::zeros(&device, [2])?);
/// cross_entropy_rows(&logits, &target, &losses, &predicted)?;
/// assert!((losses.to_vec()?[0] - 2.0_f32.ln()).abs() < 1e-5);
/// assert_eq!(predicted.to_vec()?, [0, 0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit; [`Error::Device`] when the device fails.
pub fn cross_entropy_rows<T: Float>(
    logits: &Tensor<T>,
    target: &Tensor<i32>,
    losses: &Tensor<T>,
    predicted: &Tensor<i32>,
) -> Result<()> {
    const OP: &str = "cross_entropy_rows";
    let [rows, classes] = logits.shape().expect(OP, "[N, classes]")?;
    if [target.dims(), losses.dims(), predicted.dims()] != [&[rows]; 3] || classes == 0 {
        let message = format!(
            "logits {}, target {}, losses {} and predicted {}: expected [N, classes] and three [N]",
            logits.shape(),
            target.shape(),
            losses.shape(),
            predicted.shape()
        );
        return Err(Error::shape(OP, message));
    }
    index32(OP, logits.numel())?;
    let geometry = RowsGeometry { rows: rows as u32, classes: classes as u32 };
    logits.device().cross_entropy_rows(
        &geometry,
        logits.read().view(),
        target.read().view(),
        losses.write().view_mut(),
        predicted.write().view_mut(),
    )
}
