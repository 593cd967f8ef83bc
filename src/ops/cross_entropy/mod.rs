//! Softmax and cross-entropy in one pass, from logits.

mod cpu;
pub(crate) mod cuda;

pub(crate) use cpu::{argmax, sum_of_exponentials};

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
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
}

/// Attributes of `torch.nn.CrossEntropyLoss`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropyOptions {
    /// Rows with this target do not count.
    pub ignore_index: i32,
    /// Mean or sum.
    pub reduction: Reduction,
    /// The share of the target spread evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        Self { ignore_index: -100, reduction: Reduction::Mean, label_smoothing: 0.0 }
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
        if !(0.0..=1.0).contains(&options.label_smoothing) {
            let message = format!("must be from 0 to 1, got {}", options.label_smoothing);
            return Err(Error::argument("label_smoothing", message));
        }
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
/// # Errors
/// [`Error::Shape`] when shapes do not fit; [`Error::Argument`] for a smoothing outside 0 to 1.
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
