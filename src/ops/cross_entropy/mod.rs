//! Softmax and cross-entropy in one pass, from logits; and [`cross_entropy_loss`], all of PyTorch's.

mod cpu;
pub(crate) mod cuda;

pub(crate) use cpu::{argmax, sum_of_exponentials};

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::nll_loss::{class_dim, soft_nll};
use crate::ops::numel32;
use crate::{Error, Result, Shape, Tensor};

/// How the losses of a batch become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean over the targets that count; NaN when none does.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are.
    None,
}

/// Attributes of `torch.nn.CrossEntropyLoss`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropyOptions {
    /// Rows with this target do not count.
    pub ignore_index: i32,
    /// Mean, sum, or none.
    pub reduction: Reduction,
    /// The share of the target spread evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        Self { ignore_index: -100, reduction: Reduction::Mean, label_smoothing: 0.0 }
    }
}

impl CrossEntropyOptions {
    fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.label_smoothing) {
            return Ok(());
        }
        let message = format!("must be from 0 to 1, got {}", self.label_smoothing);
        Err(Error::argument("label_smoothing", message))
    }
}

/// What logits `[N, C, d1..]`, or `[C]` of one, are held against.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a, T: Float = f32> {
    /// Class indices `[N, d1..]`, or `[]`.
    Classes(&'a Tensor<i32>),
    /// The probability of each class, of the shape of the logits.
    Probabilities(&'a Tensor<T>),
}

impl<'a, T: Float> From<&'a Tensor<i32>> for Target<'a, T> {
    fn from(classes: &'a Tensor<i32>) -> Self {
        Self::Classes(classes)
    }
}

impl<'a, T: Float> From<&'a Tensor<T>> for Target<'a, T> {
    fn from(probabilities: &'a Tensor<T>) -> Self {
        Self::Probabilities(probabilities)
    }
}

/// Sizes and attributes of one cross-entropy.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct CrossEntropyGeometry {
    /// Rows.
    pub batch: u32,
    /// Columns of the logits.
    pub classes: u32,
    /// Rows with this target do not count.
    pub ignore_index: i32,
    /// 1: the mean over rows that count; 0: the sum.
    pub mean: u32,
    /// The share of the target spread evenly over all classes.
    pub label_smoothing: f64,
}

impl Plain for CrossEntropyGeometry {}

impl CrossEntropyGeometry {
    /// Of the forward pass: reads the logits and writes their gradient. 8 FLOP an element, an
    /// exponential counted as one: the sum of exponentials takes 3, the probability, its distance from
    /// the target and the scale 5.
    pub fn cost<T>(&self) -> Cost {
        Cost::elementwise::<T>(self.batch as usize * self.classes as usize, 2, 8)
    }

    /// The geometry of logits `[batch, classes]` against `target`.
    ///
    /// # Errors
    /// In the name of `op`, [`Error::Shape`] when shapes do not fit; [`Error::Argument`] for a
    /// smoothing outside 0 to 1.
    pub(crate) fn new(
        op: &'static str,
        batch: usize,
        classes: usize,
        target: &Tensor<i32>,
        options: &CrossEntropyOptions,
    ) -> Result<Self> {
        let logits = Shape::from([batch, classes]);
        if target.dims() != [batch] || classes == 0 {
            let message = format!(
                "logits {logits} and target {}: expected [N, classes] and [N]",
                target.shape()
            );
            return Err(Error::shape(op, message));
        }
        if options.reduction == Reduction::None {
            let message =
                "None leaves many losses: cross_entropy_loss gives them, without the hits";
            return Err(Error::argument("reduction", message));
        }
        options.check()?;
        numel32(op, &logits)?;
        Ok(Self {
            batch: batch as u32,
            classes: classes as u32,
            ignore_index: options.ignore_index,
            mean: u32::from(options.reduction == Reduction::Mean),
            label_smoothing: options.label_smoothing,
        })
    }
}

kernels! {
    /// What cross-entropy asks of a device.
    pub(crate) trait CrossEntropyKernels<T: Float>: Backend {
        /// The reduced loss, its gradient by the logits, and how many rows that count have their
        /// largest logit at the target (the first of several; as `argmax`).
        ///
        /// With `p = softmax(logits)` and `q` the smoothed target of a row, the row's loss is
        /// `-sum q log p` and its gradient `p - q`; both are divided by the number of rows that count
        /// for a mean. A target outside the classes is an error, or NaN where a device cannot raise
        /// one.
        fn cross_entropy_forward(
            &self,
            geometry: &CrossEntropyGeometry,
            logits: Self::View<'_, T>,
            target: Self::View<'_, i32>,
            loss: Self::ViewMut<'_, T>,
            grad_logits: Self::ViewMut<'_, T>,
            correct: Self::ViewMut<'_, i32>,
        ) -> Result<()>;

        /// `grad_logits = gradient[0] * saved`.
        fn cross_entropy_backward(
            &self,
            saved: Self::View<'_, T>,
            gradient: Self::View<'_, T>,
            grad_logits: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// The cross-entropy of `logits [N, classes]` against `target [N]`, a scalar, and the number of
/// rows whose largest logit is the target's, `[1]`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::cross_entropy;
///
/// let device = Device::cpu()?;
/// let logits = Tensor::from_slice(&device, &[0.0_f32, 0.0, 9.0, 0.0], [2, 2])?;
/// let target = Tensor::from_slice(&device, &[1, 0], [2])?;
/// let (loss, correct) = cross_entropy(&logits, &target, &Default::default())?;
/// // The first row cannot decide, the second is sure.
/// assert!((loss.item()? - 0.5 * 2.0_f32.ln()).abs() < 1e-3);
/// assert_eq!(correct.item()?, 1);
/// # Ok(()) }
/// ```
///
/// [`cross_entropy_loss`] takes other shapes and targets too, and counts no hits.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit; [`Error::Argument`] for a smoothing outside 0 to 1, and
/// for [`Reduction::None`].
pub fn cross_entropy<T: Float>(
    logits: &Tensor<T>,
    target: &Tensor<i32>,
    options: &CrossEntropyOptions,
) -> Result<(Tensor<T>, Tensor<i32>)> {
    let [batch, classes] = logits.shape().expect("cross_entropy", "[N, classes]")?;
    let geometry = CrossEntropyGeometry::new("cross_entropy", batch, classes, target, options)?;
    let device = logits.device().clone();
    let (mut loss, mut correct) = (device.alloc(1)?, device.alloc(1)?);
    let mut saved = device.alloc(logits.numel())?;
    device.cross_entropy_forward(
        &geometry,
        logits.read().view(),
        target.read().view(),
        Device::view_mut(&mut loss),
        Device::view_mut(&mut saved),
        Device::view_mut(&mut correct),
    )?;
    let correct = Tensor::from_buffer(&device, correct, Shape::from([1]));
    let loss = Tensor::from_buffer(&device, loss, Shape::default());
    let numel = logits.numel();
    let loss = loss.with_grad_fn([Some(logits)], move |[x], gradient, gradients| {
        let Some(output) = gradients.output(x, numel)? else { return Ok(()) };
        device.cross_entropy_backward(Device::view(&saved), gradient.read().view(), output)
    });
    Ok((loss, correct))
}

/// The cross-entropy of `logits [N, C, d1..]`, or `[C]`, as `torch.nn.functional.cross_entropy`: against
/// class indices `[N, d1..]`, or against probabilities of the logits' shape, which get a gradient too.
/// Each class counts by its `weight [C]`. A mean is over the weights of the targets that count, and
/// over all positions for probabilities.
///
/// Matrices of logits without weights are one pass, as [`cross_entropy`]; all else is
/// [`Tensor::log_softmax`] and a second one.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::cross_entropy::{CrossEntropyOptions, Reduction, cross_entropy_loss};
///
/// let device = Device::cpu()?;
/// let logits = Tensor::from_slice(&device, &[0.0_f32, 0.0, 0.0, 0.0], [2, 2])?;
/// let options = CrossEntropyOptions { reduction: Reduction::None, ..Default::default() };
/// let weight = Tensor::from_slice(&device, &[1.0, 3.0], [2])?;
/// let classes = Tensor::from_slice(&device, &[1, 0], [2])?;
/// let losses = cross_entropy_loss(&logits, &classes, Some(&weight), &options)?.to_vec()?;
/// assert!((losses[0] - 3.0 * losses[1]).abs() < 1e-6);
/// // Half of each class, which these logits say.
/// let halves = Tensor::from_slice(&device, &[0.5; 4], [2, 2])?;
/// let loss = cross_entropy_loss(&logits, &halves, None, &Default::default())?;
/// assert!((loss.item()? - 2.0_f32.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit, and on a CPU for a target that is no class; a GPU makes the
/// loss NaN. [`Error::Argument`] for a smoothing outside 0 to 1, and for probabilities with an
/// `ignore_index` that is not negative.
pub fn cross_entropy_loss<'a, T: Float>(
    logits: &Tensor<T>,
    target: impl Into<Target<'a, T>>,
    weight: Option<&Tensor<T>>,
    options: &CrossEntropyOptions,
) -> Result<Tensor<T>> {
    const OP: &str = "cross_entropy_loss";
    let target = target.into();
    options.check()?;
    match target {
        Target::Classes(target)
            if weight.is_none()
                && logits.shape().rank() == 2
                && options.reduction != Reduction::None =>
        {
            return Ok(cross_entropy(logits, target, options)?.0);
        }
        Target::Probabilities(_) if options.ignore_index >= 0 => {
            let message = format!(
                "probabilities have no class {} to ignore; leave it negative",
                options.ignore_index
            );
            return Err(Error::argument("ignore_index", message));
        }
        _ => {}
    }
    let log_p = logits.log_softmax(class_dim(logits.shape()) as isize)?;
    soft_nll(OP, &log_p, target, weight, options)
}
