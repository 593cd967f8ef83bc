//! Convolution as a matrix product: the patches under the filter, written out as the columns of a
//! matrix `[C * KH * KW, OH * OW]` per image ("im2col"), times the weight `[O, C * KH * KW]`.

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
            let images = output.par_chunks_mut(sizes.output).zip(input.par_chunks(sizes.input));
            images.try_for_each(|(output, input)| {
                let mut columns = self.alloc(sizes.taps * sizes.pixels)?;
                im2col(geometry, input, &mut columns);
                if let Some(bias) = bias {
                    for (plane, &bias) in output.chunks_exact_mut(sizes.pixels).zip(bias) {
                        plane.fill(bias);
                    }
                }
                gemm(
                    MatrixMut::new(output, sizes.filters, sizes.pixels),
                    Matrix::new(weight, sizes.filters, sizes.taps),
                    Matrix::new(&columns, sizes.taps, sizes.pixels),
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
            let images = view.par_chunks_mut(sizes.input).zip(grad_output.par_chunks(sizes.output));
            images.try_for_each(|(grad_input, grad_output)| {
                let mut columns = self.alloc(sizes.taps * sizes.pixels)?;
                gemm(
                    MatrixMut::new(&mut columns, sizes.taps, sizes.pixels),
                    Matrix::new(weight, sizes.filters, sizes.taps).t(),
                    Matrix::new(grad_output, sizes.filters, sizes.pixels),
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
        let weights = sizes.filters * sizes.taps;
        let mut partials = self.alloc::<T>(partial_count * weights)?;
        self.kernel("conv2d_backward_weight", geometry.cost::<T>(), || {
            let groups = input
                .par_chunks(images_per_partial * sizes.input)
                .zip(grad_output.par_chunks(images_per_partial * sizes.output));
            groups.zip(partials.par_chunks_mut(weights)).try_for_each(
                |((input, grad_output), partial)| {
                    let mut columns = self.alloc(sizes.taps * sizes.pixels)?;
                    let images = input.chunks(sizes.input).zip(grad_output.chunks(sizes.output));
                    for (image, (input, grad_output)) in images.enumerate() {
                        im2col(geometry, input, &mut columns);
                        gemm(
                            MatrixMut::new(partial, sizes.filters, sizes.taps),
                            Matrix::new(grad_output, sizes.filters, sizes.pixels),
                            Matrix::new(&columns, sizes.taps, sizes.pixels).t(),
                            image > 0,
                        );
                    }
                    Ok::<_, Error>(())
                },
            )?;
            view.par_iter_mut().with_min_len(BLOCK).enumerate().for_each(|(i, grad_weight)| {
                let total = partials.iter().skip(i).step_by(weights).fold(T::zero(), |a, &b| a + b);
                put(grad_weight, total, accumulate);
            });
            Ok(())
        })
    }
}

/// Elements of one image's matrices, at least 1 each so that they can size chunks.
struct Sizes {
    input: usize,
    output: usize,
    filters: usize,
    taps: usize,
    pixels: usize,
}

impl Sizes {
    fn new(g: &Conv2dGeometry) -> Self {
        let filters = g.out_channels as usize;
        let pixels = g.out_height as usize * g.out_width as usize;
        Self {
            input: (g.in_channels as usize * g.height as usize * g.width as usize).max(1),
            output: (filters * pixels).max(1),
            filters,
            taps: g.in_channels as usize * g.kernel_size[0] as usize * g.kernel_size[1] as usize,
            pixels,
        }
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
