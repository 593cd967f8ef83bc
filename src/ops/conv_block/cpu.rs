use super::plain::{self, PlainSaved};
use super::{ConvBlockGeometry, ConvBlockGradients, ConvBlockInputs, ConvBlockKernels, Normaliser};
use crate::Result;
use crate::device::{Cpu, Memory};
use crate::dtype::Float;
use crate::ops::dropout::DropoutView;

impl<T: Float> ConvBlockKernels<T> for Cpu {
    type ConvBlockSaved = PlainSaved<Self, T>;

    fn conv_block_forward(
        &self,
        geometry: &ConvBlockGeometry,
        eps: T,
        inputs: ConvBlockInputs<'_, Self, T>,
        normaliser: Normaliser<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        output: <Self as Memory>::ViewMut<'_, T>,
        _keep: bool,
    ) -> Result<Option<Self::ConvBlockSaved>> {
        plain::forward(self, geometry, eps, inputs, normaliser, drop, output).map(Some)
    }

    fn conv_block_backward(
        &self,
        geometry: &ConvBlockGeometry,
        inputs: ConvBlockInputs<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        saved: Self::ConvBlockSaved,
        _output: <Self as Memory>::View<'_, T>,
        grad_output: <Self as Memory>::View<'_, T>,
        gradients: ConvBlockGradients<'_, Self, T>,
    ) -> Result<()> {
        plain::backward(self, geometry, inputs, drop, saved, grad_output, gradients)
    }
}
