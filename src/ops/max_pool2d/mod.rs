//! Max pooling; ties go to the first maximum in row-major order, NaN wins.

mod cpu;
mod cuda;
mod options;

pub use options::MaxPool2d;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::{index32, numel32};
use crate::{Error, Result, Shape, Tensor};

/// Sizes of one max pooling.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct MaxPool2dGeometry {
    /// `N * C`: every plane by itself.
    pub planes: u32,
    /// Rows of the input.
    pub height: u32,
    /// Columns of the input.
    pub width: u32,
    /// Rows of the output.
    pub out_height: u32,
    /// Columns of the output.
    pub out_width: u32,
    /// Rows and columns of a window.
    pub kernel_size: [u32; 2],
    /// Steps between windows.
    pub stride: [u32; 2],
    /// Rows and columns of minus infinity around the input.
    pub padding: [u32; 2],
}

impl Plain for MaxPool2dGeometry {}

impl MaxPool2dGeometry {
    /// The geometry of `pool` on input `[N, C, H, W]`, and the output's shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the input has another rank or the window does not fit.
    pub fn new(pool: &MaxPool2d, input: &Shape) -> Result<(Self, Shape)> {
        const OP: &str = "max_pool2d";
        let [n, c, height, width] = input.expect(OP, "[N, C, H, W]")?;
        numel32(OP, input)?;
        let mut out = [0; 2];
        for (axis, size) in [height, width].into_iter().enumerate() {
            let (kernel, stride, padding) =
                (pool.kernel_size[axis], pool.stride[axis], pool.padding[axis]);
            if size == 0 || kernel == 0 || stride == 0 || padding > kernel / 2 {
                let message = format!(
                    "input {input}, kernel_size {kernel}, stride {stride}, padding {padding}: sizes start at 1 and padding is at most half the kernel"
                );
                return Err(Error::shape(OP, message));
            }
            for value in [size, kernel, stride] {
                index32(OP, value)?;
            }
            let padded = size + 2 * padding;
            index32(OP, padded)?;
            if padded < kernel {
                let message = format!(
                    "input {input}: a window of {kernel} does not fit into {size} + 2 * {padding}"
                );
                return Err(Error::shape(OP, message));
            }
            let span = padded - kernel;
            out[axis] = 1 + if pool.ceil_mode { span.div_ceil(stride) } else { span / stride };
            // PyTorch drops a last window that would start in the padding on the right.
            if pool.ceil_mode && (out[axis] - 1) * stride >= size + padding {
                out[axis] -= 1;
            }
        }
        let geometry = Self {
            planes: (n * c) as u32,
            height: height as u32,
            width: width as u32,
            out_height: out[0] as u32,
            out_width: out[1] as u32,
            kernel_size: pool.kernel_size.map(|size| size as u32),
            stride: pool.stride.map(|size| size as u32),
            padding: pool.padding.map(|size| size as u32),
        };
        let output = Shape::from([n, c, out[0], out[1]]);
        numel32(OP, &output)?;
        Ok((geometry, output))
    }

    /// Elements of the input and of the output.
    fn numels(&self) -> [u64; 2] {
        let planes = u64::from(self.planes);
        let plane = |height, width| planes * u64::from(height) * u64::from(width);
        [plane(self.height, self.width), plane(self.out_height, self.out_width)]
    }

    /// Of the forward pass: a comparison for each place of each window; reads the input once, writes
    /// output and argmax.
    pub fn forward_cost<T>(&self) -> Cost {
        let [input, output] = self.numels();
        let window = self.kernel_size.map(u64::from).iter().product::<u64>();
        let cost = Cost { flops: output * window, bytes: 0 };
        cost.moving::<T>(input + output).moving::<i32>(output)
    }

    /// Of the backward pass: an addition for each window; reads the gradient and argmax, writes the
    /// input's gradient.
    pub fn backward_cost<T>(&self) -> Cost {
        let [input, output] = self.numels();
        Cost { flops: output, bytes: 0 }.moving::<T>(input + output).moving::<i32>(output)
    }

    /// The input rows (axis 0) or columns (axis 1) of output row or column `out`, clipped to the
    /// input.
    pub(crate) fn window(&self, axis: usize, out: usize) -> std::ops::Range<usize> {
        let size = [self.height, self.width][axis] as usize;
        let start = out * self.stride[axis] as usize;
        let padding = self.padding[axis] as usize;
        let end = start + self.kernel_size[axis] as usize;
        start.saturating_sub(padding)..end.saturating_sub(padding).min(size)
    }
}

kernels! {
    /// What max pooling asks of a device.
    pub(crate) trait MaxPool2dKernels<T: Float>: Backend {
        /// The maximum of each window, and its index `row * width + column` in the input plane. The
        /// first maximum in row-major order wins; a NaN wins over everything, the last one of several
        /// (as in PyTorch).
        fn max_pool2d_forward(
            &self,
            geometry: &MaxPool2dGeometry,
            input: Self::View<'_, T>,
            output: Self::ViewMut<'_, T>,
            argmax: Self::ViewMut<'_, i32>,
        ) -> Result<()>;

        /// Sends each window's gradient to its maximum.
        fn max_pool2d_backward(
            &self,
            geometry: &MaxPool2dGeometry,
            argmax: Self::View<'_, i32>,
            grad_output: Self::View<'_, T>,
            grad_input: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// The maximum of each window, as `torch.nn.functional.max_pool2d`: `[N, C, H, W]` to
/// `[N, C, OH, OW]`, and the indices into the input planes.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::nn::MaxPool2d;
/// use signet::ops::max_pool2d::max_pool2d;
///
/// let device = Device::cpu()?;
/// let image = Tensor::from_slice(&device, &[1.0_f32, 4.0, 3.0, 2.0], [1, 1, 2, 2])?;
/// let (largest, place) = max_pool2d(&image, &MaxPool2d::new(2))?;
/// assert_eq!((largest.item()?, place.item()?), (4.0, 1));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when the input has another rank or the window does not fit.
pub fn max_pool2d<T: Float>(
    input: &Tensor<T>,
    pool: &MaxPool2d,
) -> Result<(Tensor<T>, Tensor<i32>)> {
    let (geometry, shape) = MaxPool2dGeometry::new(pool, input.shape())?;
    let device = input.device().clone();
    let mut y = device.alloc(shape.numel())?;
    let mut argmax = device.alloc(shape.numel())?;
    device.max_pool2d_forward(
        &geometry,
        input.read().view(),
        Device::view_mut(&mut y),
        Device::view_mut(&mut argmax),
    )?;
    let output = Tensor::from_buffer(&device, y, shape.clone());
    let argmax = Tensor::from_buffer(&device, argmax, shape);
    let (indices, numel) = (argmax.detach(), input.numel());
    let argmax = argmax.save("max_pool2d", "places of the maxima");
    let output = output.with_grad_fn([Some(input)], move |[x], gradient, gradients| {
        let Some(output) = gradients.output(x, numel)? else { return Ok(()) };
        device.max_pool2d_backward(&geometry, argmax.read()?.view(), gradient.read().view(), output)
    });
    Ok((output, indices))
}
