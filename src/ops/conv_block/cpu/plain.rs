//! The block as a row of plain kernels, for geometries for which there is nothing better.

use super::super::{ConvBlockGeometry, ConvBlockGradients, ConvBlockInputs, Normaliser};
use crate::Result;
use crate::device::cpu::CpuBuffer;
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::batch_norm2d::{BatchNorm2dGradients, BatchNorm2dKernels};
use crate::ops::conv2d::Conv2dKernels;
use crate::ops::dropout::{DropoutKernels, DropoutView};
use crate::ops::max_pool2d::MaxPool2dKernels;
use crate::ops::sum::SumKernels;

/// What the plain kernels' backward pass needs.
pub struct Saved<T: Float> {
    /// The convolution's output, `[N, O, OH, OW]`.
    convolved: CpuBuffer<T>,
    /// `[O]`.
    mean: CpuBuffer<T>,
    /// `[O]`.
    invstd: CpuBuffer<T>,
    /// Whether these are the batch's.
    batch_statistics: bool,
    /// The rectifier's output, `[N, O, OH, OW]`.
    rectified: CpuBuffer<T>,
    /// Where each window's maximum lies, `[N, O, PH, PW]`.
    argmax: CpuBuffer<i32>,
}

pub(super) fn forward<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    eps: T,
    inputs: ConvBlockInputs<'_, Cpu, T>,
    normaliser: Normaliser<'_, Cpu, T>,
    drop: Option<DropoutView<'_, Cpu>>,
    output: &mut [T],
) -> Result<Saved<T>> {
    let ConvBlockInputs { input, weight, bias, affine } = inputs;
    let channels = geometry.channels();
    let numel = channels.numel();
    let mut convolved = device.alloc::<T>(numel)?;
    device.conv2d_forward(&geometry.conv, input, weight, bias, &mut convolved)?;

    let mut mean = device.alloc::<T>(channels.channels as usize)?;
    let mut invstd = device.alloc::<T>(channels.channels as usize)?;
    let batch_statistics = matches!(normaliser, Normaliser::Batch(_));
    match normaliser {
        Normaliser::Batch(running) => device.batch_norm2d_statistics(
            &channels,
            eps,
            &convolved,
            &mut mean,
            &mut invstd,
            running,
        )?,
        Normaliser::Running { mean: running, var } => {
            device.copy(running, &mut mean)?;
            device.batch_norm2d_invstd(eps, var, &mut invstd)?;
        }
    }
    let mut rectified = device.alloc::<T>(numel)?;
    device.batch_norm2d_normalize(
        &channels,
        &convolved,
        &mean,
        &invstd,
        affine,
        None,
        true,
        &mut rectified,
    )?;
    let mut dropped = device.alloc::<T>(if drop.is_some() { numel } else { 0 })?;
    if let Some(DropoutView { geometry, step }) = &drop {
        let kept = Output { view: &mut *dropped, accumulate: false };
        device.dropout(geometry, *step, &rectified, kept)?;
    }
    let pooled = if drop.is_some() { &dropped } else { &rectified };
    let mut argmax = device.alloc(geometry.windows() as usize)?;
    device.max_pool2d_forward(&geometry.pool, pooled, output, &mut argmax)?;
    Ok(Saved { convolved, mean, invstd, batch_statistics, rectified, argmax })
}

pub(super) fn backward<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    inputs: ConvBlockInputs<'_, Cpu, T>,
    drop: Option<DropoutView<'_, Cpu>>,
    saved: Saved<T>,
    grad_output: &[T],
    gradients: ConvBlockGradients<'_, Cpu, T>,
) -> Result<()> {
    let Saved { convolved, mean, invstd, batch_statistics, rectified, argmax } = saved;
    let channels = geometry.channels();
    let numel = channels.numel();
    // Two buffers take turns.
    let (mut a, mut b) = (device.alloc::<T>(numel)?, device.alloc::<T>(numel)?);
    let unpooled = Output { view: &mut *a, accumulate: false };
    device.max_pool2d_backward(&geometry.pool, &argmax, grad_output, unpooled)?;
    if let Some(DropoutView { geometry, step }) = drop {
        let kept = Output { view: &mut *b, accumulate: false };
        device.dropout(&geometry, step, &a, kept)?;
        std::mem::swap(&mut a, &mut b);
    }
    let ConvBlockGradients { input, weight, bias, mut scale, mut shift } = gradients;
    device.batch_norm2d_backward(
        &channels,
        batch_statistics,
        &convolved,
        &mean,
        &invstd,
        inputs.affine.weight,
        Some(&rectified),
        &a,
        BatchNorm2dGradients {
            input: Some(Output { view: &mut *b, accumulate: false }),
            weight: scale.as_mut().map(Output::reborrow),
            bias: shift.as_mut().map(Output::reborrow),
            residual: None,
        },
    )?;
    let gradient = &b;
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
