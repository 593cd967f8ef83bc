//! Losses of single elements: squared and absolute differences, and the cross-entropy of two classes.
//!
//! They are a family: a member is a name in `Kind`, and its value and its slopes are a line each in
//! `cpu.rs` and in `kernels/elementwise_loss.cu`.

mod cpu;
mod cuda;

use crate::device::{Backend, Cost, Device, Output, each_field_on, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::cross_entropy::Reduction;
use crate::ops::numel32;
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::{Error, Result, Shape, Tensor};

/// The members, as `Kind` of `elementwise_loss.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mse,
    L1,
    SmoothL1,
    Huber,
    BceWithLogits,
}

/// A factor that repeats: element `i` has factor `i / inner % count`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Repeat {
    /// Factors.
    pub count: u32,
    /// Elements that one after the other have the same.
    pub inner: u32,
}

impl Repeat {
    /// How `factor`, called `name`, repeats over `shape`: some dimensions of it that follow one
    /// another, and 1 or nothing in place of the others.
    fn new<T: Float>(
        op: &'static str,
        name: &str,
        factor: Option<&Tensor<T>>,
        shape: &Shape,
    ) -> Result<Self> {
        let Some(factor) = factor else { return Ok(Self { count: 1, inner: 1 }) };
        let (dims, all) = (factor.dims(), shape.dims());
        let inside = dims.iter().rev().take_while(|&&size| size == 1).count();
        let core = &dims[..dims.len() - inside];
        let outside = core.iter().take_while(|&&size| size == 1).count();
        let core = &core[outside..];
        let fits = all.len().checked_sub(inside).is_some_and(|end| all[..end].ends_with(core));
        if dims.len() > all.len() || !fits {
            let message = format!(
                "{name} {} for an input {shape}: expected some dimensions of it that follow one \
                 another, and 1 in place of those behind them",
                factor.shape()
            );
            return Err(Error::shape(op, message));
        }
        let repeats = Shape::from(&all[all.len() - inside..]);
        let (count, inner) = (numel32(op, factor.shape())?, numel32(op, &repeats)?);
        Ok(Self { count: count.max(1), inner: inner.max(1) })
    }
}

/// Sizes and attributes of one loss.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct LossGeometry {
    /// Elements.
    pub n: u32,
    /// A [`Kind`].
    pub kind: u32,
    /// How the weight repeats.
    pub weight: Repeat,
    /// How the weight of positive targets repeats.
    pub pos_weight: Repeat,
    /// Where the absolute difference takes over from its square.
    pub parameter: f64,
}

impl Plain for LossGeometry {}

impl LossGeometry {
    /// An element's loss and what it is made of, and `more` elements beside: about 10 FLOP.
    fn cost<T>(&self, more: usize) -> Cost {
        Cost::elementwise::<T>(self.n as usize, 2 + more as u64, 10)
    }
}

/// What a loss is computed from: input and target `[n]`, and factors that repeat.
pub(crate) struct LossInputs<'a, M: Backend, T: Float> {
    pub input: M::View<'a, T>,
    pub target: M::View<'a, T>,
    pub weight: Option<M::View<'a, T>>,
    pub pos_weight: Option<M::View<'a, T>>,
}

each_field_on!(LossInputs<'a, T: Float> { input, target, weight, pos_weight });

kernels! {
    /// What losses of single elements ask of a device.
    pub(crate) trait ElementwiseLossKernels<T: Float>: Backend {
        /// `losses = weight * loss(input, target)`.
        fn elementwise_loss_forward(
            &self,
            geometry: &LossGeometry,
            inputs: LossInputs<'_, Self, T>,
            losses: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// The gradients from that of each loss, or from one for all, times `scale`.
        fn elementwise_loss_backward(
            &self,
            geometry: &LossGeometry,
            scale: T,
            inputs: LossInputs<'_, Self, T>,
            one_gradient: bool,
            gradient: Self::View<'_, T>,
            grad_input: Option<Output<'_, Self, T>>,
            grad_target: Option<Output<'_, Self, T>>,
        ) -> Result<()>;
    }
}

/// `(input - target)^2`, as `torch.nn.functional.mse_loss`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::Reduction;
/// use signet::ops::elementwise_loss::mse_loss;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0], [2])?;
/// let y = Tensor::from_slice(&device, &[0.0, 1.0], [2])?;
/// assert_eq!(mse_loss(&x, &y, Reduction::Mean)?.item()?, 5.0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when input and target have different shapes.
pub fn mse_loss<T: Float>(
    input: &Tensor<T>,
    target: &Tensor<T>,
    reduction: Reduction,
) -> Result<Tensor<T>> {
    loss("mse_loss", Kind::Mse, 0.0, input, target, [None, None], reduction)
}

/// `|input - target|`, as `torch.nn.functional.l1_loss`; where they are equal the gradient is 0.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::Reduction;
/// use signet::ops::elementwise_loss::l1_loss;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0], [2])?;
/// let y = Tensor::from_slice(&device, &[0.0, 1.0], [2])?;
/// assert_eq!(l1_loss(&x, &y, Reduction::Sum)?.item()?, 4.0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when input and target have different shapes.
pub fn l1_loss<T: Float>(
    input: &Tensor<T>,
    target: &Tensor<T>,
    reduction: Reduction,
) -> Result<Tensor<T>> {
    loss("l1_loss", Kind::L1, 0.0, input, target, [None, None], reduction)
}

/// `d^2 / (2 beta)` for differences below `beta`, `d - beta / 2` beyond, as
/// `torch.nn.functional.smooth_l1_loss`. A `beta` of 0 is [`l1_loss`].
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::Reduction;
/// use signet::ops::elementwise_loss::smooth_l1_loss;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0], [2])?;
/// let y = Tensor::from_slice(&device, &[0.0, 1.0], [2])?;
/// assert_eq!(smooth_l1_loss(&x, &y, Reduction::None, 2.0)?.to_vec()?, [0.25, 2.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when input and target have different shapes; [`Error::Argument`] for a `beta`
/// that is negative or no number.
pub fn smooth_l1_loss<T: Float>(
    input: &Tensor<T>,
    target: &Tensor<T>,
    reduction: Reduction,
    beta: f64,
) -> Result<Tensor<T>> {
    const OP: &str = "smooth_l1_loss";
    if !(beta.is_finite() && beta >= 0.0) {
        let message = format!("must be a number that is not negative, got {beta}");
        return Err(Error::argument("beta", message));
    }
    let kind = if beta == 0.0 { Kind::L1 } else { Kind::SmoothL1 };
    loss(OP, kind, beta, input, target, [None, None], reduction)
}

/// `d^2 / 2` for differences up to `delta`, `delta (d - delta / 2)` beyond, as
/// `torch.nn.functional.huber_loss`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::Reduction;
/// use signet::ops::elementwise_loss::huber_loss;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0], [2])?;
/// let y = Tensor::from_slice(&device, &[0.0, 1.0], [2])?;
/// assert_eq!(huber_loss(&x, &y, Reduction::None, 2.0)?.to_vec()?, [0.5, 4.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when input and target have different shapes; [`Error::Argument`] for a `delta`
/// that is no positive number.
pub fn huber_loss<T: Float>(
    input: &Tensor<T>,
    target: &Tensor<T>,
    reduction: Reduction,
    delta: f64,
) -> Result<Tensor<T>> {
    if !(delta.is_finite() && delta > 0.0) {
        let message = format!("must be a positive number, got {delta}");
        return Err(Error::argument("delta", message));
    }
    loss("huber_loss", Kind::Huber, delta, input, target, [None, None], reduction)
}

/// The cross-entropy of two classes, `input` the logit and `target` the probability of the positive
/// one, as `torch.nn.functional.binary_cross_entropy_with_logits`: each loss times `weight`, and the
/// part of the positive class times `pos_weight`. Both factors may be smaller than the input: `[C]`
/// or `[C, 1, 1]`, say, for `[N, C, H, W]` as broadcasting has it.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::Reduction;
/// use signet::ops::elementwise_loss::binary_cross_entropy_with_logits;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[0.0_f32, 0.0], [2])?;
/// let y = Tensor::from_slice(&device, &[1.0, 0.0], [2])?;
/// let loss = binary_cross_entropy_with_logits(&x, &y, None, Reduction::Mean, None)?;
/// assert!((loss.item()? - 2.0_f32.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when input and target have different shapes, or a factor does not fit.
pub fn binary_cross_entropy_with_logits<T: Float>(
    input: &Tensor<T>,
    target: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    reduction: Reduction,
    pos_weight: Option<&Tensor<T>>,
) -> Result<Tensor<T>> {
    const OP: &str = "binary_cross_entropy_with_logits";
    loss(OP, Kind::BceWithLogits, 0.0, input, target, [weight, pos_weight], reduction)
}

fn loss<T: Float>(
    op: &'static str,
    kind: Kind,
    parameter: f64,
    input: &Tensor<T>,
    target: &Tensor<T>,
    [weight, pos_weight]: [Option<&Tensor<T>>; 2],
    reduction: Reduction,
) -> Result<Tensor<T>> {
    let shape = input.shape();
    if target.shape() != shape {
        let message = format!("input {shape} and target {}: expected one shape", target.shape());
        return Err(Error::shape(op, message));
    }
    let geometry = LossGeometry {
        n: numel32(op, shape)?,
        kind: kind as u32,
        weight: Repeat::new(op, "weight", weight, shape)?,
        pos_weight: Repeat::new(op, "pos_weight", pos_weight, shape)?,
        parameter,
    };
    let device = input.device().clone();
    let mut losses = device.alloc(input.numel())?;
    {
        let (weight, pos_weight) = (weight.map(Tensor::read), pos_weight.map(Tensor::read));
        let (input, target) = (input.read(), target.read());
        let inputs = LossInputs {
            input: input.view(),
            target: target.view(),
            weight: weight.as_ref().map(|weight| weight.view()),
            pos_weight: pos_weight.as_ref().map(|weight| weight.view()),
        };
        device.elementwise_loss_forward(&geometry, inputs, Device::view_mut(&mut losses))?;
    }
    let scale = match reduction {
        Reduction::Mean => T::one() / T::of(f64::from(geometry.n)),
        Reduction::Sum | Reduction::None => T::one(),
    };
    let output = if reduction == Reduction::None {
        Tensor::from_buffer(&device, losses, shape.clone())
    } else {
        let mut total = device.alloc(1)?;
        let all = ChannelGeometry { outer: 1, channels: 1, inner: geometry.n };
        let output = Output { view: Device::view_mut(&mut total), accumulate: false };
        device.channel_sum(&all, scale, Device::view(&losses), output)?;
        Tensor::from_buffer(&device, total, Shape::default())
    };
    let (x, t) = (input.save(op, "input"), target.save(op, "target"));
    let factors = [(weight, "weight"), (pos_weight, "pos_weight")];
    let factors = factors.map(|(factor, name)| factor.map(|factor| factor.save(op, name)));
    let inputs = [Some(input), Some(target)];
    Ok(output.with_grad_fn(inputs, move |nodes, gradient, gradients| {
        let [weight, pos_weight] = &factors;
        let weight = weight.as_ref().map(|weight| weight.read()).transpose()?;
        let pos_weight = pos_weight.as_ref().map(|weight| weight.read()).transpose()?;
        let (x, t, gradient) = (x.read()?, t.read()?, gradient.read());
        let one_gradient = reduction != Reduction::None;
        // One after the other: input and target may be the same tensor.
        for (i, node) in nodes.into_iter().enumerate() {
            let Some(output) = gradients.output(node, geometry.n as usize)? else { continue };
            let (grad_input, grad_target) =
                if i == 0 { (Some(output), None) } else { (None, Some(output)) };
            let inputs = LossInputs {
                input: x.view(),
                target: t.view(),
                weight: weight.as_ref().map(|weight| weight.view()),
                pos_weight: pos_weight.as_ref().map(|weight| weight.view()),
            };
            device.elementwise_loss_backward(
                &geometry,
                scale,
                inputs,
                one_gradient,
                gradient.view(),
                grad_input,
                grad_target,
            )?;
        }
        Ok(())
    }))
}
