//! Other shapes over the same memory; no kernel runs.

use crate::dtype::Float;
use crate::ops::dims::{dim_of, place_of};
use crate::tensor::Sizes;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// The same elements under another shape; one size may be -1, for what the others leave.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.reshape([4, 1])?.dims(), [4, 1]);
    /// assert_eq!(x.reshape([1, -1])?.dims(), [1, 4]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when it has another number of elements.
    pub fn reshape(&self, shape: impl Into<Sizes>) -> Result<Self> {
        let shape = shape.into().of("reshape", self.shape())?;
        let output = self.detach_as(shape);
        Ok(output
            .with_grad_fn([Some(self)], |[x], gradient, gradients| gradients.pass(x, gradient)))
    }

    /// Without dimension `dim` where its size is 1, else as it is.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::<f32>::zeros(&device, [8, 1, 5])?;
    /// assert_eq!(x.squeeze(1)?.dims(), [8, 5]);
    /// assert_eq!(x.squeeze(-1)?.dims(), [8, 1, 5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such dimension.
    pub fn squeeze(&self, dim: isize) -> Result<Self> {
        let dim = dim_of("squeeze", dim, self.shape())?;
        if self.dims()[dim] != 1 {
            return Ok(self.clone());
        }
        let mut dims = self.dims().to_vec();
        dims.remove(dim);
        self.reshape(dims)
    }

    /// With a dimension of size 1 more, which becomes dimension `dim`; -1 puts it behind all others.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::<f32>::zeros(&device, [8, 5])?;
    /// assert_eq!(x.unsqueeze(1)?.dims(), [8, 1, 5]);
    /// assert_eq!(x.unsqueeze(-1)?.dims(), [8, 5, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such place.
    pub fn unsqueeze(&self, dim: isize) -> Result<Self> {
        let mut dims = self.dims().to_vec();
        dims.insert(place_of("unsqueeze", dim, dims.len() + 1, self.shape())?, 1);
        self.reshape(dims)
    }

    /// The dimensions from `start_dim` to `end_dim`, both included, as one; a scalar becomes `[1]`.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let images = Tensor::<f32>::zeros(&device, [8, 3, 28, 28])?;
    /// assert_eq!(images.flatten_dims(0, 1)?.dims(), [24, 28, 28]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there are no such dimensions.
    pub fn flatten_dims(&self, start_dim: isize, end_dim: isize) -> Result<Self> {
        const OP: &str = "flatten_dims";
        if self.dims().is_empty() {
            return self.reshape([1_usize]);
        }
        let [start, end] =
            [dim_of(OP, start_dim, self.shape())?, dim_of(OP, end_dim, self.shape())?];
        if start > end {
            let message = format!("{}: {start_dim} is behind {end_dim}", self.shape());
            return Err(Error::shape(OP, message));
        }
        let merged = Shape::from(&self.dims()[start..=end]).numel();
        self.reshape([&self.dims()[..start], &[merged], &self.dims()[end + 1..]].concat())
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
