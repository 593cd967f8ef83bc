use super::{MaxPool2dGeometry, MaxPool2dKernels};
use crate::Result;
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> MaxPool2dKernels<T> for Cpu {
    fn max_pool2d_forward(
        &self,
        geometry: &MaxPool2dGeometry,
        input: &[T],
        output: &mut [T],
        argmax: &mut [i32],
    ) -> Result<()> {
        let (in_plane, out_plane, _) = sizes(geometry);
        let pool = if is_2x2(geometry) { pool_2x2 } else { pool_any };
        self.kernel("max_pool2d_forward", geometry.forward_cost::<T>(), || {
            let planes = output.par_chunks_mut(out_plane).zip(argmax.par_chunks_mut(out_plane));
            planes
                .zip(input.par_chunks(in_plane))
                .with_min_len(16)
                .for_each(|((output, argmax), input)| pool(geometry, input, output, argmax));
        });
        Ok(())
    }

    fn max_pool2d_backward(
        &self,
        geometry: &MaxPool2dGeometry,
        argmax: &[i32],
        grad_output: &[T],
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = grad_input;
        let (in_plane, out_plane, _) = sizes(geometry);
        self.kernel("max_pool2d_backward", geometry.backward_cost::<T>(), || {
            let planes = view.par_chunks_mut(in_plane).zip(argmax.par_chunks(out_plane));
            planes.zip(grad_output.par_chunks(out_plane)).with_min_len(16).for_each(
                |((grad_input, argmax), grad_output)| {
                    if !accumulate {
                        grad_input.fill(T::zero());
                    }
                    for (&index, &gradient) in argmax.iter().zip(grad_output) {
                        // -1: no place at all.
                        if let Some(grad_input) = grad_input.get_mut(index as usize) {
                            *grad_input += gradient;
                        }
                    }
                },
            );
        });
        Ok(())
    }
}

/// One plane with windows of any kind.
fn pool_any<T: Float>(
    geometry: &MaxPool2dGeometry,
    input: &[T],
    output: &mut [T],
    argmax: &mut [i32],
) {
    let (width, out_width) = (geometry.width as usize, geometry.out_width as usize);
    let [down, right] = geometry.dilation.map(|size| size as usize);
    for (i, (y, index)) in output.iter_mut().zip(argmax).enumerate() {
        let columns = geometry.window(1, i % out_width);
        let rows = geometry.window(0, i / out_width);
        if rows.is_empty() || columns.is_empty() {
            (*y, *index) = (T::neg_infinity(), -1);
            continue;
        }
        let mut best = rows.start * width + columns.start;
        for row in rows.step_by(down) {
            let columns = row * width + columns.start..row * width + columns.end;
            for at in columns.step_by(right) {
                if input[at] > input[best] || input[at].is_nan() {
                    best = at;
                }
            }
        }
        (*y, *index) = (input[best], best as i32);
    }
}

/// Whether the windows are 2x2, side by side and without padding: nearly all are, and
/// [`pool_2x2`] is several times faster on them.
fn is_2x2(geometry: &MaxPool2dGeometry) -> bool {
    let MaxPool2dGeometry { kernel_size, stride, padding, dilation, .. } = *geometry;
    let inside =
        geometry.out_height * 2 <= geometry.height && geometry.out_width * 2 <= geometry.width;
    let dense = padding == [0, 0] && dilation == [1, 1];
    kernel_size == [2, 2] && stride == [2, 2] && dense && inside
}

/// One plane with 2x2 windows.
fn pool_2x2<T: Float>(
    geometry: &MaxPool2dGeometry,
    input: &[T],
    output: &mut [T],
    argmax: &mut [i32],
) {
    let (width, out_width) = (geometry.width as usize, geometry.out_width as usize);
    let rows = output.chunks_exact_mut(out_width).zip(argmax.chunks_exact_mut(out_width));
    for (row, (output, argmax)) in rows.enumerate() {
        let start = 2 * row * width;
        let (upper, lower) = input[start..start + 2 * width].split_at(width);
        let windows = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for (column, ((y, index), (upper, lower))) in
            output.iter_mut().zip(argmax).zip(windows).enumerate()
        {
            let at = start + 2 * column;
            let (mut best, mut best_at) = (upper[0], at);
            for (value, at) in
                [(upper[1], at + 1), (lower[0], at + width), (lower[1], at + width + 1)]
            {
                let wins = value > best || value.is_nan();
                best = if wins { value } else { best };
                best_at = if wins { at } else { best_at };
            }
            (*y, *index) = (best, best_at as i32);
        }
    }
}

/// Elements of an input plane, of an output plane, and of an output row; at least 1 each.
fn sizes(geometry: &MaxPool2dGeometry) -> (usize, usize, usize) {
    let out_width = geometry.out_width as usize;
    let in_plane = geometry.height as usize * geometry.width as usize;
    (in_plane.max(1), (geometry.out_height as usize * out_width).max(1), out_width.max(1))
}
