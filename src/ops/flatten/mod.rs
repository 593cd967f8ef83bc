//! Other shapes over the same memory; no kernel runs.

use crate::dtype::Float;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// The same elements under another shape.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.reshape([4, 1])?.dims(), [4, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when it has another number of elements.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if shape.numel() != self.numel() {
            let message = format!(
                "{} has {} elements, {shape} has {}",
                self.shape(),
                self.numel(),
                shape.numel()
            );
            return Err(Error::shape("reshape", message));
        }
        let output = self.detach_as(shape);
        Ok(output
            .with_grad_fn([Some(self)], |[x], gradient, gradients| gradients.pass(x, gradient)))
    }

    /// `[N, C, H, W]` as `[N, C * H * W]`: every dimension from `start_dim` on becomes one.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let images = Tensor::<f32>::zeros(&device, [8, 3, 28, 28])?;
    /// assert_eq!(images.flatten(1)?.dims(), [8, 3 * 28 * 28]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such dimension.
    pub fn flatten(&self, start_dim: usize) -> Result<Self> {
        self.reshape(flattened(self.shape(), start_dim)?)
    }
}

/// The shape after [`Tensor::flatten`].
pub(crate) fn flattened(shape: &Shape, start_dim: usize) -> Result<Shape> {
    if start_dim >= shape.rank() {
        return Err(Error::shape("flatten", format!("{shape} has no dimension {start_dim}")));
    }
    let (kept, merged) = shape.dims().split_at(start_dim);
    Ok(Shape::from([kept, &[Shape::from(merged).numel()]].concat()))
}
