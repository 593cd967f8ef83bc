//! The plain kernels do: a last layer is too small to gain by passes of its own.

use super::{LinearCrossEntropyGeometry, LinearCrossEntropyKernels, plain};
use crate::Result;
use crate::device::{Cpu, Memory};
use crate::dtype::Float;
use crate::ops::linear::LinearGradients;

impl<T: Float> LinearCrossEntropyKernels<T> for Cpu {
    fn linear_cross_entropy_forward(
        &self,
        geometry: &LinearCrossEntropyGeometry,
        input: <Self as Memory>::View<'_, T>,
        weight: <Self as Memory>::View<'_, T>,
        bias: Option<<Self as Memory>::View<'_, T>>,
        target: <Self as Memory>::View<'_, i32>,
        loss: <Self as Memory>::ViewMut<'_, T>,
        grad_logits: <Self as Memory>::ViewMut<'_, T>,
        correct: <Self as Memory>::ViewMut<'_, i32>,
    ) -> Result<()> {
        plain::forward(self, geometry, input, weight, bias, target, loss, grad_logits, correct)
    }

    fn linear_cross_entropy_backward(
        &self,
        geometry: &LinearCrossEntropyGeometry,
        input: <Self as Memory>::View<'_, T>,
        weight: <Self as Memory>::View<'_, T>,
        grad_logits: <Self as Memory>::View<'_, T>,
        gradient: <Self as Memory>::View<'_, T>,
        gradients: LinearGradients<'_, Self, T>,
    ) -> Result<()> {
        plain::backward(self, geometry, input, weight, grad_logits, gradient, gradients)
    }
}
