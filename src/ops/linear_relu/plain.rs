//! The hidden layer as a row of plain kernels.

use crate::Result;
use crate::device::{Device, Output};
use crate::dtype::Float;
use crate::ops::dropout::DropoutView;
use crate::ops::linear::{self, LinearGeometry, LinearGradients};
use crate::ops::sum::ChannelGeometry;

pub(super) fn forward<D: Device<T>, T: Float>(
    device: &D,
    geometry: &LinearGeometry,
    input: D::View<'_, T>,
    weight: D::View<'_, T>,
    bias: Option<D::View<'_, T>>,
    drop: Option<DropoutView<'_, D>>,
    output: D::ViewMut<'_, T>,
) -> Result<()> {
    let numel = (geometry.rows * geometry.out_features) as usize;
    let mut x = device.alloc(numel)?;
    let product = Output { view: D::view_mut(&mut x), accumulate: false };
    device.matmul(&geometry.forward(), input, weight, bias, product)?;
    if let Some(DropoutView { geometry, step }) = drop {
        let mut kept = device.alloc(numel)?;
        let view = Output { view: D::view_mut(&mut kept), accumulate: false };
        device.dropout(&geometry, step, D::view(&x), view)?;
        x = kept;
    }
    device.relu_forward(D::view(&x), output)
}

#[allow(clippy::too_many_arguments)]
pub(super) fn backward<D: Device<T>, T: Float>(
    device: &D,
    geometry: &LinearGeometry,
    scale: T,
    input: D::View<'_, T>,
    weight: D::View<'_, T>,
    output: D::View<'_, T>,
    grad_output: D::View<'_, T>,
    gradients: LinearGradients<'_, D, T>,
) -> Result<()> {
    let numel = (geometry.rows * geometry.out_features) as usize;
    let mut passed = device.alloc(numel)?;
    let rectifier = Output { view: D::view_mut(&mut passed), accumulate: false };
    device.relu_backward(output, grad_output, rectifier)?;
    if scale != T::one() {
        let geometry = ChannelGeometry { outer: 1, channels: numel as u32, inner: 1 };
        let mut scaled = device.alloc(numel)?;
        let view = Output { view: D::view_mut(&mut scaled), accumulate: false };
        device.channel_expand(&geometry, scale, D::view(&passed), view)?;
        passed = scaled;
    }
    linear::backward(device, geometry, input, weight, D::view(&passed), gradients)
}
