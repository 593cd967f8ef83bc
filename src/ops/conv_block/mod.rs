//! A block of a convolutional network as one op: convolution, batch normalisation, rectifier,
//! dropout and max pooling, without the passes over memory between them.
//!
//! It computes what the five ops compute one after the other, and is tested against them. A device
//! decides what it keeps for the backward pass, its `ConvBlockSaved`.

mod cpu;
mod cuda;

use crate::autograd::is_recorded;
use crate::device::{
    AnyView, AnyViewMut, Backend, Cost, Cpu, Cuda, Device, On, Output, each_field_on,
};
use crate::dtype::{Float, Plain};
use crate::ops::batch_norm2d::{
    Affine, Running, Statistics, Tracked, batch_norm2d, check_apart, check_count, check_eps,
};
use crate::ops::conv2d::{Conv2dGeometry, Conv2dOptions, conv2d};
use crate::ops::dropout::{DropoutMask, DropoutView};
use crate::ops::max_pool2d::{MaxPool2d, MaxPool2dGeometry, max_pool2d};
use crate::ops::sum::ChannelGeometry;
use crate::tensor::Reading;
use crate::{Error, Result, SavedTensor, Tensor};

/// Attributes of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvBlockOptions {
    /// Of the convolution.
    pub conv: Conv2dOptions,
    /// Added to the variance.
    pub eps: f64,
    /// Windows side by side: see [`ConvBlockOptions::windows_apart`].
    pub pool: MaxPool2d,
}

impl ConvBlockOptions {
    /// Whether one op computes a block of these: a convolution of one group of channels, and windows that
    /// lie apart.
    pub fn can_fuse(conv: &Conv2dOptions, pool: &MaxPool2d) -> bool {
        conv.groups == 1 && Self::windows_apart(pool)
    }

    /// Whether no element lies in two windows of `pool`, nor a window in the padding: then a
    /// gradient goes to one place from one place, and a block can be one op.
    pub fn windows_apart(pool: &MaxPool2d) -> bool {
        let apart = (0..2).all(|axis| pool.stride[axis] >= pool.kernel_size[axis]);
        apart && pool.padding == [0, 0] && pool.dilation == [1, 1] && !pool.ceil_mode
    }
}

/// Sizes of a block.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct ConvBlockGeometry {
    /// Of the convolution.
    pub conv: Conv2dGeometry,
    /// Of the pooling over the convolution's output.
    pub pool: MaxPool2dGeometry,
}

impl Plain for ConvBlockGeometry {}

/// Numbers of a [`ConvBlockGeometry`].
const NUMBERS: usize = size_of::<ConvBlockGeometry>() / size_of::<u32>();

impl ConvBlockGeometry {
    /// All but the batch, and the planes that it decides, which are 0: what kernels may be compiled
    /// for, as `specialise` of `kernels/conv_block.cu` takes them.
    pub(crate) fn constants(&self) -> [u32; NUMBERS - 1] {
        let any = Self { pool: MaxPool2dGeometry { planes: 0, ..self.pool }, ..*self };
        let [_batch, constants @ ..] = bytemuck::cast::<_, [u32; NUMBERS]>(any);
        constants
    }

    /// The convolution's output as channels.
    pub fn channels(&self) -> ChannelGeometry {
        let Conv2dGeometry { batch, out_channels, out_height, out_width, .. } = self.conv;
        ChannelGeometry { outer: batch, channels: out_channels, inner: out_height * out_width }
    }

    /// Of everything behind the convolution: reads its output once and writes the maxima, 4 FLOP a
    /// pixel: 3 to normalise and 1 to rectify. The places of the maxima, a byte each, are written
    /// where they are kept.
    pub fn pool_cost<T>(&self, keep: bool) -> Cost {
        let places = if keep { self.windows() } else { 0 };
        let pooled = Cost::default().moving::<T>(self.windows()).moving::<u8>(places);
        Cost::elementwise::<T>(self.channels().numel(), 1, 4) + pooled
    }

    /// Of the two sums that the normalisation's gradients are made of: reads gradient, output, place
    /// and the pixel there of each window, 4 FLOP.
    pub fn sums_cost<T>(&self) -> Cost {
        Cost::elementwise::<T>(self.windows() as usize, 3, 4).moving::<u8>(self.windows())
    }

    /// Of the gradient of the convolution's output: reads and writes each of its pixels, 5 FLOP, and
    /// reads gradient, output and place of each window.
    pub fn unpool_cost<T>(&self) -> Cost {
        let pooled = Cost::default().moving::<T>(2 * self.windows()).moving::<u8>(self.windows());
        Cost::elementwise::<T>(self.channels().numel(), 2, 5) + pooled
    }

    /// `N O PH PW`.
    fn windows(&self) -> u64 {
        let MaxPool2dGeometry { planes, out_height, out_width, .. } = self.pool;
        u64::from(planes) * u64::from(out_height) * u64::from(out_width)
    }
}

/// What a block reads.
pub(crate) struct ConvBlockInputs<'a, M: Backend, T: Float> {
    /// `[N, C, H, W]`.
    pub input: M::View<'a, T>,
    /// Of the convolution, `[O, C, KH, KW]`.
    pub weight: M::View<'a, T>,
    /// Of the convolution, `[O]`.
    pub bias: Option<M::View<'a, T>>,
    /// Of the batch normalisation, `[O]` each.
    pub affine: Affine<'a, M, T>,
}

each_field_on!(ConvBlockInputs<'a, T: Float> { input, weight, bias, affine });

/// What a block normalises with.
pub(crate) enum Normaliser<'a, M: Backend, T: Float> {
    /// The batch's own statistics, towards which the running ones move.
    Batch(Option<Running<'a, M, T>>),
    /// Running statistics, `[O]` each.
    Running {
        /// The mean.
        mean: M::View<'a, T>,
        /// The unbiased variance.
        var: M::View<'a, T>,
    },
}

impl<'a, D: Backend, T: Float> On<D> for Normaliser<'a, Device, T> {
    type At = Normaliser<'a, D, T>;

    fn on(self, device: &D) -> Result<Self::At> {
        Ok(match self {
            Self::Batch(running) => Normaliser::Batch(running.on(device)?),
            Self::Running { mean, var } => {
                Normaliser::Running { mean: mean.on(device)?, var: var.on(device)? }
            }
        })
    }
}

/// The gradients of a block; `None` is not computed.
pub(crate) struct ConvBlockGradients<'a, M: Backend, T: Float> {
    /// `[N, C, H, W]`.
    pub input: Option<Output<'a, M, T>>,
    /// Of the convolution's weight, `[O, C, KH, KW]`.
    pub weight: Option<Output<'a, M, T>>,
    /// Of the convolution's bias, `[O]`.
    pub bias: Option<Output<'a, M, T>>,
    /// Of the normalisation's scale, `[O]`.
    pub scale: Option<Output<'a, M, T>>,
    /// Of the normalisation's shift, `[O]`.
    pub shift: Option<Output<'a, M, T>>,
}

each_field_on!(ConvBlockGradients<'a, T: Float> { input, weight, bias, scale, shift });

/// What a block asks of a device.
pub(crate) trait ConvBlockKernels<T: Float>: Backend {
    /// What a backward pass needs of the forward pass, beside inputs and output.
    type ConvBlockSaved: 'static;

    /// `output = max_pool(dropout(relu(batch_norm(conv(input)))))`, `[N, O, PH, PW]`; the elements
    /// to drop are counted over the convolution's output, `[N, O, OH, OW]`. What a backward pass needs is only made where it will come (`keep`).
    #[allow(clippy::too_many_arguments)]
    fn conv_block_forward(
        &self,
        geometry: &ConvBlockGeometry,
        eps: T,
        inputs: ConvBlockInputs<'_, Self, T>,
        normaliser: Normaliser<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        output: Self::ViewMut<'_, T>,
        keep: bool,
    ) -> Result<Option<Self::ConvBlockSaved>>;

    /// The gradients, from what the forward pass read, kept and wrote.
    #[allow(clippy::too_many_arguments)]
    fn conv_block_backward(
        &self,
        geometry: &ConvBlockGeometry,
        inputs: ConvBlockInputs<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        saved: Self::ConvBlockSaved,
        output: Self::View<'_, T>,
        grad_output: Self::View<'_, T>,
        gradients: ConvBlockGradients<'_, Self, T>,
    ) -> Result<()>;
}

/// A [`ConvBlockKernels::ConvBlockSaved`] of either device.
pub(crate) enum AnySaved<T: Float> {
    /// On the CPU.
    Cpu(<Cpu as ConvBlockKernels<T>>::ConvBlockSaved),
    /// On a GPU.
    Cuda(<Cuda as ConvBlockKernels<T>>::ConvBlockSaved),
}

/// By hand what `kernels!` writes for others: what is saved differs between the devices.
impl<T: Float> ConvBlockKernels<T> for Device {
    type ConvBlockSaved = AnySaved<T>;

    fn conv_block_forward(
        &self,
        geometry: &ConvBlockGeometry,
        eps: T,
        inputs: ConvBlockInputs<'_, Self, T>,
        normaliser: Normaliser<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        output: AnyViewMut<'_, T>,
        keep: bool,
    ) -> Result<Option<AnySaved<T>>> {
        macro_rules! on {
            ($device:ident, $kind:ident) => {{
                let (inputs, normaliser) = (inputs.on($device)?, normaliser.on($device)?);
                let (drop, output) = (drop.on($device)?, output.on($device)?);
                let saved = $device
                    .conv_block_forward(geometry, eps, inputs, normaliser, drop, output, keep)?;
                Ok(saved.map(AnySaved::$kind))
            }};
        }
        match self {
            Self::Cpu(cpu) => on!(cpu, Cpu),
            Self::Cuda(cuda) => on!(cuda, Cuda),
        }
    }

    fn conv_block_backward(
        &self,
        geometry: &ConvBlockGeometry,
        inputs: ConvBlockInputs<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        saved: AnySaved<T>,
        output: AnyView<'_, T>,
        grad_output: AnyView<'_, T>,
        gradients: ConvBlockGradients<'_, Self, T>,
    ) -> Result<()> {
        macro_rules! on {
            ($device:ident, $saved:ident) => {
                $device.conv_block_backward(
                    geometry,
                    inputs.on($device)?,
                    drop.on($device)?,
                    $saved,
                    output.on($device)?,
                    grad_output.on($device)?,
                    gradients.on($device)?,
                )
            };
        }
        match (self, saved) {
            (Self::Cpu(cpu), AnySaved::Cpu(saved)) => on!(cpu, saved),
            (Self::Cuda(cuda), AnySaved::Cuda(saved)) => on!(cuda, saved),
            _ => Err(Error::Autograd("a conv_block was kept on another device".into())),
        }
    }
}

/// The parameters of a block.
#[derive(Debug)]
pub struct ConvBlockParameters<'a, T: Float = f32> {
    /// Of the convolution, `[O, C, KH, KW]`.
    pub weight: &'a Tensor<T>,
    /// Of the convolution, `[O]`.
    pub bias: Option<&'a Tensor<T>>,
    /// Of the batch normalisation, `[O]`.
    pub scale: Option<&'a Tensor<T>>,
    /// Of the batch normalisation, `[O]`.
    pub shift: Option<&'a Tensor<T>>,
}

impl<T: Float> ConvBlockParameters<'_, T> {
    fn check(&self, channels: usize, statistics: &Statistics<'_, T>) -> Result<()> {
        let (mean, var) = match statistics {
            Statistics::Batch { running: None } => (None, None),
            Statistics::Batch { running: Some(Tracked { mean, var, .. }) }
            | Statistics::Running(mean, var) => (Some(*mean), Some(*var)),
        };
        let named = [
            ("bias", self.bias),
            ("scale", self.scale),
            ("shift", self.shift),
            ("running_mean", mean),
            ("running_var", var),
        ];
        match named.iter().find(|(_, tensor)| tensor.is_some_and(|t| t.dims() != [channels])) {
            Some((name, Some(tensor))) => {
                let message = format!("{name} {} for {channels} channels", tensor.shape());
                Err(Error::shape("conv_block", message))
            }
            _ => Ok(()),
        }
    }
}

/// `max_pool2d(dropout(relu(batch_norm2d(conv2d(input)))))` of `input [N, C, H, W]`; without a
/// `mask` nothing is dropped.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::nn::MaxPool2d;
/// use signet::ops::batch_norm2d::Statistics;
/// use signet::ops::conv2d::Conv2dOptions;
/// use signet::ops::conv_block::{ConvBlockOptions, ConvBlockParameters, conv_block};
/// use signet::{Device, Tensor};
///
/// let device = Device::cpu()?;
/// let image = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
/// let weight = Tensor::from_slice(&device, &[2.0], [1, 1, 1, 1])?;
/// let (mean, var) = (Tensor::zeros(&device, [1])?, Tensor::from_slice(&device, &[3.0], [1])?);
/// let parameters = ConvBlockParameters { weight: &weight, bias: None, scale: None, shift: None };
/// let options = ConvBlockOptions {
///     conv: Conv2dOptions::default(),
///     eps: 1.0,
///     pool: MaxPool2d::new(2),
/// };
/// let statistics = Statistics::Running(&mean, &var);
/// let block = conv_block(&image, &parameters, statistics, None, &options)?;
/// // The largest of 2, 4, 6, 8, divided by the square root of variance and eps.
/// assert_eq!(block.to_vec()?, [4.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As the ops that it is made of; [`Error::Argument`] for pooling windows that overlap, and for groups.
pub fn conv_block<T: Float>(
    input: &Tensor<T>,
    parameters: &ConvBlockParameters<'_, T>,
    statistics: Statistics<'_, T>,
    mask: Option<&DropoutMask>,
    options: &ConvBlockOptions,
) -> Result<Tensor<T>> {
    const OP: &str = "conv_block";
    if !ConvBlockOptions::windows_apart(&options.pool) {
        let message =
            format!("windows must lie apart and inside the input, got {:?}", options.pool);
        return Err(Error::argument("pool", message));
    }
    if options.conv.groups != 1 {
        let message = format!("a block takes one group, got {}", options.conv.groups);
        return Err(Error::argument("groups", message));
    }
    let ConvBlockParameters { weight, bias, scale, shift } = *parameters;
    let conv = Conv2dGeometry::new(input.shape(), weight.shape(), &options.conv)?;
    let (pool, shape) = MaxPool2dGeometry::new(&options.pool, &conv.output_shape())?;
    let geometry = ConvBlockGeometry { conv, pool };
    let channels = conv.out_channels as usize;
    parameters.check(channels, &statistics)?;
    let per_channel = geometry.channels();
    check_eps(options.eps)?;
    if matches!(statistics, Statistics::Batch { .. }) {
        check_count(OP, &per_channel, input.shape())?;
    }
    check_apart(OP, &statistics, [Some(input), Some(weight), bias, scale, shift])?;
    if per_channel.numel() == 0 {
        // Nothing to save passes over.
        let convolved = conv2d(input, weight, bias, &options.conv)?;
        let normalised = batch_norm2d(&convolved, scale, shift, statistics, options.eps)?.relu()?;
        let dropped = mask.map_or(Ok(normalised.clone()), |mask| normalised.dropout(mask))?;
        return Ok(max_pool2d(&dropped, &options.pool)?.0);
    }

    let device = input.device().clone();
    let mut y = device.alloc(shape.numel())?;
    let inputs = [Some(input), Some(weight), bias, scale, shift];
    let keep = is_recorded(&inputs);
    let saved = {
        let read = inputs.map(|tensor| tensor.map(Tensor::read));
        let step = mask.map(|mask| mask.step.read());
        let drop = mask.zip(step.as_ref());
        let drop = drop.map(|(mask, step)| mask.view(step));
        let mut tracked;
        let (mean, var);
        let normaliser = match statistics {
            Statistics::Batch { running } => {
                tracked = running.map(|t| (t.mean.write(), t.var.write(), t.momentum));
                Normaliser::Batch(tracked.as_mut().map(|(mean, var, momentum)| Running {
                    mean: mean.view_mut(),
                    var: var.view_mut(),
                    momentum: T::of(*momentum),
                }))
            }
            Statistics::Running(running_mean, running_var) => {
                (mean, var) = (running_mean.read(), running_var.read());
                Normaliser::Running { mean: mean.view(), var: var.view() }
            }
        };
        let inputs = views(&read);
        let eps = T::of(options.eps);
        let y = Device::view_mut(&mut y);
        device.conv_block_forward(&geometry, eps, inputs, normaliser, drop, y, keep)?
    };
    let output = Tensor::from_buffer(&device, y, shape);
    let roles = ["input", "weight", "bias", "scale", "shift"];
    let kept: [_; 5] = std::array::from_fn(|i| inputs[i].map(|tensor| tensor.save(OP, roles[i])));
    let y = output.save(OP, "output");
    let mask = mask.map(|mask| (mask.clone(), mask.step.save(OP, "step of dropout")));
    Ok(output.with_grad_fn(inputs, move |nodes, gradient, gradients| {
        let lengths = kept.each_ref().map(|saved| saved.as_ref().map_or(0, SavedTensor::numel));
        let wanted = std::array::from_fn::<_, 5, _>(|i| (nodes[i], lengths[i]));
        let [input, weight, bias, scale, shift] = gradients.outputs(wanted)?;
        // The convolution's own gradients go through the scale; nothing reads bias and shift.
        let through = input.is_some() || weight.is_some() || bias.is_some();
        let reads = [weight.is_some(), input.is_some(), false, through, false];
        let mut read = [const { None }; 5];
        for ((read, saved), needed) in read.iter_mut().zip(&kept).zip(reads) {
            *read = saved.as_ref().map(|saved| saved.read_if(needed)).transpose()?;
        }
        let step = mask.as_ref().map(|(_, step)| step.read()).transpose()?;
        let drop = mask.as_ref().zip(step.as_ref());
        let drop = drop.map(|((mask, _), step)| mask.view(step));
        let Some(saved) = saved else {
            return Err(Error::Autograd("the device kept nothing of a conv_block".into()));
        };
        device.conv_block_backward(
            &geometry,
            views(&read),
            drop,
            saved,
            y.read()?.view(),
            gradient.read().view(),
            ConvBlockGradients { input, weight, bias, scale, shift },
        )
    }))
}

/// Views of what [`conv_block`] borrowed, in its order; input and weight are always there.
fn views<'a, T: Float>(read: &'a [Option<Reading<'_, T>>; 5]) -> ConvBlockInputs<'a, Device, T> {
    let [input, weight, bias, scale, shift] = read.each_ref().map(|r| r.as_ref().map(|r| r.view()));
    let (Some(input), Some(weight)) = (input, weight) else {
        unreachable!("conv_block always gives an input and a weight")
    };
    ConvBlockInputs { input, weight, bias, affine: Affine { weight: scale, bias: shift } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn the_second_block_of_the_notebook_costs_this() {
        let [input, weight] = [Shape::from([32, 25, 14, 14]), Shape::from([50, 25, 3, 3])];
        let options = Conv2dOptions { padding: 1.into(), ..Default::default() };
        let conv = Conv2dGeometry::new(&input, &weight, &options).unwrap();
        let (pool, _) = MaxPool2dGeometry::new(&MaxPool2d::new(2), &conv.output_shape()).unwrap();
        let geometry = ConvBlockGeometry { conv, pool };
        let (convolved, pooled) = (32 * 50 * 196, 32 * 50 * 49);

        let pool = geometry.pool_cost::<f32>(true);
        assert_eq!(pool, Cost { flops: 4 * convolved, bytes: 4 * (convolved + pooled) + pooled });
        assert_eq!(pool.bytes - geometry.pool_cost::<f32>(false).bytes, pooled);
        let sums = Cost { flops: 4 * pooled, bytes: 4 * 3 * pooled + pooled };
        assert_eq!(geometry.sums_cost::<f32>(), sums);
        let bytes = 4 * (2 * convolved + 2 * pooled) + pooled;
        assert_eq!(geometry.unpool_cost::<f32>(), Cost { flops: 5 * convolved, bytes });
    }
}
