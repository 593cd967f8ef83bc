//! Forward, in two passes over the groups with the batch's moments between them:
//!
//! ```text
//!   pass 1, per group:  input ─► images side by side ─► convolution ─► moments of the group
//!   then:               moments of all groups, merged in their order ─► mean, invstd
//!   pass 2, per group:  normalise, rectify, drop, pool ─► output, and what backward needs
//! ```

use super::super::{ConvBlockGeometry, ConvBlockInputs, Normaliser};
use super::pool::{self, Activation, Maxima, SLACK};
use super::{FastSaved, TAPS};
use crate::Result;
use crate::device::cpu::{CpuBuffer, ImplicitGemm, PackedRows};
use crate::device::{Backend, Cpu};
use crate::dtype::Float;
use crate::ops::batch_norm2d::{self, BatchNorm2dKernels, Moments};
use crate::ops::conv2d::{Frame, Layout, Phase, Sight};
use crate::ops::dropout::DropoutView;
use crate::ops::max_pool2d::MaxPool2dGeometry;
use pulp::{Simd, WithSimd};
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
    let mut convolved = device.alloc(layout.groups() * channels * layout.plane + SLACK)?;
    let mut moments = device.alloc(layout.groups() * 2 * channels)?;
    let moments_wanted = batch_statistics.then_some(&mut moments[..]);
    let kept = convolve(device, geometry, &layout, &inputs, &mut convolved, moments_wanted, keep)?;

    let (mut mean, mut invstd) = (device.alloc(channels)?, device.alloc(channels)?);
    match normaliser {
        Normaliser::Batch(running) => {
            merge(&layout, &moments, &mut mean, &mut invstd);
            let count = layout.batch as f64 * layout.positions() as f64;
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
    let (mut argmax, mut peaks) = (device.alloc(places)?, device.alloc(places)?);
    let scale: Vec<T> = scales(&invstd, inputs.affine.weight);
    let normalise = Normalise { mean: &mean, scale: &scale, shift: inputs.affine.bias };
    activate(
        device,
        geometry,
        &layout,
        &convolved,
        normalise,
        drop,
        output,
        &mut argmax,
        &mut peaks,
    )?;
    Ok(kept.map(|(input, sight)| FastSaved {
        input,
        sight,
        convolved,
        mean,
        invstd,
        batch_statistics,
        argmax,
        peaks,
    }))
}

/// `invstd * weight` of each channel.
pub(super) fn scales<T: Float>(invstd: &[T], weight: Option<&[T]>) -> Vec<T> {
    let scale = |(c, &invstd)| invstd * weight.map_or(T::one(), |weight: &[T]| weight[c]);
    invstd.iter().enumerate().map(scale).collect()
}

/// Pass 1: fills `convolved` `[groups, O, plane]`, and `moments` `[groups, O, 2]` with each group's
/// mean and sum of squares around it. Returns the input in groups and what taps see, if they are to be kept.
#[allow(clippy::type_complexity)]
fn convolve<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    layout: &Layout,
    inputs: &ConvBlockInputs<'_, Cpu, T>,
    convolved: &mut [T],
    moments: Option<&mut [f64]>,
    keep: bool,
) -> Result<Option<(CpuBuffer<T>, Sight<T>)>> {
    let (out_channels, in_channels) =
        (geometry.conv.out_channels as usize, geometry.conv.in_channels as usize);
    let pixels = layout.positions();
    let group_size = layout.group(in_channels);
    let simd = device.simd();
    let mut kept = device.alloc(if keep { layout.groups() * group_size } else { 0 })?;
    let weights = device.alloc(out_channels * in_channels * TAPS)?;
    let (_, sight) = layout.sight_of_input(device, &geometry.conv)?;
    let size = [0, 1].map(|axis| geometry.conv.size(axis));
    device.kernel("conv_block_convolve", geometry.conv.cost::<T>(), || -> Result<()> {
        let weight = inputs.weight;
        let (sizes, order) =
            ([out_channels, in_channels], std::array::from_fn::<_, TAPS, _>(|tap| tap));
        let weights = PackedRows::new(simd, weights, sizes, &order, |o, c| {
            &weight[(o * in_channels + c) * TAPS..][..TAPS]
        });
        let one_group =
            |group: usize, input: &mut [T], convolved: &mut [T], moments: Option<&mut [f64]>| {
                let images = layout.images_of(group);
                simd.vectorize(
                    #[inline(always)]
                    || {
                        let first = images.start * in_channels * pixels;
                        let images = &inputs.input[first..][..images.len() * in_channels * pixels];
                        let images = (images, Frame { channels: in_channels, size });
                        layout.load(input, 0, images, 0..in_channels, &Phase::all(size));
                    },
                );
                simd.run(ImplicitGemm {
                    weights: &weights,
                    bias: inputs.bias,
                    patches: sight.patches(input, in_channels),
                    output: convolved,
                    stride: layout.plane,
                    columns: layout.columns(images.len(), size[0]),
                });
                let Some(moments) = moments else { return };
                simd.vectorize(
                    #[inline(always)]
                    || {
                        let planes = convolved.chunks_exact(layout.plane);
                        for (plane, moments) in planes.zip(moments.chunks_exact_mut(2)) {
                            let runs = (0..images.len()).map(|image| &plane[layout.run(image)]);
                            let Moments { mean, squares, .. } = Moments::of(runs);
                            moments.copy_from_slice(&[mean, squares]);
                        }
                    },
                );
            };
        let mut moments = moments.map(|moments| moments.chunks_exact_mut(2 * out_channels));
        let moments = (0..layout.groups()).map(|_| moments.as_mut().and_then(Iterator::next));
        let moments: Vec<_> = moments.collect();
        let convolved = convolved[..layout.groups() * out_channels * layout.plane]
            .par_chunks_mut(out_channels * layout.plane);
        let groups = convolved.zip(moments).enumerate();
        if keep {
            groups.zip(kept.par_chunks_mut(group_size)).for_each(
                |((group, (convolved, moments)), input)| {
                    one_group(group, input, convolved, moments)
                },
            );
            return Ok(());
        }
        groups.try_for_each(|(group, (convolved, moments))| {
            one_group(group, &mut device.alloc(group_size)?, convolved, moments);
            Ok(())
        })
    })?;
    Ok(keep.then_some((kept, sight)))
}

/// The mean and the biased variance of each channel from those of the groups, in their order.
fn merge<T: Float>(layout: &Layout, moments: &[f64], mean: &mut [T], var: &mut [T]) {
    let channels = mean.len();
    let mut merged = vec![Moments::default(); channels];
    for (group, moments) in moments.chunks_exact(2 * channels).enumerate() {
        let count = (layout.images_of(group).len() * layout.positions()) as f64;
        for (merged, moments) in merged.iter_mut().zip(moments.chunks_exact(2)) {
            *merged = merged.with(Moments { count, mean: moments[0], squares: moments[1] });
        }
    }
    for ((mean, var), merged) in mean.iter_mut().zip(var).zip(merged) {
        (*mean, *var) = (T::of(merged.mean), T::of(merged.squares / merged.count));
    }
}

/// `(x - mean) * scale + shift`, per channel.
struct Normalise<'a, T> {
    mean: &'a [T],
    scale: &'a [T],
    shift: Option<&'a [T]>,
}

/// Pass 2: everything after the convolution. Empty `argmax` and `peaks` are not kept.
#[allow(clippy::too_many_arguments)]
fn activate<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    layout: &Layout,
    convolved: &[T],
    normalise: Normalise<'_, T>,
    drop: Option<DropoutView<'_, Cpu>>,
    output: &mut [T],
    argmax: &mut [u8],
    peaks: &mut [T],
) -> Result<()> {
    let channels = geometry.conv.out_channels as usize;
    let pixels = layout.positions();
    let windows = (geometry.pool.out_height * geometry.pool.out_width) as usize;
    let keep = !argmax.is_empty();
    let simd = device.simd();
    device.kernel("conv_block_activate", geometry.pool_cost::<T>(keep), || {
        let image = |image: usize, output: &mut [T], argmax: &mut [u8], peaks: &mut [T]| {
            let mut scratch = device.alloc(pool::scratch(&geometry.pool))?;
            let elements = channels * pixels;
            let mut factors = device.alloc(if drop.is_some() { elements + SLACK } else { 0 })?;
            if let Some(DropoutView { geometry, step }) = &drop {
                device.dropout_factors(
                    geometry,
                    step[0],
                    image * elements,
                    &mut factors[..elements],
                );
            }
            let group = image / layout.images * channels * layout.plane;
            let convolved = &convolved[group + layout.run(image % layout.images).start..];
            simd.run(Image {
                pool: &geometry.pool,
                plane: layout.plane,
                convolved,
                normalise: &normalise,
                factors: drop.is_some().then_some(&factors[..]),
                scratch: &mut scratch,
                maxima: Maxima { output, argmax, peaks },
                keep,
            });
            Ok(())
        };
        let image_outputs = output.par_chunks_mut((channels * windows).max(1)).enumerate();
        if keep {
            let argmax = argmax.par_chunks_mut(channels * windows);
            let peaks = peaks.par_chunks_mut(channels * windows);
            return image_outputs
                .zip(argmax.zip(peaks))
                .with_min_len(layout.images)
                .try_for_each(|((i, output), (argmax, peaks))| image(i, output, argmax, peaks));
        }
        image_outputs.with_min_len(layout.images).try_for_each(|(i, output)| {
            image(i, output, &mut device.alloc(windows)?, &mut device.alloc(windows)?)
        })
    })
}

/// [`activate`] for one image.
struct Image<'a, T> {
    pool: &'a MaxPool2dGeometry,
    /// Elements from one channel to the next, in `convolved`.
    plane: usize,
    convolved: &'a [T],
    normalise: &'a Normalise<'a, T>,
    factors: Option<&'a [T]>,
    scratch: &'a mut [T],
    /// `[O, PH, PW]`; argmax and peaks `[PH, PW]`, of any channel, where they are not kept.
    maxima: Maxima<'a, T>,
    keep: bool,
}

impl<T: Float> WithSimd for Image<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, plane, convolved, normalise, factors, scratch, maxima, keep } = self;
        let pixels = (pool.height * pool.width) as usize;
        let windows = (pool.out_height * pool.out_width) as usize;
        for (c, (&mean, &scale)) in normalise.mean.iter().zip(normalise.scale).enumerate() {
            let activation = Activation {
                mean,
                scale,
                shift: normalise.shift.map_or(T::zero(), |shift| shift[c]),
                factors: factors.map(|factors| &factors[c * pixels..]),
            };
            let at = c * windows..(c + 1) * windows;
            let kept = if keep { at.clone() } else { 0..windows };
            let maxima = Maxima {
                output: &mut maxima.output[at],
                argmax: &mut maxima.argmax[kept.clone()],
                peaks: &mut maxima.peaks[kept],
            };
            pool::forward(simd, pool, &convolved[c * plane..], &activation, scratch, maxima);
        }
    }
}
