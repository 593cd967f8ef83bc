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
        let (in_plane, out_plane, out_width) = sizes(geometry);
        let width = geometry.width as usize;
        self.kernel("max_pool2d_forward", || {
            let planes = output.par_chunks_mut(out_plane).zip(argmax.par_chunks_mut(out_plane));
            planes.zip(input.par_chunks(in_plane)).with_min_len(16).for_each(
                |((output, argmax), input)| {
                    for (i, (y, index)) in output.iter_mut().zip(argmax).enumerate() {
                        let columns = geometry.window(1, i % out_width);
                        let rows = geometry.window(0, i / out_width);
                        let mut best = rows.start * width + columns.start;
                        for row in rows {
                            for at in row * width + columns.start..row * width + columns.end {
                                if input[at] > input[best] || input[at].is_nan() {
                                    best = at;
                                }
                            }
                        }
                        (*y, *index) = (input[best], best as i32);
                    }
                },
            );
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
        self.kernel("max_pool2d_backward", || {
            let planes = view.par_chunks_mut(in_plane).zip(argmax.par_chunks(out_plane));
            planes.zip(grad_output.par_chunks(out_plane)).with_min_len(16).for_each(
                |((grad_input, argmax), grad_output)| {
                    if !accumulate {
                        grad_input.fill(T::zero());
                    }
                    for (&index, &gradient) in argmax.iter().zip(grad_output) {
                        grad_input[index as usize] += gradient;
                    }
                },
            );
        });
        Ok(())
    }
}

/// Elements of an input plane, of an output plane, and of an output row; at least 1 each.
fn sizes(geometry: &MaxPool2dGeometry) -> (usize, usize, usize) {
    let out_width = geometry.out_width as usize;
    let in_plane = geometry.height as usize * geometry.width as usize;
    (in_plane.max(1), (geometry.out_height as usize * out_width).max(1), out_width.max(1))
}
