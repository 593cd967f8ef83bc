//! The last layer and the loss as a row of plain kernels.

use super::LinearCrossEntropyGeometry;
use crate::Result;
use crate::device::{Device, Output};
use crate::dtype::Float;
use crate::ops::linear::{self, LinearGradients};

#[allow(clippy::too_many_arguments)]
pub(super) fn forward<D: Device<T>, T: Float>(
    device: &D,
    geometry: &LinearCrossEntropyGeometry,
    input: D::View<'_, T>,
    weight: D::View<'_, T>,
    bias: Option<D::View<'_, T>>,
    target: D::View<'_, i32>,
    loss: D::ViewMut<'_, T>,
    grad_logits: D::ViewMut<'_, T>,
    correct: D::ViewMut<'_, i32>,
) -> Result<()> {
    let linear = geometry.linear();
    let mut logits = device.alloc((linear.rows * linear.out_features) as usize)?;
    let product = Output { view: D::view_mut(&mut logits), accumulate: false };
    device.matmul(&linear.forward(), input, weight, bias, product)?;
    let logits = D::view(&logits);
    device.cross_entropy_forward(&geometry.loss, logits, target, loss, grad_logits, correct)
}

pub(super) fn backward<D: Device<T>, T: Float>(
    device: &D,
    geometry: &LinearCrossEntropyGeometry,
    input: D::View<'_, T>,
    weight: D::View<'_, T>,
    grad_logits: D::View<'_, T>,
    gradient: D::View<'_, T>,
    gradients: LinearGradients<'_, D, T>,
) -> Result<()> {
    let linear = geometry.linear();
    let mut scaled = device.alloc((linear.rows * linear.out_features) as usize)?;
    let output = Output { view: D::view_mut(&mut scaled), accumulate: false };
    device.cross_entropy_backward(grad_logits, gradient, output)?;
    linear::backward(device, &linear, input, weight, D::view(&scaled), gradients)
}
