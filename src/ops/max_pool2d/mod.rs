//! Max pooling; ties go to the first maximum in row-major order, NaN wins.

mod cpu;
mod cuda;
mod options;

pub use options::MaxPool2d;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::numel32;
use crate::ops::windows::Windows;
use crate::{Result, Shape, Tensor};

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
    /// Distance between the places of a window.
    pub dilation: [u32; 2],
}

impl Plain for MaxPool2dGeometry {}

impl MaxPool2dGeometry {
    /// The geometry of `pool` on input `[N, C, H, W]`, and the output's shape.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the input has another rank or the window does not fit.
    pub fn new(pool: &MaxPool2d, input: &Shape) -> Result<(Self, Shape)> {
        const OP: &str = "max_pool2d";
        let [n, c, height, width] = input.expect(OP, "[N, C, H, W]")?;
        numel32(OP, input)?;
        let axis = |axis: usize| Windows {
            kernel: pool.kernel_size[axis],
            stride: pool.stride[axis],
            padding: pool.padding[axis],
            dilation: pool.dilation[axis],
            ceil_mode: pool.ceil_mode,
        };
        let out = [axis(0).count(OP, input, height)?, axis(1).count(OP, input, width)?];
        let geometry = Self {
            planes: (n * c) as u32,
            height: height as u32,
            width: width as u32,
            out_height: out[0] as u32,
            out_width: out[1] as u32,
            kernel_size: pool.kernel_size.map(|size| size as u32),
            stride: pool.stride.map(|size| size as u32),
            padding: pool.padding.map(|size| size as u32),
            dilation: pool.dilation.map(|size| size as u32),
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

    /// The input rows (axis 0) or columns (axis 1) of output row or column `out`, as far as they are in
    /// the input: from the first on every `dilation`-th.
    pub(crate) fn window(&self, axis: usize, out: usize) -> std::ops::Range<usize> {
        let size = [self.height, self.width][axis] as usize;
        let [kernel, stride, padding, dilation] =
            [self.kernel_size[axis], self.stride[axis], self.padding[axis], self.dilation[axis]]
                .map(|size| size as usize);
        let start = out * stride;
        let skipped = padding.saturating_sub(start).div_ceil(dilation) * dilation;
        let end = start + (kernel - 1) * dilation + 1;
        start + skipped - padding..end.saturating_sub(padding).min(size)
    }
}

kernels! {
    /// What max pooling asks of a device.
    pub(crate) trait MaxPool2dKernels<T: Float>: Backend {
        /// The maximum of each window, and its index `row * width + column` in the input plane. The
        /// first maximum in row-major order wins; a NaN wins over everything, the last one of several
        /// (as in PyTorch). A window that a dilation leaves no place in the input is minus infinity, of
        /// index -1.
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
/// `[N, C, OH, OW]`, or `[C, H, W]` to `[C, OH, OW]`, and the indices into the input planes.
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
/// [`Error::Shape`](crate::Error::Shape) when the input has another rank or the window does not fit.
pub fn max_pool2d<T: Float>(
    input: &Tensor<T>,
    pool: &MaxPool2d,
) -> Result<(Tensor<T>, Tensor<i32>)> {
    if let [c, h, w] = *input.dims() {
        let (output, indices) = max_pool2d(&input.reshape([1, c, h, w])?, pool)?;
        let shape = Shape::from(&output.dims()[1..]);
        return Ok((output.reshape(shape.clone())?, indices.detach_as(shape)));
    }
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
