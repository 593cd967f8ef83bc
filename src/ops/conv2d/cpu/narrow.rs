//! Groups of few channels, depthwise convolutions above all: whole rows of pixels, one tap at a time.

use super::layout::{Look, Phase, seen_from};
use crate::device::cpu::{LaneSums, put};
use crate::dtype::Float;
use crate::ops::conv2d::Conv2dGeometry;
use rayon::prelude::*;
use std::ops::Range;

/// Sizes, as indices.
#[derive(Clone, Copy)]
struct Sizes {
    /// Channels of one group.
    channels: usize,
    /// Filters of one group.
    filters: usize,
    /// Of all groups.
    all_channels: usize,
    all_filters: usize,
    /// Of one plane of a filter.
    taps: usize,
    /// Pixels of a plane, at least 1 each so that they can size chunks.
    input: usize,
    output: usize,
}

impl Sizes {
    fn new(g: &Conv2dGeometry) -> Self {
        let [groups, channels, filters, height, width, out_height, out_width] =
            [g.groups, g.in_channels, g.out_channels, g.height, g.width, g.out_height, g.out_width]
                .map(|size| size as usize);
        Self {
            channels,
            filters,
            all_channels: groups * channels,
            all_filters: groups * filters,
            taps: g.filter_taps(),
            input: (height * width).max(1),
            output: (out_height * out_width).max(1),
        }
    }

    /// The plane of input channel `c` that filter `filter`, of all groups, sees in `image`.
    fn seen_by<'a, T>(&self, input: &'a [T], image: usize, filter: usize, c: usize) -> &'a [T] {
        let channel = filter / self.filters * self.channels + c;
        &input[(image * self.all_channels + channel) * self.input..][..self.input]
    }
}

/// Where a filter tap meets the input along one axis.
struct Tap {
    /// Output positions whose input position is not in the padding.
    out: Range<usize>,
    /// The input position of the first of them.
    first: usize,
}

impl Tap {
    fn new(g: &Conv2dGeometry, axis: usize, tap: u32) -> Self {
        let (first, shift) = Look::axis(g, axis, tap);
        let out = seen_from(shift, Phase::size_along(g, axis, first), g.out_size(axis));
        let first = first + out.start.saturating_add_signed(shift) * g.stride[axis] as usize;
        Self { out, first }
    }
}

/// Neighbouring output pixels of one row, and the input pixels under a tap.
struct Run {
    tap: usize,
    /// Where it begins in the output's plane, and how many pixels it has.
    output: usize,
    len: usize,
    /// Where it begins in the input's plane.
    input: usize,
}

/// Calls `run` for each row of each tap of a plane, without what lies in the padding.
fn for_each_run(g: &Conv2dGeometry, mut run: impl FnMut(Run)) {
    let [rows, columns] = g.kernel_size;
    let (width, out_width) = (g.width as usize, g.out_width as usize);
    for ky in 0..rows {
        let y = Tap::new(g, 0, ky);
        for kx in 0..columns {
            let x = Tap::new(g, 1, kx);
            if x.out.is_empty() {
                continue;
            }
            for (i, row) in y.out.clone().enumerate() {
                run(Run {
                    tap: (ky * columns + kx) as usize,
                    output: row * out_width + x.out.start,
                    len: x.out.len(),
                    input: (y.first + i * g.stride[0] as usize) * width + x.first,
                });
            }
        }
    }
}

pub(super) fn forward<T: Float>(
    g: &Conv2dGeometry,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    output: &mut [T],
) {
    let (sizes, stride) = (Sizes::new(g), g.stride[1] as usize);
    output.par_chunks_mut(sizes.output).enumerate().for_each(|(plane, output)| {
        let (image, filter) = (plane / sizes.all_filters, plane % sizes.all_filters);
        output.fill(bias.map_or(T::zero(), |bias| bias[filter]));
        for c in 0..sizes.channels {
            let taps = &weight[(filter * sizes.channels + c) * sizes.taps..][..sizes.taps];
            let input = sizes.seen_by(input, image, filter, c);
            for_each_run(g, |run| {
                let (w, source) = (taps[run.tap], &input[run.input..]);
                let target = &mut output[run.output..][..run.len];
                if stride == 1 {
                    target.iter_mut().zip(source).for_each(|(y, &x)| *y += w * x);
                } else {
                    let source = source.iter().step_by(stride);
                    target.iter_mut().zip(source).for_each(|(y, &x)| *y += w * x);
                }
            });
        }
    });
}

pub(super) fn backward_input<T: Float>(
    g: &Conv2dGeometry,
    grad_output: &[T],
    weight: &[T],
    grad_input: &mut [T],
    accumulate: bool,
) {
    let (sizes, stride) = (Sizes::new(g), g.stride[1] as usize);
    grad_input.par_chunks_mut(sizes.input).enumerate().for_each(|(plane, grad_input)| {
        let (image, channel) = (plane / sizes.all_channels, plane % sizes.all_channels);
        let (group, c) = (channel / sizes.channels, channel % sizes.channels);
        if !accumulate {
            grad_input.fill(T::zero());
        }
        for filter in group * sizes.filters..(group + 1) * sizes.filters {
            let taps = &weight[(filter * sizes.channels + c) * sizes.taps..][..sizes.taps];
            let plane = image * sizes.all_filters + filter;
            let grad_output = &grad_output[plane * sizes.output..][..sizes.output];
            for_each_run(g, |run| {
                let (w, source) = (taps[run.tap], &grad_output[run.output..][..run.len]);
                let target = &mut grad_input[run.input..];
                if stride == 1 {
                    target.iter_mut().zip(source).for_each(|(x, &y)| *x += w * y);
                } else {
                    let target = target.iter_mut().step_by(stride);
                    target.zip(source).for_each(|(x, &y)| *x += w * y);
                }
            });
        }
    });
}

pub(super) fn backward_weight<T: Float>(
    g: &Conv2dGeometry,
    input: &[T],
    grad_output: &[T],
    grad_weight: &mut [T],
    accumulate: bool,
) {
    let (sizes, stride) = (Sizes::new(g), g.stride[1] as usize);
    let of_filter = sizes.channels * sizes.taps;
    grad_weight.par_chunks_mut(of_filter).enumerate().for_each(|(filter, grad_weight)| {
        let mut sums = vec![LaneSums::<T>::default(); of_filter];
        let mut under = vec![T::zero(); g.out_width as usize];
        for image in 0..g.batch as usize {
            let plane = image * sizes.all_filters + filter;
            let grad_output = &grad_output[plane * sizes.output..][..sizes.output];
            for c in 0..sizes.channels {
                let input = sizes.seen_by(input, image, filter, c);
                for_each_run(g, |run| {
                    let gradient = &grad_output[run.output..][..run.len];
                    let source = &input[run.input..];
                    let sums = &mut sums[c * sizes.taps + run.tap];
                    if stride == 1 {
                        return sums.add(gradient, &source[..run.len], |y, x| y * x);
                    }
                    let under = &mut under[..run.len];
                    let source = source.iter().step_by(stride);
                    under.iter_mut().zip(source).for_each(|(under, &x)| *under = x);
                    sums.add(gradient, under, |y, x| y * x);
                });
            }
        }
        for (gradient, sums) in grad_weight.iter_mut().zip(sums) {
            put(gradient, T::of(sums.total()), accumulate);
        }
    });
}
