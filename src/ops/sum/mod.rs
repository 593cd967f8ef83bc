//! Sums and means, and the sum over every dimension but one that gradients of biases need.

mod cpu;
pub(crate) mod cuda;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::numel32;
use crate::{Result, Shape, Tensor};

/// A tensor seen as `[outer, channels, inner]`; what is summed is everything but `channels`.
///
/// `[N, C, H, W]` is `{N, C, H * W}`, a matrix's columns are `{rows, cols, 1}`, and all of a tensor
/// is `{1, 1, numel}`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct ChannelGeometry {
    /// Extent outside the channels.
    pub outer: u32,
    /// Channels.
    pub channels: u32,
    /// Extent inside the channels.
    pub inner: u32,
}

impl Plain for ChannelGeometry {}

impl ChannelGeometry {
    /// Of summing each channel: reads every element once and adds it.
    pub fn sum_cost<T>(&self) -> Cost {
        Cost::elementwise::<T>(self.numel(), 1, 1).moving::<T>(u64::from(self.channels))
    }

    /// Of spreading a value of each channel over its elements: writes each, and reads it to
    /// accumulate.
    pub fn expand_cost<T>(&self, accumulate: bool) -> Cost {
        let moved = if accumulate { 2 } else { 1 };
        Cost::elementwise::<T>(self.numel(), moved, 1).moving::<T>(u64::from(self.channels))
    }

    /// `outer * channels * inner`.
    pub fn numel(&self) -> usize {
        self.outer as usize * self.channels as usize * self.inner as usize
    }
}

kernels! {
    /// What sums ask of a device.
    pub(crate) trait SumKernels<T: Float>: Backend {
        /// `sums[c] = scale * sum over o, i of x[o, c, i]`, in an order that depends on the geometry
        /// alone.
        fn channel_sum(
            &self,
            geometry: &ChannelGeometry,
            scale: T,
            x: Self::View<'_, T>,
            sums: Output<'_, Self, T>,
        ) -> Result<()>;

        /// `x[o, c, i] = scale * values[c]`: the gradient of [`SumKernels::channel_sum`].
        fn channel_expand(
            &self,
            geometry: &ChannelGeometry,
            scale: T,
            values: Self::View<'_, T>,
            x: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

impl<T: Float> Tensor<T> {
    /// The sum of all elements, a scalar `[]`.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.sum()?.item()?, 10.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn sum(&self) -> Result<Self> {
        scaled_sum("sum", self, T::one())
    }

    /// The mean of all elements, a scalar `[]`; NaN for an empty tensor.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.mean()?.item()?, 2.5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn mean(&self) -> Result<Self> {
        scaled_sum("mean", self, T::one() / T::of(self.numel() as f64))
    }
}

fn scaled_sum<T: Float>(op: &'static str, x: &Tensor<T>, scale: T) -> Result<Tensor<T>> {
    let geometry = ChannelGeometry { outer: 1, channels: 1, inner: numel32(op, x.shape())? };
    let device = x.device().clone();
    let mut sum = device.alloc(1)?;
    let output = Output { view: Device::view_mut(&mut sum), accumulate: false };
    device.channel_sum(&geometry, scale, x.read().view(), output)?;
    let output = Tensor::from_buffer(&device, sum, Shape::default());
    Ok(output.with_grad_fn([Some(x)], move |[x], gradient, gradients| {
        let Some(output) = gradients.output(x, geometry.numel())? else { return Ok(()) };
        device.channel_expand(&geometry, scale, gradient.read().view(), output)
    }))
}
