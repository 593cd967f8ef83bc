//! Batch normalisation over `[N, C, H, W]`, per channel, and with it what follows in most networks: a
//! residual to add and the rectifier, which then need no pass of their own.
//!
//! Ioffe and Szegedy, "Batch Normalization", 2015. As in PyTorch, a batch is normalised with its
//! biased variance, and the unbiased one is tracked.

mod cpu;
mod cuda;
mod moments;

pub(crate) use cpu::track;
pub(crate) use moments::Moments;

use crate::device::{Backend, Cost, Device, Output, each_field_on, kernels};
use crate::dtype::Float;
use crate::ops::numel32;
use crate::ops::sum::ChannelGeometry;
use crate::{Error, Result, Shape, Tensor};

/// The gradients of the affine part, of the input and of the residual; `None` is not computed.
pub(crate) struct BatchNorm2dGradients<'a, M: Backend, T: Float> {
    /// `[N, C, H, W]`.
    pub input: Option<Output<'a, M, T>>,
    /// `[C]`.
    pub weight: Option<Output<'a, M, T>>,
    /// `[C]`.
    pub bias: Option<Output<'a, M, T>>,
    /// `[N, C, H, W]`.
    pub residual: Option<Output<'a, M, T>>,
}

each_field_on!(BatchNorm2dGradients<'a, T: Float> { input, weight, bias, residual });

/// The learned scale and shift, `[C]` each; a missing scale is 1, a missing shift 0.
pub(crate) struct Affine<'a, M: Backend, T: Float> {
    /// Scale.
    pub weight: Option<M::View<'a, T>>,
    /// Shift.
    pub bias: Option<M::View<'a, T>>,
}

each_field_on!(Affine<'a, T: Float> { weight, bias });

/// Running statistics to move towards the batch's: `running += momentum * (batch - running)`.
pub(crate) struct Running<'a, M: Backend, T: Float> {
    /// `[C]`.
    pub mean: M::ViewMut<'a, T>,
    /// `[C]`, unbiased.
    pub var: M::ViewMut<'a, T>,
    /// The share of the new batch.
    pub momentum: T,
}

each_field_on!(Running<'a, T: Float> { mean, var, momentum });

kernels! {
    /// What batch normalisation asks of a device. `[N, C, H, W]` is [`ChannelGeometry`]
    /// `{N, C, H * W}`; `mean` and `invstd` are `[C]`.
    pub(crate) trait BatchNorm2dKernels<T: Float>: Backend {
        /// `mean` and `invstd = 1 / sqrt(biased variance + eps)` of each channel, and the running
        /// statistics' step.
        fn batch_norm2d_statistics(
            &self,
            geometry: &ChannelGeometry,
            eps: T,
            input: Self::View<'_, T>,
            mean: Self::ViewMut<'_, T>,
            invstd: Self::ViewMut<'_, T>,
            running: Option<Running<'_, Self, T>>,
        ) -> Result<()>;

        /// `invstd = 1 / sqrt(var + eps)`.
        fn batch_norm2d_invstd(
            &self,
            eps: T,
            var: Self::View<'_, T>,
            invstd: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// `output = (input - mean) * invstd * weight + bias + residual`, and of this, with `relu`, what
        /// is not below 0.
        fn batch_norm2d_normalize(
            &self,
            geometry: &ChannelGeometry,
            input: Self::View<'_, T>,
            mean: Self::View<'_, T>,
            invstd: Self::View<'_, T>,
            affine: Affine<'_, Self, T>,
            residual: Option<Self::View<'_, T>>,
            relu: bool,
            output: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// The gradients. Where the `output` is given, it was rectified: `grad_output` counts as 0
        /// where `output <= 0`. With `xhat = (input - mean) * invstd`: `grad_residual = grad_output`,
        /// `grad_bias = sum(grad_output)`, `grad_weight = sum(grad_output * xhat)`, and
        /// `grad_input = weight * invstd * (grad_output - grad_bias / M - xhat * grad_weight / M)` over
        /// the `M = N * H * W` elements of a channel; when the statistics were not the batch's
        /// (`batch_statistics` false) the last two terms are missing.
        fn batch_norm2d_backward(
            &self,
            geometry: &ChannelGeometry,
            batch_statistics: bool,
            input: Self::View<'_, T>,
            mean: Self::View<'_, T>,
            invstd: Self::View<'_, T>,
            weight: Option<Self::View<'_, T>>,
            output: Option<Self::View<'_, T>>,
            grad_output: Self::View<'_, T>,
            gradients: BatchNorm2dGradients<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// Of a batch's statistics: one pass, 4 FLOP an element.
pub(crate) fn statistics_cost<T>(geometry: &ChannelGeometry) -> Cost {
    Cost::elementwise::<T>(geometry.numel(), 1, 4)
}

/// Of normalising: reads and writes each element, 3 FLOP each, and adds the residual where there is one.
pub(crate) fn normalize_cost<T>(geometry: &ChannelGeometry, residual: bool) -> Cost {
    let residual = u64::from(residual);
    Cost::elementwise::<T>(geometry.numel(), 2 + residual, 3 + residual)
}

/// Of the sums that the gradients need: reads input, gradient and a rectified output, 4 FLOP an element.
pub(crate) fn backward_sums_cost<T>(geometry: &ChannelGeometry, rectified: bool) -> Cost {
    Cost::elementwise::<T>(geometry.numel(), 2 + u64::from(rectified), 4)
}

/// Of the gradients of input and residual from these sums, as far as they are wanted: reads the gradient and
/// a rectified output; for the input's gradient the input too, 5 FLOP an element; writes.
pub(crate) fn backward_input_cost<T>(
    geometry: &ChannelGeometry,
    rectified: bool,
    [input, residual]: [bool; 2],
) -> Cost {
    let [input, residual, rectified] = [input, residual, rectified].map(u64::from);
    Cost::elementwise::<T>(geometry.numel(), 1 + rectified + 2 * input + residual, 5 * input)
}

/// Which statistics normalise, and what becomes of the running ones.
pub enum Statistics<'a, T: Float = f32> {
    /// The batch's; `running` (mean, variance, momentum) moves towards them.
    Batch {
        /// What to move, if anything.
        running: Option<Tracked<'a, T>>,
    },
    /// The running ones: mean and variance, `[C]` each.
    Running(&'a Tensor<T>, &'a Tensor<T>),
}

/// Running statistics that a batch moves.
pub struct Tracked<'a, T: Float = f32> {
    /// `[C]`.
    pub mean: &'a Tensor<T>,
    /// `[C]`, unbiased.
    pub var: &'a Tensor<T>,
    /// The share of the new batch.
    pub momentum: f64,
}

/// Normalises each channel of `input [N, C, H, W]`, then scales by `weight [C]` and shifts by
/// `bias [C]`, as `torch.nn.functional.batch_norm`.
///
/// As in PyTorch, an empty batch becomes an empty result and leaves the running statistics alone.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::batch_norm2d::{Statistics, batch_norm2d};
///
/// let device = Device::cpu()?;
/// // Mean 2.5 and variance 1.25.
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
/// let y = batch_norm2d(&x, None, None, Statistics::Batch { running: None }, 1e-5)?.to_vec()?;
/// assert!((y[3] - 1.5 / 1.25_f32.sqrt()).abs() < 1e-4);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when ranks or channels do not fit, or when a batch has one value per channel,
/// which has no variance; [`Error::Argument`] for an eps that is not positive.
pub fn batch_norm2d<T: Float>(
    input: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    statistics: Statistics<'_, T>,
    eps: f64,
) -> Result<Tensor<T>> {
    normalise(input, weight, bias, statistics, eps, None, false)
}

/// `batch_norm2d(..).relu()` in one pass.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::batch_norm2d::{Statistics, batch_norm2d_relu};
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
/// let batch = Statistics::Batch { running: None };
/// let y = batch_norm2d_relu(&x, None, None, batch, 1e-5)?.to_vec()?;
/// assert_eq!(y[..2], [0.0, 0.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`batch_norm2d`].
pub fn batch_norm2d_relu<T: Float>(
    input: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    statistics: Statistics<'_, T>,
    eps: f64,
) -> Result<Tensor<T>> {
    normalise(input, weight, bias, statistics, eps, None, true)
}

/// `batch_norm2d(..).add(residual).relu()` in one pass, the end of a residual block; `residual` is of the
/// input's shape.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::batch_norm2d::{Statistics, batch_norm2d_add_relu};
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
/// let residual = Tensor::from_slice(&device, &[9.0, 0.0, 0.0, -9.0], [1, 1, 2, 2])?;
/// let batch = Statistics::Batch { running: None };
/// let y = batch_norm2d_add_relu(&x, None, None, batch, 1e-5, &residual)?.to_vec()?;
/// // The first was -1.34 and is 9 - 1.34, the last was 1.34 and is below 0.
/// assert!(y[0] > 7.0 && y[3] == 0.0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`batch_norm2d`], and [`Error::Shape`] for a residual of another shape.
pub fn batch_norm2d_add_relu<T: Float>(
    input: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    statistics: Statistics<'_, T>,
    eps: f64,
    residual: &Tensor<T>,
) -> Result<Tensor<T>> {
    if residual.dims() != input.dims() {
        let message =
            format!("residual {} to be added to input {}", residual.shape(), input.shape());
        return Err(Error::shape(OP, message));
    }
    // One kernel cannot write both gradients of one tensor.
    if residual.shares_buffer(input) {
        return batch_norm2d(input, weight, bias, statistics, eps)?.add(residual)?.relu();
    }
    normalise(input, weight, bias, statistics, eps, Some(residual), true)
}

const OP: &str = "batch_norm2d";

/// All of them: `relu(normalised + residual)`, as far as it is asked for.
fn normalise<T: Float>(
    input: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    statistics: Statistics<'_, T>,
    eps: f64,
    residual: Option<&Tensor<T>>,
    relu: bool,
) -> Result<Tensor<T>> {
    check_eps(eps)?;
    let geometry = geometry(input.shape())?;
    let channels = geometry.channels as usize;
    let named = [("weight", weight), ("bias", bias)];
    let per_channel = match &statistics {
        Statistics::Batch { running: None } => [("", None), ("", None)],
        Statistics::Batch { running: Some(Tracked { mean, var, .. }) }
        | Statistics::Running(mean, var) => {
            [("running_mean", Some(*mean)), ("running_var", Some(*var))]
        }
    };
    for (name, tensor) in named.into_iter().chain(per_channel) {
        if let Some(tensor) = tensor.filter(|tensor| tensor.dims() != [channels]) {
            let message = format!("{name} {} for {channels} channels", tensor.shape());
            return Err(Error::shape(OP, message));
        }
    }
    let batch_statistics = matches!(statistics, Statistics::Batch { .. });
    if batch_statistics {
        check_count(OP, &geometry, input.shape())?;
    }
    check_apart(OP, &statistics, [Some(input), weight, bias, residual])?;
    if geometry.numel() == 0 {
        return of_nothing(input, weight, bias, residual);
    }
    let device = input.device().clone();
    let eps = T::of(eps);
    let mut invstd = device.alloc(channels)?;
    let mean = match statistics {
        Statistics::Batch { running } => {
            let mut mean = device.alloc(channels)?;
            let mut guards = running.map(|t| (t.mean.write(), t.var.write(), t.momentum));
            let running = guards.as_mut().map(|(mean, var, momentum)| Running {
                mean: mean.view_mut(),
                var: var.view_mut(),
                momentum: T::of(*momentum),
            });
            let (mean_view, invstd_view) =
                (Device::view_mut(&mut mean), Device::view_mut(&mut invstd));
            let input = input.read();
            let view = input.view();
            device.batch_norm2d_statistics(
                &geometry,
                eps,
                view,
                mean_view,
                invstd_view,
                running,
            )?;
            Tensor::from_buffer(&device, mean, Shape::from([channels]))
        }
        Statistics::Running(mean, var) => {
            device.batch_norm2d_invstd(eps, var.read().view(), Device::view_mut(&mut invstd))?;
            mean.detach()
        }
    };
    let mut y = device.alloc(input.numel())?;
    {
        let [weight, bias, residual] = [weight, bias, residual].map(|x| x.map(Tensor::read));
        let affine = Affine {
            weight: weight.as_ref().map(|weight| weight.view()),
            bias: bias.as_ref().map(|bias| bias.view()),
        };
        let (input, mean) = (input.read(), mean.read());
        device.batch_norm2d_normalize(
            &geometry,
            input.view(),
            mean.view(),
            Device::view(&invstd),
            affine,
            residual.as_ref().map(|residual| residual.view()),
            relu,
            Device::view_mut(&mut y),
        )?;
    }
    let output = Tensor::from_buffer(&device, y, input.shape().clone());
    let (x, mean) = (input.save(OP, "input"), mean.save(OP, "mean"));
    let w = weight.map(|weight| weight.save(OP, "weight"));
    let y = relu.then(|| output.save(OP, "output"));
    let inputs = [Some(input), weight, bias, residual];
    Ok(output.with_grad_fn(inputs, move |[x_node, w_node, b_node, r_node], gradient, gradients| {
        let numel = x.numel();
        let nodes = [(x_node, numel), (w_node, channels), (b_node, channels), (r_node, numel)];
        let [input, weight, bias, residual] = gradients.outputs(nodes)?;
        // What the formulas of `BatchNorm2dKernels::batch_norm2d_backward` read.
        let xhat = weight.is_some() || input.is_some() && batch_statistics;
        let w = w.as_ref().map(|w| w.read_if(input.is_some())).transpose()?;
        let y = y.as_ref().map(|y| y.read()).transpose()?;
        device.batch_norm2d_backward(
            &geometry,
            batch_statistics,
            x.read_if(xhat)?.view(),
            mean.read_if(xhat)?.view(),
            Device::view(&invstd),
            w.as_ref().map(|w| w.view()),
            y.as_ref().map(|y| y.view()),
            gradient.read().view(),
            BatchNorm2dGradients { input, weight, bias, residual },
        )
    }))
}

/// The result for an input without elements; the gradients of scale and shift are sums of nothing.
fn of_nothing<T: Float>(
    input: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    residual: Option<&Tensor<T>>,
) -> Result<Tensor<T>> {
    let output = Tensor::zeros(input.device(), input.shape().clone())?;
    let inputs = [weight, bias, Some(input), residual];
    let sizes = inputs.map(|tensor| tensor.map_or(0, Tensor::numel));
    let device = input.device().clone();
    Ok(output.with_grad_fn(inputs, move |nodes, _, gradients| {
        for (node, len) in nodes.into_iter().zip(sizes) {
            let Some(Output { view, accumulate: false }) = gradients.output(node, len)? else {
                continue;
            };
            device.zero(view)?;
        }
        Ok(())
    }))
}

/// What is written must be nothing that is read.
pub(crate) fn check_apart<T: Float, const N: usize>(
    op: &'static str,
    statistics: &Statistics<'_, T>,
    read: [Option<&Tensor<T>>; N],
) -> Result<()> {
    let Statistics::Batch { running: Some(Tracked { mean, var, .. }) } = statistics else {
        return Ok(());
    };
    let mut others = read.into_iter().flatten();
    if mean.shares_buffer(var) || others.any(|x| x.shares_buffer(mean) || x.shares_buffer(var)) {
        let message =
            "running_mean and running_var are written, and so must be tensors of their own";
        return Err(Error::Autograd(format!("{op}: {message}")));
    }
    Ok(())
}

/// A variance near 0 is divided by.
pub(crate) fn check_eps(eps: f64) -> Result<()> {
    if eps.is_finite() && eps > 0.0 {
        return Ok(());
    }
    Err(Error::argument("eps", format!("must be a positive number, got {eps}")))
}

/// One value per channel has no variance.
pub(crate) fn check_count(
    op: &'static str,
    channels: &ChannelGeometry,
    input: &Shape,
) -> Result<()> {
    if u64::from(channels.outer) * u64::from(channels.inner) != 1 {
        return Ok(());
    }
    let message = format!(
        "input {input} makes one value per channel, which has no variance: train with more images \
         a batch, or evaluate"
    );
    Err(Error::shape(op, message))
}

/// `[N, C, H, W]` as channels.
fn geometry(input: &Shape) -> Result<ChannelGeometry> {
    let [n, c, h, w] = input.expect("batch_norm2d", "[N, C, H, W]")?;
    numel32("batch_norm2d", input)?;
    let pixels = numel32("batch_norm2d", &Shape::from([h, w]))?;
    Ok(ChannelGeometry { outer: n as u32, channels: c as u32, inner: pixels })
}
