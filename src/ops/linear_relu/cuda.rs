use super::{LinearReluKernels, plain};
use crate::Result;
use crate::device::{Cuda, Memory};
use crate::dtype::Float;
use crate::ops::dropout::DropoutView;
use crate::ops::linear::{LinearGeometry, LinearGradients};

impl<T: Float> LinearReluKernels<T> for Cuda {
    fn linear_relu_forward(
        &self,
        geometry: &LinearGeometry,
        input: <Self as Memory>::View<'_, T>,
        weight: <Self as Memory>::View<'_, T>,
        bias: Option<<Self as Memory>::View<'_, T>>,
        drop: Option<DropoutView<'_, Self>>,
        output: <Self as Memory>::ViewMut<'_, T>,
    ) -> Result<()> {
        plain::forward(self, geometry, input, weight, bias, drop, output)
    }

    fn linear_relu_backward(
        &self,
        geometry: &LinearGeometry,
        scale: T,
        input: <Self as Memory>::View<'_, T>,
        weight: <Self as Memory>::View<'_, T>,
        output: <Self as Memory>::View<'_, T>,
        grad_output: <Self as Memory>::View<'_, T>,
        gradients: LinearGradients<'_, Self, T>,
    ) -> Result<()> {
        plain::backward(self, geometry, scale, input, weight, output, grad_output, gradients)
    }
}
