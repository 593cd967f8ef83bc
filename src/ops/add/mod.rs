//! Elementwise addition, the second operand repeated over leading dimensions.

mod cpu;
mod cuda;

use crate::device::{Backend, Device, Output, kernels};
use crate::dtype::Float;
use crate::ops::numel32;
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::{Error, Result, Shape, Tensor};

kernels! {
    /// What addition asks of a device.
    pub(crate) trait AddKernels<T: Float>: Backend {
        /// `y[i] = a[i] + b[i % len(b)]`.
        fn add(
            &self,
            a: Self::View<'_, T>,
            b: Self::View<'_, T>,
            y: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// `y[i] = x[i]`, or `y[i] += x[i]`: a gradient that is passed on.
        fn accumulate(&self, x: Self::View<'_, T>, y: Output<'_, Self, T>) -> Result<()>;
    }
}

/// How the second operand repeats: the first seen as `[outer, len(b), 1]`.
pub(crate) fn repeat<T: Float>(
    op: &'static str,
    a: &Tensor<T>,
    b: &Tensor<T>,
) -> Result<ChannelGeometry> {
    if !a.dims().ends_with(b.dims()) {
        let message = format!(
            "{} and {}: the second shape must be the first or its last dimensions",
            a.shape(),
            b.shape()
        );
        return Err(Error::shape(op, message));
    }
    numel32(op, a.shape())?;
    let leading = Shape::from(&a.dims()[..a.dims().len() - b.dims().len()]);
    let (outer, channels) = (numel32(op, &leading)?, numel32(op, b.shape())?);
    Ok(ChannelGeometry { outer, channels, inner: 1 })
}

impl<T: Float> Tensor<T> {
    /// `self + other`; `other` has the same shape or the last dimensions of it (a bias, a scalar).
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.add(&x)?.to_vec()?, [2.0, 4.0, 6.0, 8.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for other shapes.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let geometry = repeat("add", self, other)?;
        let device = self.device().clone();
        let mut y = device.alloc(self.numel())?;
        device.add(self.read().view(), other.read().view(), Device::view_mut(&mut y))?;
        let output = Self::from_buffer(&device, y, self.shape().clone());
        let inputs = [Some(self), Some(other)];
        Ok(output.with_grad_fn(inputs, move |[a, b], gradient, gradients| {
            if let Some(output) = gradients.output(b, geometry.channels as usize)? {
                device.channel_sum(&geometry, T::one(), gradient.read().view(), output)?;
            }
            gradients.pass(a, gradient)
        }))
    }
}
