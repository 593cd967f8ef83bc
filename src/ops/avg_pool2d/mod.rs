//! Average pooling: windows of a fixed size, and windows that make an output of a fixed size.

mod cpu;
mod cuda;
mod options;

pub use options::{AdaptiveAvgPool2d, AvgPool2d, OutputSize};

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::ops::windows::Windows;
use crate::ops::{index32, numel32};
use crate::{Error, Result, Shape, Tensor};
use std::ops::Range;

/// Sizes of one average pooling; `[rows, columns]` for each pair.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct AvgPool2dGeometry {
    /// `N * C`: every plane by itself.
    pub planes: u32,
    /// Rows and columns of the input.
    pub size: [u32; 2],
    /// Rows and columns of the output.
    pub out: [u32; 2],
    /// Rows and columns of a window; 0: windows are shares of the input (adaptive).
    pub kernel_size: [u32; 2],
    /// Steps between windows.
    pub stride: [u32; 2],
    /// Rows and columns of zeros around the input.
    pub padding: [u32; 2],
    /// What sums are divided by; 0: the elements of the window.
    pub divisor: u32,
    /// 1: elements in the padding count; 0: not.
    pub count_padding: u32,
}

impl Plain for AvgPool2dGeometry {}

impl AvgPool2dGeometry {
    /// The geometry of `pool` on input `[N, C, H, W]`, and the output's shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the input has another rank or the window does not fit;
    /// [`Error::Argument`] for a divisor of 0.
    pub fn new(pool: &AvgPool2d, input: &Shape) -> Result<(Self, Shape)> {
        const OP: &str = "avg_pool2d";
        let [n, c, height, width] = input.expect(OP, "[N, C, H, W]")?;
        numel32(OP, input)?;
        let axis = |axis: usize| Windows {
            kernel: pool.kernel_size[axis],
            stride: pool.stride[axis],
            padding: pool.padding[axis],
            dilation: 1,
            ceil_mode: pool.ceil_mode,
        };
        let out = [axis(0).count(OP, input, height)?, axis(1).count(OP, input, width)?];
        let divisor = match pool.divisor_override {
            Some(0) => {
                return Err(Error::argument("divisor_override", "must be at least 1, got 0"));
            }
            divisor => index32(OP, divisor.unwrap_or(0))?,
        };
        let output = Shape::from([n, c, out[0], out[1]]);
        numel32(OP, &output)?;
        let geometry = Self {
            planes: (n * c) as u32,
            size: [height, width].map(|size| size as u32),
            out: out.map(|size| size as u32),
            kernel_size: pool.kernel_size.map(|size| size as u32),
            stride: pool.stride.map(|size| size as u32),
            padding: pool.padding.map(|size| size as u32),
            divisor,
            count_padding: u32::from(pool.count_include_pad),
        };
        Ok((geometry, output))
    }

    /// The geometry of `pool` on input `[N, C, H, W]`, and the output's shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the input has another rank, or rows or columns are 0.
    pub fn adaptive(pool: &AdaptiveAvgPool2d, input: &Shape) -> Result<(Self, Shape)> {
        const OP: &str = "adaptive_avg_pool2d";
        let [n, c, height, width] = input.expect(OP, "[N, C, H, W]")?;
        numel32(OP, input)?;
        if height == 0 || width == 0 {
            let message = format!("input {input}: there must be a row and a column at least");
            return Err(Error::shape(OP, message));
        }
        let [rows, columns] = pool.output_size;
        let out = [rows.unwrap_or(height), columns.unwrap_or(width)];
        for size in out {
            index32(OP, size)?;
        }
        let output = Shape::from([n, c, out[0], out[1]]);
        numel32(OP, &output)?;
        let geometry = Self {
            planes: (n * c) as u32,
            size: [height, width].map(|size| size as u32),
            out: out.map(|size| size as u32),
            ..bytemuck::Zeroable::zeroed()
        };
        Ok((geometry, output))
    }

    /// The input rows (axis 0) or columns (axis 1) of output row or column `out`, and how many elements
    /// that are, with the padding if it counts.
    pub(crate) fn window(&self, axis: usize, out: usize) -> (Range<usize>, usize) {
        let [size, outs, kernel, stride, padding] = [
            self.size[axis],
            self.out[axis],
            self.kernel_size[axis],
            self.stride[axis],
            self.padding[axis],
        ]
        .map(|size| size as usize);
        if kernel == 0 {
            let range = out * size / outs..((out + 1) * size).div_ceil(outs);
            return (range.clone(), range.len());
        }
        let start = out * stride;
        let end = (start + kernel).min(size + 2 * padding);
        let range = start.saturating_sub(padding)..end.saturating_sub(padding).min(size);
        let count = if self.count_padding == 1 { end - start } else { range.len() };
        (range, count)
    }

    /// Whether all of a plane is one window and all of it counts: then it is a mean.
    fn is_global(&self) -> bool {
        let whole = self.kernel_size == [0, 0]
            || (self.kernel_size == self.size && self.padding == [0, 0] && self.divisor == 0);
        self.out == [1, 1] && whole
    }

    /// Each plane as a channel to be summed.
    fn plane_sums(&self) -> ChannelGeometry {
        ChannelGeometry { outer: 1, channels: self.planes, inner: self.size[0] * self.size[1] }
    }

    /// Of either pass: an addition for each place of each window and a division; reads one of input and
    /// output and writes the other.
    pub fn cost<T>(&self) -> Cost {
        let planes = u64::from(self.planes);
        let plane = |[rows, columns]: [u32; 2]| planes * u64::from(rows) * u64::from(columns);
        let (input, output) = (plane(self.size), plane(self.out));
        let places = match self.kernel_size {
            [0, 0] => input,
            [rows, columns] => output * u64::from(rows) * u64::from(columns),
        };
        Cost { flops: places + output, bytes: 0 }.moving::<T>(input + output)
    }
}

kernels! {
    /// What average pooling asks of a device.
    pub(crate) trait AvgPool2dKernels<T: Float>: Backend {
        /// The sum of each window's elements, divided by how many they are or by the divisor; 0 for a
        /// window that lies in the padding alone.
        fn avg_pool2d_forward(
            &self,
            geometry: &AvgPool2dGeometry,
            input: Self::View<'_, T>,
            output: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// Spreads each window's gradient, divided alike, over its elements.
        fn avg_pool2d_backward(
            &self,
            geometry: &AvgPool2dGeometry,
            grad_output: Self::View<'_, T>,
            grad_input: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// The mean of each window, as `torch.nn.functional.avg_pool2d`: `[N, C, H, W]` to `[N, C, OH, OW]`, or
/// `[C, H, W]` to `[C, OH, OW]`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::nn::AvgPool2d;
/// use signet::ops::avg_pool2d::avg_pool2d;
///
/// let device = Device::cpu()?;
/// let image = Tensor::from_slice(&device, &[1.0_f32, 4.0, 3.0, 2.0], [1, 1, 2, 2])?;
/// assert_eq!(avg_pool2d(&image, &AvgPool2d::new(2))?.item()?, 2.5);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when the input has another rank or the window does not fit; [`Error::Argument`] for a
/// divisor of 0.
pub fn avg_pool2d<T: Float>(input: &Tensor<T>, pool: &AvgPool2d) -> Result<Tensor<T>> {
    of_images(input, |input| pooled(input, AvgPool2dGeometry::new(pool, input.shape())?))
}

/// The mean of each of as many windows as the output has elements, as
/// `torch.nn.functional.adaptive_avg_pool2d`: output row `i` of `OH` is over the input rows from `i H / OH`,
/// rounded down, to `(i + 1) H / OH`, rounded up. `[N, C, H, W]` to `[N, C, OH, OW]`, or `[C, H, W]` to
/// `[C, OH, OW]`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::nn::AdaptiveAvgPool2d;
/// use signet::ops::avg_pool2d::adaptive_avg_pool2d;
///
/// let device = Device::cpu()?;
/// let image = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0], [1, 1, 1, 3])?;
/// let halves = adaptive_avg_pool2d(&image, &AdaptiveAvgPool2d::new([None, Some(2)]))?;
/// assert_eq!(halves.to_vec()?, [1.5, 2.5]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when the input has another rank, or rows or columns are 0.
pub fn adaptive_avg_pool2d<T: Float>(
    input: &Tensor<T>,
    pool: &AdaptiveAvgPool2d,
) -> Result<Tensor<T>> {
    of_images(input, |input| pooled(input, AvgPool2dGeometry::adaptive(pool, input.shape())?))
}

/// What `pool` makes of `[N, C, H, W]`, or of one image `[C, H, W]`.
fn of_images<T: Float>(
    input: &Tensor<T>,
    pool: impl Fn(&Tensor<T>) -> Result<Tensor<T>>,
) -> Result<Tensor<T>> {
    let [c, h, w] = *input.dims() else { return pool(input) };
    let output = pool(&input.reshape([1, c, h, w])?)?;
    let shape = Shape::from(&output.dims()[1..]);
    output.reshape(shape)
}

fn pooled<T: Float>(
    input: &Tensor<T>,
    (geometry, shape): (AvgPool2dGeometry, Shape),
) -> Result<Tensor<T>> {
    let device = input.device().clone();
    let mut y = device.alloc(shape.numel())?;
    let planes = geometry.plane_sums();
    let share = T::one() / T::of(f64::from(planes.inner));
    if geometry.is_global() {
        let sums = Output { view: Device::view_mut(&mut y), accumulate: false };
        device.channel_sum(&planes, share, input.read().view(), sums)?;
    } else {
        device.avg_pool2d_forward(&geometry, input.read().view(), Device::view_mut(&mut y))?;
    }
    let (output, numel) = (Tensor::from_buffer(&device, y, shape), input.numel());
    Ok(output.with_grad_fn([Some(input)], move |[x], gradient, gradients| {
        let Some(output) = gradients.output(x, numel)? else { return Ok(()) };
        let gradient = gradient.read();
        if geometry.is_global() {
            return device.channel_expand(&planes, share, gradient.view(), output);
        }
        device.avg_pool2d_backward(&geometry, gradient.view(), output)
    }))
}
