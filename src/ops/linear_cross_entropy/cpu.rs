//! The plain kernels do: a last layer is too small to gain by passes of its own.

use super::{LinearCrossEntropyGeometry, LinearCrossEntropyKernels};
use crate::Result;
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::cross_entropy::CrossEntropyKernels;
use crate::ops::linear::{self, LinearGradients};
use crate::ops::matmul::MatmulKernels;

impl<T: Float> LinearCrossEntropyKernels<T> for Cpu {
    fn linear_cross_entropy_forward(
        &self,
        geometry: &LinearCrossEntropyGeometry,
        input: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        target: &[i32],
        loss: &mut [T],
        grad_logits: &mut [T],
        correct: &mut [i32],
    ) -> Result<()> {
        let linear = geometry.linear();
        let mut logits = self.alloc((linear.rows * linear.out_features) as usize)?;
        let product = Output { view: &mut *logits, accumulate: false };
        self.matmul(&linear.forward(), input, weight, bias, product)?;
        self.cross_entropy_forward(&geometry.loss, &logits, target, loss, grad_logits, correct)
    }

    fn linear_cross_entropy_backward(
        &self,
        geometry: &LinearCrossEntropyGeometry,
        input: &[T],
        weight: &[T],
        grad_logits: &[T],
        gradient: &[T],
        gradients: LinearGradients<'_, Self, T>,
    ) -> Result<()> {
        let linear = geometry.linear();
        let mut scaled = self.alloc((linear.rows * linear.out_features) as usize)?;
        let output = Output { view: &mut *scaled, accumulate: false };
        self.cross_entropy_backward(grad_logits, gradient, output)?;
        linear::backward(self, &linear, input, weight, &scaled, gradients)
    }
}
