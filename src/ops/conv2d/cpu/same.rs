//! Filters of 3x3 that keep the size, in the layout of `layout.rs`: groups of images that stay in a core's
//! cache. A thread takes whole groups, and where there are few, some of the output's channels.

use super::add_up;
use super::layout::{Layout, TAPS};
use crate::Result;
use crate::device::cpu::{Correlate, ImplicitGemm, PackedRows};
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::conv2d::Conv2dGeometry;
use rayon::prelude::*;

/// Groups below which their channels are split, and into how many parts.
const FEW_GROUPS: usize = 8;
const PARTS_OF_FEW: usize = 4;
/// Partial sums of the weight's gradient: as many whatever the number of threads.
const PARTIALS: usize = 16;

/// The convolution of `input` with `weight`, or, `turned`, of the output's gradient `input` with the filters
/// from output to input channels, turned by half a turn: the gradient of the input.
pub(super) fn convolve<T: Float>(
    device: &Cpu,
    geometry: &Conv2dGeometry,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    turned: bool,
    output: Output<'_, Cpu, T>,
) -> Result<()> {
    let layout = Layout::new(geometry);
    let of_weight = [geometry.out_channels, geometry.in_channels].map(|channels| channels as usize);
    let [rows, channels] = if turned { [of_weight[1], of_weight[0]] } else { of_weight };
    let filter = |row: usize, channel: usize| {
        let [o, c] = if turned { [channel, row] } else { [row, channel] };
        &weight[(o * of_weight[1] + c) * TAPS..][..TAPS]
    };
    let parts = if layout.groups() < FEW_GROUPS { PARTS_OF_FEW.min(rows) } else { 1 };
    let rows_of_part = rows.div_ceil(parts);
    let simd = device.simd();
    let packed = (0..rows).step_by(rows_of_part).map(|first| {
        let here = rows_of_part.min(rows - first);
        let values = device.alloc(here * channels * TAPS)?;
        let sizes = [here, channels, TAPS];
        Ok(PackedRows::new(simd, values, sizes, turned, |row, c| filter(first + row, c)))
    });
    let packed = packed.collect::<Result<Vec<_>>>()?;
    let mut masks = device.alloc(TAPS * layout.plane)?;
    layout.fill_masks(&mut masks);

    let (pixels, plane) = (layout.pixels(), layout.plane);
    let Output { view: output, accumulate } = output;
    let outputs = output.par_chunks_mut(layout.images * rows * pixels);
    let inputs = input.par_chunks(layout.images * channels * pixels);
    outputs.zip(inputs).try_for_each(|(output, input)| {
        let images = input.len() / (channels * pixels);
        let mut group = device.alloc(layout.group(channels))?;
        simd.vectorize(
            #[inline(always)]
            || layout.load(&mut group, channels, input),
        );
        let product = |planes: &mut [T]| {
            let rows = planes.par_chunks_mut(rows_of_part * plane).zip(&packed).enumerate();
            rows.for_each(|(part, (planes, weights))| {
                simd.run(ImplicitGemm {
                    weights,
                    bias: bias.map(|bias| &bias[part * rows_of_part..]),
                    patches: layout.patches(&group, channels, &masks),
                    output: planes,
                    stride: plane,
                    columns: layout.columns(images),
                });
            });
        };
        // A whole image fills its planes: they are the output.
        if pixels == plane && !accumulate {
            product(output);
            return Ok(());
        }
        let mut planes = device.alloc(rows * plane)?;
        product(&mut planes);
        layout.store(&planes, rows, output, accumulate);
        Ok(())
    })
}

/// The gradient of the weight: the output's gradient seen by the input's pixels through each tap.
pub(super) fn correlate<T: Float>(
    device: &Cpu,
    geometry: &Conv2dGeometry,
    input: &[T],
    grad_output: &[T],
    grad_weight: Output<'_, Cpu, T>,
) -> Result<()> {
    let layout = Layout::new(geometry);
    let [rows, channels] =
        [geometry.out_channels, geometry.in_channels].map(|channels| channels as usize);
    let simd = device.simd();
    let mut masks = device.alloc(TAPS * layout.plane)?;
    layout.fill_masks(&mut masks);
    let elements = rows * channels * TAPS;
    let groups_of_partial = layout.groups().div_ceil(PARTIALS).max(1);
    let partials = layout.groups().div_ceil(groups_of_partial);
    let mut sums = device.alloc::<T>(partials * elements)?;
    let (pixels, images_of_partial) = (layout.pixels(), groups_of_partial * layout.images);
    let inputs = input.par_chunks(images_of_partial * channels * pixels);
    let gradients = grad_output.par_chunks(images_of_partial * rows * pixels);
    let runs = sums.par_chunks_mut(elements).zip(inputs.zip(gradients));
    runs.try_for_each(|(sums, (input, gradient))| -> Result<()> {
        sums.fill(T::zero());
        let mut input_group = device.alloc(layout.group(channels))?;
        let mut gradient_group = device.alloc(layout.group(rows))?;
        let groups = input.chunks(layout.images * channels * pixels);
        for (input, gradient) in groups.zip(gradient.chunks(layout.images * rows * pixels)) {
            let images = input.len() / (channels * pixels);
            simd.vectorize(
                #[inline(always)]
                || {
                    layout.load(&mut input_group, channels, input);
                    layout.load(&mut gradient_group, rows, gradient);
                },
            );
            simd.run(Correlate {
                left: &gradient_group[layout.first()..],
                stride: layout.plane,
                rows,
                patches: layout.patches(&input_group, channels, &masks),
                columns: layout.columns(images),
                put: |o, c, column, of_rows: [T; 3]| {
                    // `column` of the filter; `of_rows`: its rows.
                    let at = (o * channels + c) * TAPS + column;
                    for (row, sum) in of_rows.into_iter().enumerate() {
                        sums[at + 3 * row] += sum;
                    }
                },
            });
        }
        Ok(())
    })?;
    add_up(&sums, elements, grad_weight);
    Ok(())
}
