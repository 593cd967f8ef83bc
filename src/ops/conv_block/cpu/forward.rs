//! Forward, in two passes over the groups with the batch's moments between them:
//!
//! ```text
//!   pass 1, per group:  input ─► three shifted copies ─► convolution ─► moments of the group
//!   then:               moments of all groups, merged in their order ─► mean, invstd
//!   pass 2, per group:  normalise, rectify, drop, pool ─► output, and what backward needs
//! ```

use super::super::{ConvBlockGeometry, ConvBlockInputs, Normaliser};
use super::layout::Layout;
use super::{FastSaved, pool};
use crate::Result;
use crate::device::cpu::{ImplicitGemm, LaneSums, PackedRows};
use crate::device::{Cpu, Memory};
use crate::dtype::Float;
use crate::ops::batch_norm2d::{self, BatchNorm2dKernels};
use crate::ops::dropout::{self, DropoutView};
use rayon::prelude::*;

#[allow(clippy::too_many_arguments)]
pub(super) fn forward<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    eps: T,
    inputs: ConvBlockInputs<'_, Cpu, T>,
    normaliser: Normaliser<'_, Cpu, T>,
    drop: Option<DropoutView<'_, Cpu>>,
    output: &mut [T],
    keep: bool,
) -> Result<Option<FastSaved<T>>> {
    let layout = Layout::new(&geometry.conv);
    let channels = geometry.conv.out_channels as usize;
    let batch_statistics = matches!(normaliser, Normaliser::Batch(_));
    let mut convolved = device.alloc(layout.groups() * channels * layout.plane)?;
    let mut moments = device.alloc(layout.groups() * 2 * channels)?;
    let moments_wanted = batch_statistics.then_some(&mut moments[..]);
    let input = convolve(device, geometry, &layout, &inputs, &mut convolved, moments_wanted, keep)?;

    let (mut mean, mut invstd) = (device.alloc(channels)?, device.alloc(channels)?);
    match normaliser {
        Normaliser::Batch(running) => {
            merge(&layout, &moments, &mut mean, &mut invstd);
            let count = layout.batch as f64 * layout.pixels() as f64;
            if let Some(running) = running {
                batch_norm2d::track(running, &mean, &invstd, count);
            }
            invstd.iter_mut().for_each(|var| *var = T::one() / (*var + eps).sqrt());
        }
        Normaliser::Running { mean: running, var } => {
            mean.copy_from_slice(running);
            device.batch_norm2d_invstd(eps, var, &mut invstd)?;
        }
    }

    let places = if keep { output.len() } else { 0 };
    let (mut codes, mut peaks) = (device.alloc(places)?, device.alloc(places)?);
    let scale: Vec<T> = scales(&invstd, inputs.affine.weight);
    let normalise = Normalise { mean: &mean, scale: &scale, shift: inputs.affine.bias };
    activate(
        device, geometry, &layout, &convolved, normalise, drop, output, &mut codes, &mut peaks,
    )?;
    let saved =
        |input| FastSaved { input, convolved, mean, invstd, batch_statistics, codes, peaks };
    Ok(input.map(saved))
}

/// `invstd * weight` of each channel.
pub(super) fn scales<T: Float>(invstd: &[T], weight: Option<&[T]>) -> Vec<T> {
    let scale = |(c, &invstd)| invstd * weight.map_or(T::one(), |weight: &[T]| weight[c]);
    invstd.iter().enumerate().map(scale).collect()
}

/// Pass 1: fills `convolved` `[groups, O, plane]`, and `moments` `[groups, O, 2]` with each group's
/// mean and sum of squares around it. Returns the shifted input when it is to be kept.
#[allow(clippy::type_complexity)]
fn convolve<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    layout: &Layout,
    inputs: &ConvBlockInputs<'_, Cpu, T>,
    convolved: &mut [T],
    moments: Option<&mut [f64]>,
    keep: bool,
) -> Result<Option<<Cpu as Memory>::Buffer<T>>> {
    let (out_channels, in_channels) =
        (geometry.conv.out_channels as usize, geometry.conv.in_channels as usize);
    let pixels = layout.pixels();
    let depth = 9 * in_channels;
    let shifted = layout.shifted(in_channels);
    let taps = layout.taps(in_channels);
    let simd = device.simd();
    let mut kept = device.alloc(if keep { layout.groups() * shifted } else { 0 })?;
    let weights = device.alloc(out_channels * depth)?;
    device.kernel("conv_block_convolve", geometry.conv.cost::<T>(), || -> Result<()> {
        let weight = inputs.weight;
        let weights = PackedRows::new(simd, weights, out_channels, depth, |o| {
            weight[o * depth..][..depth].iter().copied()
        });
        let one_group =
            |group: usize, input: &mut [T], convolved: &mut [T], moments: Option<&mut [f64]>| {
                let images = layout.images_of(group);
                simd.vectorize(
                    #[inline(always)]
                    || {
                        for c in 0..in_channels {
                            let here = (c, in_channels);
                            layout.fill(
                                input,
                                here,
                                images.len(),
                                true,
                                #[inline(always)]
                                |image, run| {
                                    let plane = (images.start + image) * in_channels + c;
                                    run.copy_from_slice(&inputs.input[plane * pixels..][..pixels]);
                                },
                            );
                        }
                    },
                );
                simd.run(ImplicitGemm {
                    weights: &weights,
                    bias: inputs.bias,
                    offsets: &taps,
                    input,
                    output: convolved,
                    stride: layout.plane,
                    columns: layout.columns(images.len()),
                });
                let Some(moments) = moments else { return };
                simd.vectorize(
                    #[inline(always)]
                    || {
                        let planes = convolved.chunks_exact(layout.plane);
                        for (plane, moments) in planes.zip(moments.chunks_exact_mut(2)) {
                            moments.copy_from_slice(&moments_of(layout, images.len(), plane));
                        }
                    },
                );
            };
        let mut moments = moments.map(|moments| moments.chunks_exact_mut(2 * out_channels));
        let moments = (0..layout.groups()).map(|_| moments.as_mut().and_then(Iterator::next));
        let moments: Vec<_> = moments.collect();
        let groups = convolved.par_chunks_mut(out_channels * layout.plane).zip(moments).enumerate();
        if keep {
            groups.zip(kept.par_chunks_mut(shifted)).for_each(
                |((group, (convolved, moments)), input)| {
                    one_group(group, input, convolved, moments)
                },
            );
            return Ok(());
        }
        groups.try_for_each(|(group, (convolved, moments))| {
            one_group(group, &mut device.alloc(shifted)?, convolved, moments);
            Ok(())
        })
    })?;
    Ok(keep.then_some(kept))
}

/// The mean of a channel's pixels in a group, and the sum of squares around it: two passes, for the
/// difference of E[x^2] and mean^2 cancels for a mean far from 0.
#[inline(always)]
fn moments_of<T: Float>(layout: &Layout, images: usize, plane: &[T]) -> [f64; 2] {
    let mut sum = LaneSums::default();
    for image in 0..images {
        let run = &plane[layout.run(image)];
        sum.add(
            run,
            run,
            #[inline(always)]
            |x, _| x,
        );
    }
    let mean = sum.total() / (images * layout.pixels()) as f64;
    let around = T::of(mean);
    let mut squares = LaneSums::default();
    for image in 0..images {
        let run = &plane[layout.run(image)];
        squares.add(
            run,
            run,
            #[inline(always)]
            |x, _| (x - around) * (x - around),
        );
    }
    // Around the rounded mean: move to the mean itself.
    let off = mean - around.as_f64();
    [mean, squares.total() - off * off * (images * layout.pixels()) as f64]
}

/// The mean and the biased variance of each channel from those of the groups, in their order: Chan,
/// Golub, LeVeque, "Algorithms for Computing the Sample Variance", 1983.
fn merge<T: Float>(layout: &Layout, moments: &[f64], mean: &mut [T], var: &mut [T]) {
    let channels = mean.len();
    for (c, (mean, var)) in mean.iter_mut().zip(var).enumerate() {
        let (mut count, mut center, mut squares) = (0.0, 0.0, 0.0);
        for group in 0..layout.groups() {
            let more = (layout.images_of(group).len() * layout.pixels()) as f64;
            let at = 2 * (group * channels + c);
            let apart = moments[at] - center;
            let all = count + more;
            squares += moments[at + 1] + apart * apart * (count * more / all);
            center += apart * (more / all);
            count = all;
        }
        (*mean, *var) = (T::of(center), T::of(squares / count));
    }
}

/// `(x - mean) * scale + shift`, per channel.
struct Normalise<'a, T> {
    mean: &'a [T],
    scale: &'a [T],
    shift: Option<&'a [T]>,
}

/// Pass 2: everything after the convolution. Empty `codes` and `peaks` are not kept.
#[allow(clippy::too_many_arguments)]
fn activate<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    layout: &Layout,
    convolved: &[T],
    normalise: Normalise<'_, T>,
    drop: Option<DropoutView<'_, Cpu>>,
    output: &mut [T],
    codes: &mut [u8],
    peaks: &mut [T],
) -> Result<()> {
    let channels = geometry.conv.out_channels as usize;
    let pixels = layout.pixels();
    let windows = (geometry.pool.out_height * geometry.pool.out_width) as usize;
    let keep = !codes.is_empty();
    let simd = device.simd();
    device.kernel("conv_block_activate", geometry.pool_cost::<T>(keep), || {
        let image = |image: usize, output: &mut [T], codes: &mut [u8], peaks: &mut [T]| {
            let mut activated = device.alloc(pixels)?;
            let elements = if drop.is_some() { channels * pixels } else { 0 };
            let mut factors = device.alloc(elements)?;
            if let Some(DropoutView { geometry, step }) = &drop {
                let first = image * channels * pixels;
                device.dropout_factors(geometry, step[0], first, &mut factors);
            }
            simd.vectorize(
                #[inline(always)]
                || {
                    let group = image / layout.images * channels * layout.plane;
                    let run = layout.run(image % layout.images);
                    for c in 0..channels {
                        let plane = &convolved[group + c * layout.plane..][run.clone()];
                        let (mean, scale) = (normalise.mean[c], normalise.scale[c]);
                        let shift = normalise.shift.map_or(T::zero(), |shift| shift[c]);
                        for (y, &x) in activated.iter_mut().zip(plane) {
                            let x = (x - mean) * scale + shift;
                            // `x <= 0` is false for NaN, which so stays.
                            *y = if x <= T::zero() { T::zero() } else { x };
                        }
                        if drop.is_some() {
                            let factors = &factors[c * pixels..(c + 1) * pixels];
                            for (y, &factor) in activated.iter_mut().zip(factors) {
                                *y = dropout::scaled(*y, factor);
                            }
                        }
                        let at = c * windows..(c + 1) * windows;
                        pool::forward(
                            &geometry.pool,
                            &activated,
                            plane,
                            &mut output[at.clone()],
                            &mut codes[if keep { at.clone() } else { 0..windows }],
                            &mut peaks[if keep { at } else { 0..windows }],
                        );
                    }
                },
            );
            Ok(())
        };
        let image_outputs = output.par_chunks_mut((channels * windows).max(1)).enumerate();
        if keep {
            let codes = codes.par_chunks_mut(channels * windows);
            let peaks = peaks.par_chunks_mut(channels * windows);
            return image_outputs
                .zip(codes.zip(peaks))
                .with_min_len(layout.images)
                .try_for_each(|((i, output), (codes, peaks))| image(i, output, codes, peaks));
        }
        image_outputs.with_min_len(layout.images).try_for_each(|(i, output)| {
            image(i, output, &mut device.alloc(windows)?, &mut device.alloc(windows)?)
        })
    })
}
