use super::{AvgPool2dGeometry, AvgPool2dKernels};
use crate::Result;
use crate::device::cpu::lane_sum;
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> AvgPool2dKernels<T> for Cpu {
    fn avg_pool2d_forward(
        &self,
        geometry: &AvgPool2dGeometry,
        input: &[T],
        output: &mut [T],
    ) -> Result<()> {
        let [in_plane, out_plane] = planes(geometry);
        let width = geometry.size[1] as usize;
        self.kernel("avg_pool2d_forward", geometry.cost::<T>(), || {
            let planes = output.par_chunks_mut(out_plane).zip(input.par_chunks(in_plane));
            planes.with_min_len(16).for_each(|(output, input)| {
                for_each_window(geometry, |at, [rows, columns], divisor| {
                    let rows = rows.map(|row| &input[row * width..][columns.clone()]);
                    let sum: f64 = rows.map(|row| lane_sum(row, row, |x, _| x)).sum();
                    output[at] = T::of(sum / divisor);
                });
            });
        });
        Ok(())
    }

    fn avg_pool2d_backward(
        &self,
        geometry: &AvgPool2dGeometry,
        grad_output: &[T],
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = grad_input;
        let [in_plane, out_plane] = planes(geometry);
        let width = geometry.size[1] as usize;
        self.kernel("avg_pool2d_backward", geometry.cost::<T>(), || {
            view.par_chunks_mut(in_plane).with_min_len(16).enumerate().for_each(
                |(plane, grad_input)| {
                    if !accumulate {
                        grad_input.fill(T::zero());
                    }
                    for_each_window(geometry, |at, [rows, columns], divisor| {
                        let share = grad_output[plane * out_plane + at] / T::of(divisor);
                        for row in rows {
                            let row = &mut grad_input[row * width..][columns.clone()];
                            row.iter_mut().for_each(|x| *x += share);
                        }
                    });
                },
            );
        });
        Ok(())
    }
}

/// Calls `each` with the place of each output element in its plane, the rows and columns of its window,
/// and what its sum is divided by.
fn for_each_window(
    geometry: &AvgPool2dGeometry,
    mut each: impl FnMut(usize, [std::ops::Range<usize>; 2], f64),
) {
    let [out_height, out_width] = geometry.out.map(|size| size as usize);
    for row in 0..out_height {
        let (rows, row_count) = geometry.window(0, row);
        for column in 0..out_width {
            let (columns, column_count) = geometry.window(1, column);
            let count = match geometry.divisor {
                // In the padding alone there is nothing to divide.
                0 => (row_count * column_count).max(1) as f64,
                divisor => f64::from(divisor),
            };
            each(row * out_width + column, [rows.clone(), columns], count);
        }
    }
}

/// Elements of an input plane and of an output plane, at least 1 each.
fn planes(geometry: &AvgPool2dGeometry) -> [usize; 2] {
    [geometry.size, geometry.out].map(|[rows, columns]| (rows as usize * columns as usize).max(1))
}
