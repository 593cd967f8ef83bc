//! The block as a row of plain kernels: for geometries for which a device has nothing better.

use super::{ConvBlockGeometry, ConvBlockGradients, ConvBlockInputs, Normaliser};
use crate::Result;
use crate::device::{Device, Output};
use crate::dtype::Float;
use crate::ops::batch_norm2d::BatchNorm2dGradients;
use crate::ops::dropout::DropoutView;

/// What the plain kernels' backward pass needs.
pub struct PlainSaved<D: Device<T>, T: Float> {
    /// The convolution's output, `[N, O, OH, OW]`.
    convolved: D::Buffer<T>,
    /// `[O]`.
    mean: D::Buffer<T>,
    /// `[O]`.
    invstd: D::Buffer<T>,
    /// Whether these are the batch's.
    batch_statistics: bool,
    /// The rectifier's output, `[N, O, OH, OW]`.
    rectified: D::Buffer<T>,
    /// Where each window's maximum lies, `[N, O, PH, PW]`.
    argmax: D::Buffer<i32>,
}

pub(super) fn forward<D: Device<T>, T: Float>(
    device: &D,
    geometry: &ConvBlockGeometry,
    eps: T,
    inputs: ConvBlockInputs<'_, D, T>,
    normaliser: Normaliser<'_, D, T>,
    drop: Option<DropoutView<'_, D>>,
    output: D::ViewMut<'_, T>,
) -> Result<PlainSaved<D, T>> {
    let ConvBlockInputs { input, weight, bias, affine } = inputs;
    let channels = geometry.channels();
    let numel = channels.numel();
    let mut convolved = device.alloc(numel)?;
    device.conv2d_forward(&geometry.conv, input, weight, bias, D::view_mut(&mut convolved))?;

    let mut mean = device.alloc(channels.channels as usize)?;
    let mut invstd = device.alloc(channels.channels as usize)?;
    let batch_statistics = matches!(normaliser, Normaliser::Batch(_));
    match normaliser {
        Normaliser::Batch(running) => device.batch_norm2d_statistics(
            &channels,
            eps,
            D::view(&convolved),
            D::view_mut(&mut mean),
            D::view_mut(&mut invstd),
            running,
        )?,
        Normaliser::Running { mean: running, var } => {
            device.copy(running, D::view_mut(&mut mean))?;
            device.batch_norm2d_invstd(eps, var, D::view_mut(&mut invstd))?;
        }
    }
    let mut normalised = device.alloc(numel)?;
    device.batch_norm2d_normalize(
        &channels,
        D::view(&convolved),
        D::view(&mean),
        D::view(&invstd),
        affine,
        D::view_mut(&mut normalised),
    )?;
    let mut rectified = device.alloc(numel)?;
    device.relu_forward(D::view(&normalised), D::view_mut(&mut rectified))?;
    if let Some(DropoutView { geometry, step }) = &drop {
        let kept = Output { view: D::view_mut(&mut normalised), accumulate: false };
        device.dropout(geometry, *step, D::view(&rectified), kept)?;
    }
    let pooled = if drop.is_some() { &normalised } else { &rectified };
    let mut argmax = device.alloc(
        (geometry.pool.planes * geometry.pool.out_height * geometry.pool.out_width) as usize,
    )?;
    device.max_pool2d_forward(&geometry.pool, D::view(pooled), output, D::view_mut(&mut argmax))?;
    Ok(PlainSaved { convolved, mean, invstd, batch_statistics, rectified, argmax })
}

pub(super) fn backward<D: Device<T>, T: Float>(
    device: &D,
    geometry: &ConvBlockGeometry,
    inputs: ConvBlockInputs<'_, D, T>,
    drop: Option<DropoutView<'_, D>>,
    saved: PlainSaved<D, T>,
    grad_output: D::View<'_, T>,
    gradients: ConvBlockGradients<'_, D, T>,
) -> Result<()> {
    let PlainSaved { convolved, mean, invstd, batch_statistics, rectified, argmax } = saved;
    let channels = geometry.channels();
    let numel = channels.numel();
    // Two buffers take turns.
    let (mut a, mut b) = (device.alloc(numel)?, device.alloc(numel)?);
    let unpooled = Output { view: D::view_mut(&mut a), accumulate: false };
    device.max_pool2d_backward(&geometry.pool, D::view(&argmax), grad_output, unpooled)?;
    if let Some(DropoutView { geometry, step }) = drop {
        let kept = Output { view: D::view_mut(&mut b), accumulate: false };
        device.dropout(&geometry, step, D::view(&a), kept)?;
        std::mem::swap(&mut a, &mut b);
    }
    let rectifier = Output { view: D::view_mut(&mut b), accumulate: false };
    device.relu_backward(D::view(&rectified), D::view(&a), rectifier)?;
    let ConvBlockGradients { input, weight, bias, mut scale, mut shift } = gradients;
    device.batch_norm2d_backward(
        &channels,
        batch_statistics,
        D::view(&convolved),
        D::view(&mean),
        D::view(&invstd),
        inputs.affine.weight,
        D::view(&b),
        BatchNorm2dGradients {
            input: Some(Output { view: D::view_mut(&mut a), accumulate: false }),
            weight: scale.as_mut().map(Output::reborrow),
            bias: shift.as_mut().map(Output::reborrow),
        },
    )?;
    let gradient = D::view(&a);
    if let Some(input) = input {
        device.conv2d_backward_input(&geometry.conv, gradient, inputs.weight, input)?;
    }
    if let Some(weight) = weight {
        device.conv2d_backward_weight(&geometry.conv, inputs.input, gradient, weight)?;
    }
    if let Some(bias) = bias {
        device.channel_sum(&channels, T::one(), gradient, bias)?;
    }
    Ok(())
}
