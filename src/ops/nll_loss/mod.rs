//! The cross-entropy of log-probabilities: against class indices, PyTorch's negative log-likelihood,
//! or against probabilities, and with smoothed targets, which `cross_entropy_loss` is made of.

mod cpu;
mod cuda;

use crate::device::{Backend, Cost, Device, Output, each_field_on, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::cross_entropy::{CrossEntropyOptions, Reduction, Target};
use crate::ops::numel32;
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::{Error, Result, Shape, Tensor};

/// Log-probabilities seen as `[outer, classes, inner]`, and attributes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct NllGeometry {
    /// Extent before the classes.
    pub outer: u32,
    /// Classes.
    pub classes: u32,
    /// Extent behind the classes.
    pub inner: u32,
    /// Positions with this target do not count.
    pub ignore_index: i32,
    /// The share of the target spread evenly over all classes.
    pub label_smoothing: f64,
}

impl Plain for NllGeometry {}

impl NllGeometry {
    /// Positions, each with a loss.
    pub fn positions(&self) -> usize {
        self.outer as usize * self.inner as usize
    }

    /// Log-probabilities.
    pub fn numel(&self) -> usize {
        self.positions() * self.classes as usize
    }

    /// Of the losses: 3 FLOP for each element that is read, one of each position or all of them.
    fn forward_cost<T>(&self, reads_all: bool) -> Cost {
        let elements = if reads_all { self.numel() } else { self.positions() };
        Cost::elementwise::<T>(elements, 1, 3).moving::<T>(2 * self.positions() as u64)
    }

    /// Of the gradients: 4 FLOP an element.
    fn backward_cost<T>(&self, moved: usize) -> Cost {
        Cost::elementwise::<T>(self.numel(), moved as u64, 4)
    }
}

/// What losses are computed from: log-probabilities, one of both kinds of target, and the classes'
/// weights.
pub(crate) struct NllInputs<'a, M: Backend, T: Float> {
    /// `[outer, classes, inner]`.
    pub log_p: M::View<'a, T>,
    /// `[outer, inner]`.
    pub target: Option<M::View<'a, i32>>,
    /// `[outer, classes, inner]`, without a `target`.
    pub probabilities: Option<M::View<'a, T>>,
    /// `[classes]`.
    pub weight: Option<M::View<'a, T>>,
}

each_field_on!(NllInputs<'a, T: Float> { log_p, target, probabilities, weight });

kernels! {
    /// What the cross-entropy of log-probabilities asks of a device.
    pub(crate) trait NllLossKernels<T: Float>: Backend {
        /// With `q` the smoothed target of a position: its loss, `-sum of weight q log_p` over the
        /// classes, and the weight with which it counts in a mean: that of its class, 0 where it is
        /// ignored, 1 for probabilities. A target outside the classes is an error, or NaN where a
        /// device cannot raise one.
        fn nll_forward(
            &self,
            geometry: &NllGeometry,
            inputs: NllInputs<'_, Self, T>,
            losses: Self::ViewMut<'_, T>,
            weights: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// `loss = sum / divisor`, one number each.
        fn nll_mean(
            &self,
            sum: Self::View<'_, T>,
            divisor: Self::View<'_, T>,
            loss: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// With `g` the gradient of a position's loss, or of all of them, divided by `divisor`:
        /// `grad_log_p = -g weight q` and
        /// `grad_probabilities = -g weight (1 - label_smoothing) log_p`.
        fn nll_backward(
            &self,
            geometry: &NllGeometry,
            inputs: NllInputs<'_, Self, T>,
            divisor: Option<Self::View<'_, T>>,
            one_gradient: bool,
            gradient: Self::View<'_, T>,
            grad_log_p: Option<Output<'_, Self, T>>,
            grad_probabilities: Option<Output<'_, Self, T>>,
        ) -> Result<()>;
    }
}

/// The negative log-likelihood of classes, as `torch.nn.functional.nll_loss`: `input` holds
/// log-probabilities `[N, C, d1..]`, or `[C]` of one, and `target` classes `[N, d1..]`, or `[]`. Each
/// loss counts by the `weight [C]` of its class, in a mean too; those whose target is `ignore_index`
/// (PyTorch's is -100) do not count.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::Reduction;
/// use signet::ops::nll_loss::nll_loss;
///
/// let device = Device::cpu()?;
/// let logits = Tensor::from_slice(&device, &[0.0_f32, 0.0, 9.0, 0.0], [2, 2])?;
/// let target = Tensor::from_slice(&device, &[1, -100], [2])?;
/// let loss = nll_loss(&logits.log_softmax(1)?, &target, None, -100, Reduction::Mean)?;
/// assert!((loss.item()? - 2.0_f32.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when the shapes do not fit, and on a CPU for a target that is no class; a GPU
/// makes the loss NaN.
pub fn nll_loss<T: Float>(
    input: &Tensor<T>,
    target: &Tensor<i32>,
    weight: Option<&Tensor<T>>,
    ignore_index: i32,
    reduction: Reduction,
) -> Result<Tensor<T>> {
    let options = CrossEntropyOptions { ignore_index, reduction, label_smoothing: 0.0 };
    soft_nll("nll_loss", input, Target::Classes(target), weight, &options)
}

/// The dimension of the classes in `[N, C, d1..]` and in `[C]`.
pub(crate) fn class_dim(shape: &Shape) -> usize {
    usize::from(shape.rank() > 1)
}

/// Checks all shapes.
fn geometry<T: Float>(
    op: &'static str,
    input: &Tensor<T>,
    target: Target<'_, T>,
    weight: Option<&Tensor<T>>,
    options: &CrossEntropyOptions,
) -> Result<(NllGeometry, Shape)> {
    let (shape, dim) = (input.shape(), class_dim(input.shape()));
    let classes = shape.dims().get(dim).copied().unwrap_or(0);
    let (before, behind) = (&shape.dims()[..dim.min(shape.rank())], shape.dims().get(dim + 1..));
    let behind = behind.unwrap_or(&[]);
    let positions = Shape::from([before, behind].concat());
    let (expected, given) = match target {
        Target::Classes(target) => (&positions, target.shape()),
        Target::Probabilities(target) => (shape, target.shape()),
    };
    if classes == 0 || given != expected {
        let message = format!(
            "input {shape} and target {given}: expected [N, C, d1..] with [N, d1..] for classes \
             and the input's shape for probabilities, or [C] of one, and a class at least"
        );
        return Err(Error::shape(op, message));
    }
    if let Some(weight) = weight.filter(|weight| weight.dims() != [classes]) {
        let message = format!("weight {} for {classes} classes", weight.shape());
        return Err(Error::shape(op, message));
    }
    numel32(op, shape)?;
    let geometry = NllGeometry {
        outer: numel32(op, &Shape::from(before))?,
        classes: classes as u32,
        inner: numel32(op, &Shape::from(behind))?,
        ignore_index: options.ignore_index,
        label_smoothing: options.label_smoothing,
    };
    Ok((geometry, positions))
}

/// [`nll_loss`] in the name of `op`, against either kind of target, smoothed.
pub(crate) fn soft_nll<T: Float>(
    op: &'static str,
    log_p: &Tensor<T>,
    target: Target<'_, T>,
    weight: Option<&Tensor<T>>,
    options: &CrossEntropyOptions,
) -> Result<Tensor<T>> {
    let (geometry, positions) = geometry(op, log_p, target, weight, options)?;
    let reduction = options.reduction;
    let device = log_p.device().clone();
    let (classes, probabilities) = match target {
        Target::Classes(classes) => (Some(classes), None),
        Target::Probabilities(probabilities) => (None, Some(probabilities)),
    };
    let (mut losses, mut weights) =
        (device.alloc(geometry.positions())?, device.alloc(geometry.positions())?);
    {
        let (classes, probabilities) = (classes.map(Tensor::read), probabilities.map(Tensor::read));
        let (log_p, weight) = (log_p.read(), weight.map(Tensor::read));
        let inputs = NllInputs {
            log_p: log_p.view(),
            target: classes.as_ref().map(|classes| classes.view()),
            probabilities: probabilities.as_ref().map(|probabilities| probabilities.view()),
            weight: weight.as_ref().map(|weight| weight.view()),
        };
        let (losses, weights) = (Device::view_mut(&mut losses), Device::view_mut(&mut weights));
        device.nll_forward(&geometry, inputs, losses, weights)?;
    }
    let all = ChannelGeometry { outer: 1, channels: 1, inner: geometry.positions() as u32 };
    let sum_of = |values| {
        let mut sum = device.alloc(1)?;
        let output = Output { view: Device::view_mut(&mut sum), accumulate: false };
        device.channel_sum(&all, T::one(), values, output)?;
        Ok::<_, Error>(sum)
    };
    let (output, divisor) = match reduction {
        Reduction::None => (Tensor::from_buffer(&device, losses, positions), None),
        Reduction::Sum => {
            let sum = sum_of(Device::view(&losses))?;
            (Tensor::from_buffer(&device, sum, Shape::default()), None)
        }
        Reduction::Mean => {
            let sum = sum_of(Device::view(&losses))?;
            let divisor = sum_of(Device::view(&weights))?;
            let mut mean = device.alloc(1)?;
            let (sum, by) = (Device::view(&sum), Device::view(&divisor));
            device.nll_mean(sum, by, Device::view_mut(&mut mean))?;
            (Tensor::from_buffer(&device, mean, Shape::default()), Some(divisor))
        }
    };
    let x = log_p.save(op, "input");
    let q = probabilities.map(|probabilities| probabilities.save(op, "target"));
    let t = classes.map(|classes| classes.save(op, "target"));
    let w = weight.map(|weight| weight.save(op, "weight"));
    let inputs = [Some(log_p), probabilities];
    Ok(output.with_grad_fn(inputs, move |nodes, gradient, gradients| {
        let t = t.as_ref().map(|t| t.read()).transpose()?;
        let (q, w) = (q.as_ref().map(|q| q.read()), w.as_ref().map(|w| w.read()));
        let (q, w) = (q.transpose()?, w.transpose()?);
        let gradient = gradient.read();
        // One after the other: both may be the same tensor.
        for (i, node) in nodes.into_iter().enumerate() {
            let Some(output) = gradients.output(node, geometry.numel())? else { continue };
            let (grad_log_p, grad_probabilities) =
                if i == 0 { (Some(output), None) } else { (None, Some(output)) };
            let x = x.read_if(grad_probabilities.is_some())?;
            let inputs = NllInputs {
                log_p: x.view(),
                target: t.as_ref().map(|t| t.view()),
                probabilities: q.as_ref().map(|q| q.view()),
                weight: w.as_ref().map(|w| w.view()),
            };
            device.nll_backward(
                &geometry,
                inputs,
                divisor.as_ref().map(Device::view),
                reduction != Reduction::None,
                gradient.view(),
                grad_log_p,
                grad_probabilities,
            )?;
        }
        Ok(())
    }))
}
