//! Softmax and its logarithm along one dimension.

mod cpu;
pub(crate) mod cuda;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::Float;
use crate::ops::dims::place_of;
use crate::ops::numel32;
use crate::ops::sum::ChannelGeometry;
use crate::{Result, Shape, Tensor};

kernels! {
    /// What softmax asks of a device: rows are the `channels` elements of each `(outer, inner)`.
    pub(crate) trait SoftmaxKernels<T: Float>: Backend {
        /// `y = exp(x - max) / sum of exp(x - max)` of each row, or its logarithm.
        fn softmax_forward(
            &self,
            geometry: &ChannelGeometry,
            log: bool,
            x: Self::View<'_, T>,
            y: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// From the saved output: `grad_x = y (grad_y - sum of y grad_y)`, or of the logarithm
        /// `grad_x = grad_y - exp(y) (sum of grad_y)`.
        fn softmax_backward(
            &self,
            geometry: &ChannelGeometry,
            log: bool,
            y: Self::View<'_, T>,
            grad_y: Self::View<'_, T>,
            grad_x: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// Of the forward pass: 6 FLOP an element, an exponential counted as one.
fn forward_cost<T>(geometry: &ChannelGeometry) -> Cost {
    Cost::elementwise::<T>(geometry.numel(), 2, 6)
}

/// Of the backward pass: 4 FLOP an element.
fn backward_cost<T>(geometry: &ChannelGeometry, accumulate: bool) -> Cost {
    Cost::elementwise::<T>(geometry.numel(), 3 + u64::from(accumulate), 4)
}

/// `shape` around its dimension `dim`, which counts from the end where it is negative. A scalar
/// counts as one dimension of size 1.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) in the name of `op` when there is no such dimension.
pub(crate) fn around_dim(op: &'static str, shape: &Shape, dim: isize) -> Result<ChannelGeometry> {
    let dims = if shape.rank() == 0 { &[1] } else { shape.dims() };
    let place = place_of(op, dim, dims.len(), shape)?;
    numel32(op, shape)?;
    let outer = numel32(op, &Shape::from(&dims[..place]))?;
    let channels = numel32(op, &Shape::from([dims[place]]))?;
    let inner = numel32(op, &Shape::from(&dims[place + 1..]))?;
    Ok(ChannelGeometry { outer, channels, inner })
}

impl<T: Float> Tensor<T> {
    /// `exp(x) / sum of exp(x)` along `dim`, which counts from the end where it is negative, as
    /// `torch.softmax`. Along it the result adds up to 1; it is NaN where all of `x` is `-inf`, or
    /// something NaN or `inf`.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 1.0, 5.0, f32::NEG_INFINITY], [2, 2])?;
    /// assert_eq!(x.softmax(-1)?.to_vec()?, [0.5, 0.5, 1.0, 0.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when there is no such dimension.
    pub fn softmax(&self, dim: isize) -> Result<Self> {
        softmax("softmax", self, dim, false)
    }

    /// The logarithm of [`Tensor::softmax`] along `dim`, as `torch.log_softmax`: exact where the
    /// softmax itself would round to 0.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[0.0_f32, 1000.0], [2])?;
    /// assert_eq!(x.log_softmax(0)?.to_vec()?, [-1000.0, 0.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when there is no such dimension.
    pub fn log_softmax(&self, dim: isize) -> Result<Self> {
        softmax("log_softmax", self, dim, true)
    }
}

fn softmax<T: Float>(op: &'static str, x: &Tensor<T>, dim: isize, log: bool) -> Result<Tensor<T>> {
    let geometry = around_dim(op, x.shape(), dim)?;
    let device = x.device().clone();
    let mut y = device.alloc(x.numel())?;
    device.softmax_forward(&geometry, log, x.read().view(), Device::view_mut(&mut y))?;
    let output = Tensor::from_buffer(&device, y, x.shape().clone());
    let y = output.save(op, "output");
    Ok(output.with_grad_fn([Some(x)], move |[x], gradient, gradients| {
        let Some(output) = gradients.output(x, y.numel())? else { return Ok(()) };
        device.softmax_backward(&geometry, log, y.read()?.view(), gradient.read().view(), output)
    }))
}
