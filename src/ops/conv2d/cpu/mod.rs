//! Convolution as a matrix product: the patches under the filter, written out as the columns of a
//! matrix `[C * KH * KW, OH * OW]` per image ("im2col"), times the weight `[O, C * KH * KW]`. Each group
//! of channels is a product of its own.
//!
//! | file | subject |
//! |---|---|
//! | `same.rs` | filters of 3x3 that keep the size: no patch is written out |
//! | `layout.rs` | where the pixels lie for them: a filter tap is an offset |
//! | `narrow.rs` | loops for groups of few channels |

mod layout;
mod narrow;
mod same;

pub(crate) use layout::{Layout, TAPS};

use super::{Conv2dGeometry, Conv2dKernels};
use crate::device::cpu::{BLOCK, Matrix, MatrixMut, gemm, put};
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Partial sums of the weight's gradient: a number of its own, so that bits do not depend on the
/// number of threads.
const PARTIALS: usize = 8;

impl<T: Float> Conv2dKernels<T> for Cpu {
    fn conv2d_forward(
        &self,
        geometry: &Conv2dGeometry,
        input: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        output: &mut [T],
    ) -> Result<()> {
        let sizes = Sizes::new(geometry);
        self.kernel("conv2d_forward", geometry.cost::<T>(), || {
            if geometry.is_narrow() {
                narrow::forward(geometry, input, weight, bias, output);
                return Ok(());
            }
            if geometry.keeps_size() {
                let output = Output { view: output, accumulate: false };
                return same::convolve(self, geometry, input, weight, bias, false, output);
            }
            let images = output.par_chunks_mut(sizes.output).zip(input.par_chunks(sizes.input));
            images.enumerate().try_for_each(|(i, (output, input))| {
                let group = i % sizes.groups;
                let mut columns = self.alloc(sizes.columns)?;
                if let Some(bias) = bias {
                    let bias = &bias[group * sizes.filters..];
                    for (plane, &bias) in output.chunks_exact_mut(sizes.pixels).zip(bias) {
                        plane.fill(bias);
                    }
                }
                gemm(
                    MatrixMut::new(output, sizes.filters, sizes.pixels),
                    sizes.weight_of(weight, group),
                    sizes.patches(geometry, input, &mut columns),
                    bias.is_some(),
                );
                Ok(())
            })
        })
    }

    fn conv2d_backward_input(
        &self,
        geometry: &Conv2dGeometry,
        grad_output: &[T],
        weight: &[T],
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        let sizes = Sizes::new(geometry);
        let Output { view, accumulate } = grad_input;
        self.kernel("conv2d_backward_input", geometry.cost::<T>(), || {
            if geometry.is_narrow() {
                narrow::backward_input(geometry, grad_output, weight, view, accumulate);
                return Ok(());
            }
            if geometry.keeps_size() {
                let grad_input = Output { view, accumulate };
                return same::convolve(self, geometry, grad_output, weight, None, true, grad_input);
            }
            let images = view.par_chunks_mut(sizes.input).zip(grad_output.par_chunks(sizes.output));
            images.enumerate().try_for_each(|(i, (grad_input, grad_output))| {
                let weight = sizes.weight_of(weight, i % sizes.groups).t();
                let grad_output = Matrix::new(grad_output, sizes.filters, sizes.pixels);
                if geometry.is_pointwise() {
                    let grad_input = MatrixMut::new(grad_input, sizes.taps, sizes.pixels);
                    gemm(grad_input, weight, grad_output, accumulate);
                    return Ok(());
                }
                let mut columns = self.alloc(sizes.columns)?;
                gemm(
                    MatrixMut::new(&mut columns, sizes.taps, sizes.pixels),
                    weight,
                    grad_output,
                    false,
                );
                if !accumulate {
                    grad_input.fill(T::zero());
                }
                col2im(geometry, &columns, grad_input);
                Ok(())
            })
        })
    }

    fn conv2d_backward_weight(
        &self,
        geometry: &Conv2dGeometry,
        input: &[T],
        grad_output: &[T],
        grad_weight: Output<'_, Self, T>,
    ) -> Result<()> {
        let sizes = Sizes::new(geometry);
        let Output { view, accumulate } = grad_weight;
        let images_per_partial = (geometry.batch as usize).div_ceil(PARTIALS).max(1);
        let partial_count = (geometry.batch as usize).div_ceil(images_per_partial);
        if geometry.is_narrow() {
            self.kernel("conv2d_backward_weight", geometry.cost::<T>(), || {
                narrow::backward_weight(geometry, input, grad_output, view, accumulate);
            });
            return Ok(());
        }
        if geometry.keeps_size() {
            let grad_weight = Output { view, accumulate };
            return self.kernel("conv2d_backward_weight", geometry.cost::<T>(), || {
                same::correlate(self, geometry, input, grad_output, grad_weight)
            });
        }
        let of_group = sizes.filters * sizes.taps;
        let weights = sizes.groups * of_group;
        let mut partials = self.alloc::<T>(partial_count * weights)?;
        self.kernel("conv2d_backward_weight", geometry.cost::<T>(), || {
            let groups = images_per_partial * sizes.groups;
            let runs = input
                .par_chunks(groups * sizes.input)
                .zip(grad_output.par_chunks(groups * sizes.output));
            runs.zip(partials.par_chunks_mut(weights)).try_for_each(
                |((input, grad_output), partial)| {
                    let mut columns = self.alloc(sizes.columns)?;
                    let images = input.chunks(sizes.input).zip(grad_output.chunks(sizes.output));
                    for (i, (input, grad_output)) in images.enumerate() {
                        let partial = &mut partial[i % sizes.groups * of_group..][..of_group];
                        gemm(
                            MatrixMut::new(partial, sizes.filters, sizes.taps),
                            Matrix::new(grad_output, sizes.filters, sizes.pixels),
                            sizes.patches(geometry, input, &mut columns).t(),
                            i >= sizes.groups,
                        );
                    }
                    Ok::<_, Error>(())
                },
            )?;
            add_up(&partials, weights, Output { view, accumulate });
            Ok(())
        })
    }
}

/// The gradient of the weight, the sum of its `partials` of so many `weights` in their order.
fn add_up<T: Float>(partials: &[T], weights: usize, grad_weight: Output<'_, Cpu, T>) {
    let Output { view, accumulate } = grad_weight;
    view.par_iter_mut().with_min_len(BLOCK).enumerate().for_each(|(i, grad_weight)| {
        let total = partials.iter().skip(i).step_by(weights).fold(T::zero(), |a, &b| a + b);
        put(grad_weight, total, accumulate);
    });
}

/// Elements of the matrices of one group of channels of an image; `input` and `output` are at least 1,
/// so that they can size chunks.
struct Sizes {
    groups: usize,
    input: usize,
    output: usize,
    filters: usize,
    taps: usize,
    pixels: usize,
    /// Of the matrix of patches, where it has to be written out.
    columns: usize,
}

impl Sizes {
    fn new(g: &Conv2dGeometry) -> Self {
        let filters = g.out_channels as usize;
        let pixels = g.out_height as usize * g.out_width as usize;
        let taps = g.taps() as usize;
        Self {
            groups: g.groups as usize,
            input: (g.in_channels as usize * g.height as usize * g.width as usize).max(1),
            output: (filters * pixels).max(1),
            filters,
            taps,
            pixels,
            columns: if g.is_pointwise() { 0 } else { taps * pixels },
        }
    }

    /// A group's filters.
    fn weight_of<'a, T: Float>(&self, weight: &'a [T], group: usize) -> Matrix<'a, T> {
        let of_group = self.filters * self.taps;
        Matrix::new(&weight[group * of_group..][..of_group], self.filters, self.taps)
    }

    /// The patches of a group of channels: written to `columns`, or the image itself where each patch is
    /// a pixel.
    fn patches<'a, T: Float>(
        &self,
        geometry: &Conv2dGeometry,
        image: &'a [T],
        columns: &'a mut [T],
    ) -> Matrix<'a, T> {
        if geometry.is_pointwise() {
            return Matrix::new(image, self.taps, self.pixels);
        }
        im2col(geometry, image, columns);
        Matrix::new(columns, self.taps, self.pixels)
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
    fn new(g: &Conv2dGeometry, axis: usize, tap: usize) -> Self {
        let size = [g.height, g.width][axis] as usize;
        let out_size = [g.out_height, g.out_width][axis] as usize;
        let (stride, padding) = (g.stride[axis] as usize, g.padding[axis] as usize);
        let offset = tap * g.dilation[axis] as usize;
        // Input position of output o: o * stride + offset - padding, inside 0..size.
        let start = padding.saturating_sub(offset).div_ceil(stride).min(out_size);
        let end = (size + padding).saturating_sub(offset).div_ceil(stride).clamp(start, out_size);
        Self { out: start..end, first: (start * stride + offset).saturating_sub(padding) }
    }
}

/// Calls `run` for every output row of every row of the patch matrix, with the row of the matrix,
/// the output row, where the image row under it starts (`None` in the padding), and how the tap
/// meets the columns.
fn for_each_run(g: &Conv2dGeometry, mut run: impl FnMut(usize, usize, Option<usize>, &Tap)) {
    let (height, width) = (g.height as usize, g.width as usize);
    let mut matrix_row = 0;
    for channel in 0..g.in_channels as usize {
        for ky in 0..g.kernel_size[0] as usize {
            let y = Tap::new(g, 0, ky);
            for kx in 0..g.kernel_size[1] as usize {
                let x = Tap::new(g, 1, kx);
                for out_row in 0..g.out_height as usize {
                    let input_row = y.out.contains(&out_row).then(|| {
                        let row = y.first + (out_row - y.out.start) * g.stride[0] as usize;
                        (channel * height + row) * width
                    });
                    run(matrix_row, out_row, input_row, &x);
                }
                matrix_row += 1;
            }
        }
    }
}

/// Writes the patches of one image as columns.
fn im2col<T: Float>(g: &Conv2dGeometry, image: &[T], columns: &mut [T]) {
    let (out_width, out_height) = (g.out_width as usize, g.out_height as usize);
    let stride = g.stride[1] as usize;
    for_each_run(g, |matrix_row, out_row, input_row, x| {
        let target = &mut columns[(matrix_row * out_height + out_row) * out_width..][..out_width];
        let Some(input_row) = input_row else { return target.fill(T::zero()) };
        target[..x.out.start].fill(T::zero());
        target[x.out.end..].fill(T::zero());
        if x.out.is_empty() {
            return;
        }
        let source = &image[input_row + x.first..];
        let target = &mut target[x.out.clone()];
        if stride == 1 {
            target.copy_from_slice(&source[..target.len()]);
        } else {
            target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(t, &s)| *t = s);
        }
    });
}

/// Adds each patch back to where it came from.
fn col2im<T: Float>(g: &Conv2dGeometry, columns: &[T], image: &mut [T]) {
    let (out_width, out_height) = (g.out_width as usize, g.out_height as usize);
    let stride = g.stride[1] as usize;
    for_each_run(g, |matrix_row, out_row, input_row, x| {
        let Some(input_row) = input_row.filter(|_| !x.out.is_empty()) else { return };
        let source = &columns[(matrix_row * out_height + out_row) * out_width..][x.out.clone()];
        let target = &mut image[input_row + x.first..];
        if stride == 1 {
            target.iter_mut().zip(source).for_each(|(t, &s)| *t += s);
        } else {
            target.iter_mut().step_by(stride).zip(source).for_each(|(t, &s)| *t += s);
        }
    });
}
