//! Layer and group normalisation: rows of neighbours in memory, each with its own statistics.
//!
//! Ba, Kiros and Hinton, "Layer Normalization", 2016; Wu and He, "Group Normalization", 2018. Both
//! are one thing to a device: a row of layer normalisation is all that it normalises, of group
//! normalisation the channels of one group of one image; scale and shift belong to the channels.

mod cpu;
mod cuda;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::batch_norm2d::Affine;
use crate::ops::numel32;
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::{Error, Result, Shape, Tensor};

/// Rows of `channels * inner` elements; row `r` has channels from `(r % groups) * channels` on.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct NormGeometry {
    /// Rows, each with its own statistics.
    pub rows: u32,
    /// Rows after which the channels begin anew.
    pub groups: u32,
    /// Channels of a row.
    pub channels: u32,
    /// Elements of a channel in a row.
    pub inner: u32,
}

impl Plain for NormGeometry {}

impl NormGeometry {
    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.channels as usize * self.inner as usize
    }

    /// Elements in all.
    pub fn numel(&self) -> usize {
        self.rows as usize * self.width()
    }

    /// The same elements by channel, over which the gradients of scale and shift sum.
    fn by_channel(&self) -> ChannelGeometry {
        let &Self { rows, groups, channels, inner } = self;
        ChannelGeometry { outer: rows / groups, channels: groups * channels, inner }
    }

    /// Of the forward pass: 8 FLOP an element.
    fn forward_cost<T>(&self) -> Cost {
        Cost::elementwise::<T>(self.numel(), 2, 8)
    }

    /// Of the backward pass, by what it writes: 10 FLOP an element.
    fn backward_cost<T>(&self, writes: usize) -> Cost {
        Cost::elementwise::<T>(self.numel(), 2 + writes as u64, 10)
    }
}

kernels! {
    /// What layer and group normalisation ask of a device. `mean` and `invstd` are `[rows]`, scale
    /// and shift `[groups * channels]`.
    pub(crate) trait LayerNormKernels<T: Float>: Backend {
        /// `y = (x - mean) * invstd * weight + bias`, with `mean` and
        /// `invstd = 1 / sqrt(biased variance + eps)` of each row.
        fn layer_norm_forward(
            &self,
            geometry: &NormGeometry,
            eps: T,
            x: Self::View<'_, T>,
            affine: Affine<'_, Self, T>,
            y: Self::ViewMut<'_, T>,
            mean: Self::ViewMut<'_, T>,
            invstd: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// With `xhat = (x - mean) * invstd` and `g = grad_y * weight`:
        /// `grad_x = invstd * (g - mean of g - xhat * mean of (g * xhat))`, and
        /// `products = grad_y * xhat`, which the gradient of the weight sums.
        fn layer_norm_backward(
            &self,
            geometry: &NormGeometry,
            x: Self::View<'_, T>,
            mean: Self::View<'_, T>,
            invstd: Self::View<'_, T>,
            weight: Option<Self::View<'_, T>>,
            grad_y: Self::View<'_, T>,
            grad_x: Option<Output<'_, Self, T>>,
            products: Option<Self::ViewMut<'_, T>>,
        ) -> Result<()>;
    }
}

/// Normalises the last dimensions of `input`, those of `normalized_shape`, then scales by `weight`
/// and shifts by `bias`, both of that shape, as `torch.nn.functional.layer_norm`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::layer_norm::layer_norm;
///
/// let device = Device::cpu()?;
/// // Means 2 and 20, deviations 1 and 10.
/// let x = Tensor::from_slice(&device, &[1.0_f32, 3.0, 10.0, 30.0], [2, 2])?;
/// let y = layer_norm(&x, [2], None, None, 1e-5)?.to_vec()?;
/// assert!(y.iter().zip([-1.0, 1.0, -1.0, 1.0]).all(|(y, exact)| (y - exact).abs() < 1e-4));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when the shapes do not fit or `normalized_shape` has no dimension;
/// [`Error::Argument`] for an eps that is negative or no number.
pub fn layer_norm<T: Float>(
    input: &Tensor<T>,
    normalized_shape: impl Into<Shape>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> Result<Tensor<T>> {
    const OP: &str = "layer_norm";
    let normalized = normalized_shape.into();
    let rows = rows_before(input.shape(), &normalized)?;
    for (name, tensor) in [("weight", weight), ("bias", bias)] {
        if let Some(tensor) = tensor.filter(|tensor| *tensor.shape() != normalized) {
            let message = format!("{name} {} for normalized_shape {normalized}", tensor.shape());
            return Err(Error::shape(OP, message));
        }
    }
    numel32(OP, input.shape())?;
    let (rows, channels) = (numel32(OP, &rows)?, numel32(OP, &normalized)?);
    let geometry = NormGeometry { rows, groups: 1, channels, inner: 1 };
    normalize(OP, geometry, input, [weight, bias], eps)
}

/// The dimensions of `input` before those of `normalized`.
///
/// # Errors
/// [`Error::Shape`] when `input` does not end with them, or there are none.
pub(crate) fn rows_before(input: &Shape, normalized: &Shape) -> Result<Shape> {
    match input.dims().strip_suffix(normalized.dims()) {
        Some(rows) if normalized.rank() > 0 => Ok(Shape::from(rows)),
        _ => {
            let message = format!(
                "input {input} and normalized_shape {normalized}: expected the input's last \
                 dimensions, at least one"
            );
            Err(Error::shape("layer_norm", message))
        }
    }
}

/// Normalises each of `num_groups` groups of channels of each image of `input [N, C, d1..]`, then
/// scales by `weight [C]` and shifts by `bias [C]`, as `torch.nn.functional.group_norm`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::layer_norm::group_norm;
///
/// let device = Device::cpu()?;
/// // Two channels of two pixels, each a group of its own.
/// let x = Tensor::from_slice(&device, &[1.0_f32, 3.0, 10.0, 30.0], [1, 2, 2])?;
/// let y = group_norm(&x, 2, None, None, 1e-5)?.to_vec()?;
/// assert!(y.iter().zip([-1.0, 1.0, -1.0, 1.0]).all(|(y, exact)| (y - exact).abs() < 1e-4));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when the shapes do not fit, the channels are no multiple of the groups, or one
/// image has one value per group, as PyTorch refuses it; [`Error::Argument`] for no groups, and an eps
/// that is negative or no number.
pub fn group_norm<T: Float>(
    input: &Tensor<T>,
    num_groups: usize,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> Result<Tensor<T>> {
    const OP: &str = "group_norm";
    let [_, channels, ..] = *input.dims() else {
        let message = format!("expected an input [N, C, ..], got {}", input.shape());
        return Err(Error::shape(OP, message));
    };
    check_groups(num_groups, channels)?;
    for (name, tensor) in [("weight", weight), ("bias", bias)] {
        if let Some(tensor) = tensor.filter(|tensor| tensor.dims() != [channels]) {
            let message = format!("{name} {} for {channels} channels", tensor.shape());
            return Err(Error::shape(OP, message));
        }
    }
    numel32(OP, input.shape())?;
    let images = input.dims()[0];
    let geometry = NormGeometry {
        rows: numel32(OP, &Shape::from([images, num_groups]))?,
        groups: numel32(OP, &Shape::from([num_groups]))?,
        channels: numel32(OP, &Shape::from([channels / num_groups]))?,
        inner: numel32(OP, &Shape::from(&input.dims()[2..]))?,
    };
    if geometry.width() * images == 1 {
        let message =
            format!("input {} makes one value per group, which has no variance", input.shape());
        return Err(Error::shape(OP, message));
    }
    normalize(OP, geometry, input, [weight, bias], eps)
}

/// Channels are dealt out to groups alike.
pub(crate) fn check_groups(num_groups: usize, channels: usize) -> Result<()> {
    if num_groups == 0 {
        return Err(Error::argument("num_groups", "must be at least 1, got 0"));
    }
    if !channels.is_multiple_of(num_groups) {
        let message = format!("{channels} channels are no multiple of {num_groups} groups");
        return Err(Error::shape("group_norm", message));
    }
    Ok(())
}

/// As PyTorch's, eps may be 0.
pub(crate) fn check_eps(eps: f64) -> Result<()> {
    if eps.is_finite() && eps >= 0.0 {
        return Ok(());
    }
    Err(Error::argument("eps", format!("must be a number that is not negative, got {eps}")))
}

fn normalize<T: Float>(
    op: &'static str,
    geometry: NormGeometry,
    input: &Tensor<T>,
    [weight, bias]: [Option<&Tensor<T>>; 2],
    eps: f64,
) -> Result<Tensor<T>> {
    check_eps(eps)?;
    let device = input.device().clone();
    let rows = geometry.rows as usize;
    let (mut y, mut mean, mut invstd) =
        (device.alloc(input.numel())?, device.alloc(rows)?, device.alloc(rows)?);
    {
        let (weight, bias) = (weight.map(Tensor::read), bias.map(Tensor::read));
        let affine = Affine {
            weight: weight.as_ref().map(|weight| weight.view()),
            bias: bias.as_ref().map(|bias| bias.view()),
        };
        device.layer_norm_forward(
            &geometry,
            T::of(eps),
            input.read().view(),
            affine,
            Device::view_mut(&mut y),
            Device::view_mut(&mut mean),
            Device::view_mut(&mut invstd),
        )?;
    }
    let output = Tensor::from_buffer(&device, y, input.shape().clone());
    let x = input.save(op, "input");
    let w = weight.map(|weight| weight.save(op, "weight"));
    Ok(output.with_grad_fn([Some(input), weight, bias], move |nodes, gradient, gradients| {
        let [x_node, w_node, b_node] = nodes;
        let gradient = gradient.read();
        let gradient = gradient.view();
        let by_channel = geometry.by_channel();
        let channels = by_channel.channels as usize;
        let mut products = match w_node {
            Some(_) => Some(device.alloc::<T>(x.numel())?),
            None => None,
        };
        let grad_x = gradients.output(x_node, x.numel())?;
        if grad_x.is_some() || products.is_some() {
            let w = w.as_ref().map(|w| w.read_if(grad_x.is_some())).transpose()?;
            device.layer_norm_backward(
                &geometry,
                x.read()?.view(),
                Device::view(&mean),
                Device::view(&invstd),
                w.as_ref().map(|w| w.view()),
                gradient,
                grad_x,
                products.as_mut().map(Device::view_mut),
            )?;
        }
        if let Some((output, products)) = gradients.output(w_node, channels)?.zip(products) {
            device.channel_sum(&by_channel, T::one(), Device::view(&products), output)?;
        }
        if let Some(output) = gradients.output(b_node, channels)? {
            device.channel_sum(&by_channel, T::one(), gradient, output)?;
        }
        Ok(())
    }))
}
