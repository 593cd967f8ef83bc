//! The last layer and the loss as one op: the fully connected layer, softmax and cross-entropy.

mod cpu;
mod cuda;

use crate::device::{Backend, Device, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::cross_entropy::{CrossEntropyGeometry, CrossEntropyOptions};
use crate::ops::linear::{LinearGeometry, LinearGradients};
use crate::{Result, Shape, Tensor};

/// Sizes and attributes of a last layer and its loss.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct LinearCrossEntropyGeometry {
    /// Of the loss; its classes are the layer's output features.
    pub loss: CrossEntropyGeometry,
    /// Columns of the input.
    pub in_features: u32,
    padding: u32,
}

impl Plain for LinearCrossEntropyGeometry {}

impl LinearCrossEntropyGeometry {
    /// The loss behind a layer with so many inputs.
    pub fn new(loss: CrossEntropyGeometry, in_features: u32) -> Self {
        Self { loss, in_features, padding: 0 }
    }

    /// The layer alone.
    pub fn linear(&self) -> LinearGeometry {
        let CrossEntropyGeometry { batch, classes, .. } = self.loss;
        LinearGeometry { rows: batch, in_features: self.in_features, out_features: classes }
    }
}

kernels! {
    /// What a last layer with its loss asks of a device.
    pub(crate) trait LinearCrossEntropyKernels<T: Float>: Backend {
        /// The reduced loss of `logits = input weight^T + bias`, its gradient by the logits, and how
        /// many rows that count have their largest logit at the target: see
        /// [`cross_entropy_forward`](crate::ops::cross_entropy::CrossEntropyKernels).
        fn linear_cross_entropy_forward(
            &self,
            geometry: &LinearCrossEntropyGeometry,
            input: Self::View<'_, T>,
            weight: Self::View<'_, T>,
            bias: Option<Self::View<'_, T>>,
            target: Self::View<'_, i32>,
            loss: Self::ViewMut<'_, T>,
            grad_logits: Self::ViewMut<'_, T>,
            correct: Self::ViewMut<'_, i32>,
        ) -> Result<()>;

        /// The gradients of the layer, whose output's is `gradient[0] * grad_logits`.
        fn linear_cross_entropy_backward(
            &self,
            geometry: &LinearCrossEntropyGeometry,
            input: Self::View<'_, T>,
            weight: Self::View<'_, T>,
            grad_logits: Self::View<'_, T>,
            gradient: Self::View<'_, T>,
            gradients: LinearGradients<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// The cross-entropy of `linear(input, weight, bias)` against `target [N]`, a scalar, and the
/// number of rows whose largest logit is the target's, `[1]`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor};
/// use signet::ops::linear_cross_entropy::linear_cross_entropy;
///
/// let device = Device::cpu()?;
/// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0], [1, 2])?;
/// let weight = Tensor::from_slice(&device, &[1.0, 0.0, 0.0, 1.0], [2, 2])?;
/// let target = Tensor::from_slice(&device, &[1], [1])?;
/// let (loss, correct) = linear_cross_entropy(&x, &weight, None, &target, &Default::default())?;
/// // -log softmax([1, 2])[1]
/// assert!((loss.item()? - (1.0 + (-1.0_f32).exp()).ln()).abs() < 1e-5);
/// assert_eq!(correct.item()?, 1);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`linear`](crate::ops::linear::linear) and
/// [`cross_entropy`](crate::ops::cross_entropy::cross_entropy).
pub fn linear_cross_entropy<T: Float>(
    input: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    target: &Tensor<i32>,
    options: &CrossEntropyOptions,
) -> Result<(Tensor<T>, Tensor<i32>)> {
    const OP: &str = "linear_cross_entropy";
    input.shape().expect::<2>(OP, "[N, in_features]")?;
    let LinearGeometry { rows, in_features, out_features } =
        LinearGeometry::new(OP, input, weight, bias)?;
    let (rows, classes) = (rows as usize, out_features as usize);
    let loss = CrossEntropyGeometry::new(OP, rows, classes, target, options)?;
    let geometry = LinearCrossEntropyGeometry::new(loss, in_features);

    let device = input.device().clone();
    let (mut loss, mut correct) = (device.alloc(1)?, device.alloc(1)?);
    let mut saved = device.alloc(rows * classes)?;
    {
        let bias = bias.map(Tensor::read);
        device.linear_cross_entropy_forward(
            &geometry,
            input.read().view(),
            weight.read().view(),
            bias.as_ref().map(|bias| bias.view()),
            target.read().view(),
            Device::view_mut(&mut loss),
            Device::view_mut(&mut saved),
            Device::view_mut(&mut correct),
        )?;
    }
    let correct = Tensor::from_buffer(&device, correct, Shape::from([1]));
    let loss = Tensor::from_buffer(&device, loss, Shape::default());
    let (x, w) = (input.save(OP, "input"), weight.save(OP, "weight"));
    let inputs = [Some(input), Some(weight), bias];
    let loss = loss.with_grad_fn(inputs, move |nodes, gradient, gradients| {
        let lengths = [x.numel(), w.numel(), classes];
        let wanted = std::array::from_fn::<_, 3, _>(|i| (nodes[i], lengths[i]));
        let [input, weight, bias] = gradients.outputs(wanted)?;
        device.linear_cross_entropy_backward(
            &geometry,
            x.read_if(weight.is_some())?.view(),
            w.read_if(input.is_some())?.view(),
            Device::view(&saved),
            gradient.read().view(),
            LinearGradients { input, weight, bias },
        )
    });
    Ok((loss, correct))
}
