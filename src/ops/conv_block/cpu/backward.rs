//! Backward, in two passes over the groups with the sums over the batch between them:
//!
//! ```text
//!   pass 1, per group:  sum of g, sum of g * (x - mean), over the windows   g: gradient at a maximum
//!   then:               gradients of scale, shift and bias; the normalisation's three coefficients
//!   pass 2, per group:  unpool and normalise backwards ─► gradient of the convolution's output
//!                         ├─► convolution with the flipped weights ─► gradient of the input
//!                         └─► correlation with the input ─► the group's part of the weight's
//!   then:               the parts, added in the groups' order
//! ```
//!
//! A gradient arrives at a window's maximum and nowhere else, and gets through where the output is
//! positive. With `M` pixels per channel, `x` the convolution's output and `a = invstd * scale`, the
//! gradient at a pixel is `a g - a sum(g) / M - a invstd^2 (x - mean) sum(g (x - mean)) / M`.

use super::super::{ConvBlockGeometry, ConvBlockGradients, ConvBlockInputs};
use super::forward::scales;
use super::pool::{self, Coefficients, Upstream, through};
use super::{FastSaved, TAPS};
use crate::Result;
use crate::device::cpu::{BLOCK, Correlate, ImplicitGemm, LaneSums, PackedRows, put};
use crate::device::{Backend, Cost, Cpu, Output};
use crate::dtype::Float;
use crate::ops::conv2d::{Frame, Layout, Phase};
use crate::ops::max_pool2d::MaxPool2dGeometry;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

#[allow(clippy::too_many_arguments)]
pub(super) fn backward<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    inputs: ConvBlockInputs<'_, Cpu, T>,
    drop_scale: T,
    saved: &FastSaved<T>,
    output: &[T],
    grad_output: &[T],
    gradients: ConvBlockGradients<'_, Cpu, T>,
) -> Result<()> {
    let layout = Layout::new(&geometry.conv);
    let channels = geometry.conv.out_channels as usize;
    let windows = (geometry.pool.out_height * geometry.pool.out_width) as usize;
    let unpooled = Unpooled {
        windows,
        channels,
        drop_scale,
        output,
        grad_output,
        argmax: &saved.argmax,
        peaks: &saved.peaks,
    };
    let sums = sums(device, geometry, &layout, &unpooled, &saved.mean)?;

    let count = layout.batch as f64 * layout.positions() as f64;
    let scale = scales(&saved.invstd, inputs.affine.weight);
    let coefficients: Vec<_> = (0..channels)
        .map(|c| {
            let a = scale[c].as_f64();
            let invstd = saved.invstd[c].as_f64();
            let part = if saved.batch_statistics { a / count } else { 0.0 };
            Coefficients {
                mean: saved.mean[c],
                at_maximum: scale[c] * drop_scale,
                constant: T::of(-part * sums[c][0]),
                slope: T::of(-part * invstd * invstd * sums[c][1]),
            }
        })
        .collect();
    let ConvBlockGradients { input, weight, bias, scale: grad_scale, shift } = gradients;
    for (output, value) in [
        (grad_scale, &(|c: usize| sums[c][1] * saved.invstd[c].as_f64()) as &dyn Fn(usize) -> f64),
        (shift, &|c| sums[c][0]),
        // The batch's mean takes the bias out again: its gradient is 0.
        (bias, &|c| if saved.batch_statistics { 0.0 } else { scale[c].as_f64() * sums[c][0] }),
    ] {
        let Some(Output { view, accumulate }) = output else { continue };
        for (c, gradient) in view.iter_mut().enumerate() {
            put(gradient, T::of(value(c)), accumulate);
        }
    }
    if input.is_none() && weight.is_none() {
        return Ok(());
    }
    convolution(device, geometry, &layout, &inputs, saved, &unpooled, &coefficients, input, weight)
}

/// The pooled gradient, and where it goes.
struct Unpooled<'a, T> {
    /// Per plane.
    windows: usize,
    channels: usize,
    drop_scale: T,
    output: &'a [T],
    grad_output: &'a [T],
    argmax: &'a [u8],
    peaks: &'a [T],
}

impl<T: Float> Unpooled<'_, T> {
    /// The windows of one plane in the arrays.
    #[inline(always)]
    fn plane(&self, image: usize, channel: usize) -> Range<usize> {
        let start = (image * self.channels + channel) * self.windows;
        start..start + self.windows
    }

    /// Pass 1 of one group.
    #[inline(always)]
    fn sums(&self, images: Range<usize>, mean: &[T], sums: &mut [f64]) {
        let scale = self.drop_scale.as_f64();
        for ((c, sums), &mean) in sums.chunks_exact_mut(2).enumerate().zip(mean) {
            let (mut sum, mut dot) = (LaneSums::default(), LaneSums::default());
            for image in images.clone() {
                let plane = self.plane(image, c);
                let output = &self.output[plane.clone()];
                let gradient = &self.grad_output[plane.clone()];
                sum.add(
                    output,
                    gradient,
                    #[inline(always)]
                    |output, gradient| through(output, gradient),
                );
                dot.add_products(
                    output,
                    gradient,
                    &self.peaks[plane],
                    #[inline(always)]
                    |output, gradient, peak| through(output, gradient) * (peak - mean),
                );
            }
            (sums[0], sums[1]) = (sum.total() * scale, dot.total() * scale);
        }
    }
}

/// Pass 1: per channel, the sums of `g` and of `g * (x - mean)`.
fn sums<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    layout: &Layout,
    unpooled: &Unpooled<'_, T>,
    mean: &[T],
) -> Result<Vec<[f64; 2]>> {
    let channels = unpooled.channels;
    let mut partials = device.alloc::<f64>(layout.groups() * channels * 2)?;
    let simd = device.simd();
    device.kernel("conv_block_sums", geometry.sums_cost::<T>(), || {
        partials.par_chunks_mut(2 * channels).enumerate().for_each(|(group, partials)| {
            let images = layout.images_of(group);
            simd.vectorize(
                #[inline(always)]
                || unpooled.sums(images, mean, partials),
            );
        });
    });
    let mut sums = vec![[0.0; 2]; channels];
    for partials in partials.chunks_exact(2 * channels) {
        for (sums, partial) in sums.iter_mut().zip(partials.chunks_exact(2)) {
            *sums = [sums[0] + partial[0], sums[1] + partial[1]];
        }
    }
    Ok(sums)
}

/// Pass 2: the gradients of the convolution.
#[allow(clippy::too_many_arguments)]
fn convolution<T: Float>(
    device: &Cpu,
    geometry: &ConvBlockGeometry,
    layout: &Layout,
    inputs: &ConvBlockInputs<'_, Cpu, T>,
    saved: &FastSaved<T>,
    unpooled: &Unpooled<'_, T>,
    coefficients: &[Coefficients<T>],
    grad_input: Option<Output<'_, Cpu, T>>,
    grad_weight: Option<Output<'_, Cpu, T>>,
) -> Result<()> {
    let (out_channels, in_channels) = (unpooled.channels, geometry.conv.in_channels as usize);
    let size = [0, 1].map(|axis| geometry.conv.size(axis));
    let input_size = layout.group(in_channels);
    let input_wanted = grad_input.is_some();
    let elements = out_channels * in_channels * TAPS;
    let weight_elements = if grad_weight.is_some() { elements } else { 0 };
    let flipped = device.alloc(if input_wanted { elements } else { 0 })?;
    let mut parts = device.alloc::<T>(layout.groups() * weight_elements)?;
    let simd = device.simd();

    let passes = [input_wanted, grad_weight.is_some()].into_iter().filter(|&wanted| wanted);
    let products = passes.map(|_| geometry.conv.cost::<T>()).sum::<Cost>();
    let cost = geometry.unpool_cost::<T>() + products;
    device.kernel("conv_block_gradients", cost, || {
        let weight = inputs.weight;
        // From output channels to input channels, the filters turned by half a turn.
        let flipped = input_wanted.then(|| {
            let (sizes, order) = (
                [in_channels, out_channels],
                std::array::from_fn::<_, TAPS, _>(|at| TAPS - 1 - at),
            );
            PackedRows::new(simd, flipped, sizes, &order, |c, o| {
                &weight[(o * in_channels + c) * TAPS..][..TAPS]
            })
        });
        let group = |group: usize,
                     grad_input: Option<&mut [T]>,
                     accumulate,
                     part: &mut [T]|
         -> Result<()> {
            let images = layout.images_of(group);
            let columns = layout.columns(images.len(), size[0]);
            let mut gradient = device.alloc(layout.group(out_channels))?;
            let mut scratch = device.alloc(pool::scratch(&geometry.pool))?;
            let convolved = &saved.convolved[group * out_channels * layout.plane..];
            simd.run(Unpool {
                pool: &geometry.pool,
                layout,
                images: images.clone(),
                unpooled,
                coefficients,
                convolved,
                scratch: &mut scratch,
                gradient: &mut gradient,
            });
            if !part.is_empty() {
                let input = &saved.input[group * input_size..(group + 1) * input_size];
                simd.run(Correlate {
                    left: &gradient[layout.first()..],
                    stride: layout.plane,
                    rows: out_channels,
                    patches: saved.sight.patches(input, in_channels),
                    columns,
                    put: |o, first, sums: &[T]| {
                        let at = o * in_channels * TAPS + first;
                        part[at..at + sums.len()].copy_from_slice(sums);
                    },
                });
            }
            let (Some(grad_input), Some(flipped)) = (grad_input, &flipped) else { return Ok(()) };
            let mut planes = device.alloc(in_channels * layout.plane)?;
            simd.run(ImplicitGemm {
                weights: flipped,
                bias: None,
                patches: saved.sight.patches(&gradient, out_channels),
                output: &mut planes,
                stride: layout.plane,
                columns,
            });
            let target = (grad_input, Frame { channels: in_channels, size });
            layout.store(&planes, target, 0, &Phase::all(size), accumulate);
            Ok(())
        };
        // One chunk per group, empty where nothing is wanted.
        let per_group = layout.images * in_channels * layout.positions();
        let (accumulate, mut grad_inputs) = match grad_input {
            Some(Output { view, accumulate }) => (accumulate, Some(view.chunks_mut(per_group))),
            None => (false, None),
        };
        let mut part_of = parts.chunks_exact_mut(weight_elements.max(1));
        let tasks: Vec<_> = (0..layout.groups())
            .map(|_| {
                let grad_input = grad_inputs.as_mut().and_then(Iterator::next);
                (grad_input, part_of.next().unwrap_or_default())
            })
            .collect();
        tasks
            .into_par_iter()
            .enumerate()
            .try_for_each(|(i, (grad_input, part))| group(i, grad_input, accumulate, part))
    })?;

    let Some(Output { view, accumulate }) = grad_weight else { return Ok(()) };
    let cost = Cost::elementwise::<T>(weight_elements, 1 + layout.groups() as u64, 1);
    device.kernel("conv_block_weight", cost, || {
        view.par_chunks_mut(BLOCK / 8).enumerate().for_each(|(block, view)| {
            simd.vectorize(
                #[inline(always)]
                || {
                    let here = block * (BLOCK / 8)..block * (BLOCK / 8) + view.len();
                    if !accumulate {
                        view.fill(T::zero());
                    }
                    for part in parts.chunks_exact(weight_elements) {
                        for (gradient, &part) in view.iter_mut().zip(&part[here.clone()]) {
                            *gradient += part;
                        }
                    }
                },
            );
        });
    });
    Ok(())
}

/// The gradient of the convolution's output for one group.
struct Unpool<'a, T: Float> {
    pool: &'a MaxPool2dGeometry,
    layout: &'a Layout,
    images: Range<usize>,
    unpooled: &'a Unpooled<'a, T>,
    coefficients: &'a [Coefficients<T>],
    /// Of the group.
    convolved: &'a [T],
    scratch: &'a mut [T],
    gradient: &'a mut [T],
}

impl<T: Float> WithSimd for Unpool<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, layout, images, unpooled, coefficients, convolved, scratch, gradient } =
            self;
        for (o, coefficients) in coefficients.iter().enumerate() {
            let convolved = &convolved[o * layout.plane..];
            layout.fill(
                gradient,
                o,
                images.len(),
                #[inline(always)]
                |image, gradient| {
                    let plane = unpooled.plane(images.start + image, o);
                    let upstream = Upstream {
                        output: &unpooled.output[plane.clone()],
                        grad_output: &unpooled.grad_output[plane.clone()],
                        argmax: &unpooled.argmax[plane],
                    };
                    let convolved = &convolved[layout.run(image).start..];
                    pool::backward(
                        simd,
                        pool,
                        convolved,
                        coefficients,
                        upstream,
                        scratch,
                        gradient,
                    );
                },
            );
        }
    }
}
