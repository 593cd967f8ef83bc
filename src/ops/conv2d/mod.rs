//! Two-dimensional convolution (cross-correlation, as everywhere in deep learning).

mod cpu;
pub(crate) mod cuda;
mod options;

pub(crate) use cpu::{Frame, Layout, Phase, Sight};
pub use options::{Conv2dOptions, Padding};

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::ops::{index32, numel32};
use crate::{Error, Result, Shape, Tensor};

/// Sizes of one convolution; `[rows, columns]` for each pair.
///
/// Each group of channels is a convolution of its own, of `in_channels` by `out_channels`, side by side
/// in the same tensors.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Conv2dGeometry {
    /// Images.
    pub batch: u32,
    /// Groups of channels.
    pub groups: u32,
    /// Channels of the input, in one group.
    pub in_channels: u32,
    /// Rows of the input.
    pub height: u32,
    /// Columns of the input.
    pub width: u32,
    /// Channels of the output, in one group.
    pub out_channels: u32,
    /// Rows of the output.
    pub out_height: u32,
    /// Columns of the output.
    pub out_width: u32,
    /// Rows and columns of a filter.
    pub kernel_size: [u32; 2],
    /// Steps between filter positions.
    pub stride: [u32; 2],
    /// Zero rows above and columns left of the input. How many are below and on the right shows in
    /// the output's size.
    pub padding: [u32; 2],
    /// Distance between filter taps.
    pub dilation: [u32; 2],
}

impl Plain for Conv2dGeometry {}

/// Channels of a group, below which its matrices would leave most of a tile empty.
const NARROW: u32 = 8;

impl Conv2dGeometry {
    /// The geometry of input `[N, C, H, W]` and weight `[O, C / groups, KH, KW]`; an output is
    /// `floor((size + padding of both sides - dilation (kernel - 1) - 1) / stride) + 1`.
    ///
    /// # Errors
    /// [`Error::Shape`] when ranks or channels do not fit, the filter is larger than the padded
    /// input, or a size is 0 or too large.
    pub fn new(input: &Shape, weight: &Shape, options: &Conv2dOptions) -> Result<Self> {
        const OP: &str = "conv2d";
        let [batch, in_channels, height, width] = input.expect(OP, "[N, C, H, W]")?;
        let [out_channels, channels, kh, kw] =
            weight.expect(OP, "[O, C / groups, KH, KW] as weight")?;
        let Conv2dOptions { stride, dilation, groups, .. } = *options;
        if groups == 0 || out_channels % groups != 0 {
            let message = format!(
                "must be at least 1 and divide the output channels, got {groups} for weight {weight}"
            );
            return Err(Error::argument("groups", message));
        }
        if channels.checked_mul(groups) != Some(in_channels) {
            let message = format!(
                "input {input} has {in_channels} channels, weight {weight} takes {channels} in each of {groups} groups"
            );
            return Err(Error::shape(OP, message));
        }
        if in_channels == 0 || out_channels == 0 {
            return Err(Error::shape(
                OP,
                format!("weight {weight}: there must be at least one channel"),
            ));
        }
        let padding = options.sides([kh, kw])?;
        let mut out = [0; 2];
        for (axis, (size, kernel)) in [(height, kh), (width, kw)].into_iter().enumerate() {
            if size == 0 || kernel == 0 || stride[axis] == 0 || dilation[axis] == 0 {
                let message = format!(
                    "input {input}, weight {weight}, {options:?}: sizes, stride and dilation start at 1"
                );
                return Err(Error::shape(OP, message));
            }
            let [before, after] = padding[axis];
            for value in [size, kernel, stride[axis], before, after, dilation[axis]] {
                index32(OP, value)?;
            }
            let (padded, reach) = (before + size + after, dilation[axis] * (kernel - 1) + 1);
            index32(OP, padded)?;
            if padded < reach {
                let message = format!(
                    "input {input}: a filter that reaches over {reach} does not fit into {before} + {size} + {after}"
                );
                return Err(Error::shape(OP, message));
            }
            out[axis] = (padded - reach) / stride[axis] + 1;
        }
        numel32(OP, input)?;
        numel32(OP, weight)?;
        numel32(OP, &Shape::from([batch, out_channels, out[0], out[1]]))?;
        Ok(Self {
            batch: batch as u32,
            groups: groups as u32,
            in_channels: channels as u32,
            height: height as u32,
            width: width as u32,
            out_channels: (out_channels / groups) as u32,
            out_height: out[0] as u32,
            out_width: out[1] as u32,
            kernel_size: [kh as u32, kw as u32],
            stride: stride.map(|size| size as u32),
            padding: padding.map(|[before, _]| before as u32),
            dilation: dilation.map(|size| size as u32),
        })
    }

    /// All but the batch, as `specialise` of `kernels/conv2d.cu` takes them: what kernels may be
    /// compiled for.
    pub(crate) fn constants(&self) -> &[u32] {
        &bytemuck::cast_slice(std::slice::from_ref(self))[1..]
    }

    /// Whether it is the most usual convolution, of all channels with filters of 3x3 and the size kept.
    pub(crate) fn keeps_size(&self) -> bool {
        self.groups == 1
            && self.kernel_size == [3, 3]
            && self.stride == [1, 1]
            && self.padding == [1, 1]
            && self.dilation == [1, 1]
            && [self.out_height, self.out_width] == [self.height, self.width]
    }

    /// Of any of the three passes: each multiplies every output pixel's patch with every filter of its
    /// group, `2 N O OH OW C / G KH KW` FLOP, reads two of input, weight and output, and writes the third.
    pub fn cost<T>(&self) -> Cost {
        let groups = u64::from(self.groups);
        let [n, c, o] = [self.batch, self.in_channels, self.out_channels].map(u64::from);
        let taps = c * self.kernel_size.map(u64::from).iter().product::<u64>();
        let pixels = n * u64::from(self.out_height) * u64::from(self.out_width);
        let input = n * c * u64::from(self.height) * u64::from(self.width);
        let flops = 2 * groups * pixels * o * taps;
        Cost { flops, bytes: 0 }.moving::<T>(groups * (input + o * taps + pixels * o))
    }

    /// Taps of a filter, over all channels of its group.
    pub(crate) fn taps(&self) -> u32 {
        self.in_channels * self.kernel_size[0] * self.kernel_size[1]
    }

    /// Channels of the output, of all groups.
    pub(crate) fn filters(&self) -> u32 {
        self.groups * self.out_channels
    }

    /// Whether groups are too small to be worth a matrix product each.
    pub(crate) fn is_narrow(&self) -> bool {
        self.groups > 1 && self.in_channels.max(self.out_channels) < NARROW
    }

    /// Rows of the input, or, for axis 1, columns.
    pub(crate) fn size(&self, axis: usize) -> usize {
        [self.height, self.width][axis] as usize
    }

    /// Rows of the output, or, for axis 1, columns.
    pub(crate) fn out_size(&self, axis: usize) -> usize {
        [self.out_height, self.out_width][axis] as usize
    }

    /// Taps of one channel of a filter.
    pub(crate) fn filter_taps(&self) -> usize {
        self.kernel_size.iter().map(|&size| size as usize).product()
    }

    /// `[N, O, OH, OW]`.
    pub fn output_shape(&self) -> Shape {
        Shape::from(
            [self.batch, self.filters(), self.out_height, self.out_width].map(|size| size as usize),
        )
    }
}

kernels! {
    /// What convolution asks of a device.
    pub(crate) trait Conv2dKernels<T: Float>: Backend {
        /// `output[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] *
        /// input[n, c, y stride + i dilation - padding, x stride + j dilation - padding]`, `c` being
        /// the channels of the group that `o` is in.
        fn conv2d_forward(
            &self,
            geometry: &Conv2dGeometry,
            input: Self::View<'_, T>,
            weight: Self::View<'_, T>,
            bias: Option<Self::View<'_, T>>,
            output: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// The gradient of the input, `[N, C, H, W]`.
        fn conv2d_backward_input(
            &self,
            geometry: &Conv2dGeometry,
            grad_output: Self::View<'_, T>,
            weight: Self::View<'_, T>,
            grad_input: Output<'_, Self, T>,
        ) -> Result<()>;

        /// The gradient of the weight, `[O, C / G, KH, KW]`.
        fn conv2d_backward_weight(
            &self,
            geometry: &Conv2dGeometry,
            input: Self::View<'_, T>,
            grad_output: Self::View<'_, T>,
            grad_weight: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// Convolves `input [N, C, H, W]`, or one image `[C, H, W]`, with `weight [O, C / groups, KH, KW]` and
/// adds `bias [O]`, as `torch.nn.functional.conv2d`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::conv2d::{Conv2dOptions, conv2d};
///
/// let device = Device::cpu()?;
/// let image = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
/// let ones = Tensor::from_slice(&device, &[1.0; 4], [1, 1, 2, 2])?;
/// let sum = conv2d(&image, &ones, None, &Conv2dOptions::default())?;
/// assert_eq!((sum.dims(), sum.item()?), (&[1, 1, 1, 1][..], 10.0));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when ranks or channels do not fit, the filter is larger than the padded input, or a
/// size is 0 or too large; [`Error::Argument`] for groups that do not divide the channels, and for
/// [`Padding::Same`] with a stride.
pub fn conv2d<T: Float>(
    input: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: &Conv2dOptions,
) -> Result<Tensor<T>> {
    if let [c, h, w] = *input.dims() {
        let output = conv2d(&input.reshape([1, c, h, w])?, weight, bias, options)?;
        let shape = Shape::from(&output.dims()[1..]);
        return output.reshape(shape);
    }
    let geometry = Conv2dGeometry::new(input.shape(), weight.shape(), options)?;
    let shape = geometry.output_shape();
    let out_channels = geometry.filters() as usize;
    if let Some(bias) = bias
        && bias.dims() != [out_channels]
    {
        let message = format!("bias {} for {out_channels} output channels", bias.shape());
        return Err(Error::shape("conv2d", message));
    }
    let device = input.device().clone();
    let mut y = device.alloc(shape.numel())?;
    {
        let bias = bias.map(Tensor::read);
        let bias = bias.as_ref().map(|bias| bias.view());
        let (input, weight) = (input.read(), weight.read());
        device.conv2d_forward(
            &geometry,
            input.view(),
            weight.view(),
            bias,
            Device::view_mut(&mut y),
        )?;
    }
    let output = Tensor::from_buffer(&device, y, shape);
    let (x, w) = (input.save("conv2d", "input"), weight.save("conv2d", "weight"));
    let inputs = [Some(input), Some(weight), bias];
    Ok(output.with_grad_fn(inputs, move |nodes, gradient, gradients| {
        let [x_node, w_node, b_node] = nodes;
        let gradient = gradient.read();
        let gradient = gradient.view();
        if let Some(output) = gradients.output(x_node, x.numel())? {
            device.conv2d_backward_input(&geometry, gradient, w.read()?.view(), output)?;
        }
        if let Some(output) = gradients.output(w_node, w.numel())? {
            device.conv2d_backward_weight(&geometry, x.read()?.view(), gradient, output)?;
        }
        if let Some(output) = gradients.output(b_node, out_channels)? {
            let pixels = geometry.out_height * geometry.out_width;
            let channels = ChannelGeometry {
                outer: geometry.batch,
                channels: geometry.filters(),
                inner: pixels,
            };
            device.channel_sum(&channels, T::one(), gradient, output)?;
        }
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_convolution_of_the_notebook_costs_this() {
        let options = Conv2dOptions { padding: 1.into(), ..Default::default() };
        let [input, weight] = [Shape::from([32, 25, 14, 14]), Shape::from([50, 25, 3, 3])];
        let cost = Conv2dGeometry::new(&input, &weight, &options).unwrap().cost::<f32>();
        // 32 images of 14 x 14 pixels, 50 filters of 225 taps, a multiplication and an addition.
        assert_eq!(cost.flops, 2 * 32 * 196 * 50 * 225);
        assert_eq!(cost.bytes, 4 * (32 * 25 * 196 + 50 * 225 + 32 * 50 * 196));
    }

    #[test]
    fn a_stride_leaves_out_pixels() {
        let options = Conv2dOptions { stride: [2, 3], ..Default::default() };
        let [input, weight] = [Shape::from([2, 3, 9, 11]), Shape::from([5, 3, 3, 2])];
        let cost = Conv2dGeometry::new(&input, &weight, &options).unwrap().cost::<f64>();
        assert_eq!(cost.flops, 2 * 2 * (4 * 4) * 5 * (3 * 3 * 2));
        assert_eq!(cost.bytes, 8 * (2 * 3 * 9 * 11 + 5 * 3 * 3 * 2 + 2 * 5 * 4 * 4));
    }
}
