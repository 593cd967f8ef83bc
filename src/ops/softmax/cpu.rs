use super::{SoftmaxKernels, backward_cost, forward_cost};
use crate::Result;
use crate::device::cpu::{BLOCK, LaneSums, lane_sum, put};
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::sum::ChannelGeometry;
use rayon::prelude::*;

/// Columns that one task sums, where rows lie side by side.
const COLUMNS: usize = 128;

impl<T: Float> SoftmaxKernels<T> for Cpu {
    fn softmax_forward(
        &self,
        geometry: &ChannelGeometry,
        log: bool,
        x: &[T],
        y: &mut [T],
    ) -> Result<()> {
        let (classes, inner) = (geometry.channels as usize, geometry.inner as usize);
        let cost = forward_cost::<T>(geometry);
        if x.is_empty() {
            return Ok(());
        }
        if inner == 1 {
            self.kernel("softmax_forward", cost, || {
                let rows = y.par_chunks_mut(classes).zip(x.par_chunks(classes));
                let simd = self.simd();
                rows.with_min_len(rows_per_task(classes)).for_each(|(y, x)| {
                    simd.vectorize(
                        #[inline(always)]
                        || row(log, x, y),
                    );
                });
            });
            return Ok(());
        }
        // The largest of each row and the sum of its exponentials.
        let mut rows = self.alloc::<T>(2 * geometry.outer as usize * inner)?;
        self.kernel("softmax_forward", cost, || {
            let (maxima, sums) = rows.split_at_mut(geometry.outer as usize * inner);
            let planes = maxima.par_chunks_mut(inner).zip(sums.par_chunks_mut(inner));
            planes.zip(x.par_chunks(classes * inner)).for_each(|((maxima, sums), x)| {
                let blocks = maxima.par_chunks_mut(COLUMNS).zip(sums.par_chunks_mut(COLUMNS));
                blocks.enumerate().for_each(|(block, (maxima, sums))| {
                    let at = |plane: usize| &x[plane * inner + block * COLUMNS..][..maxima.len()];
                    let mut totals = [0.0; COLUMNS];
                    let mut largest = [T::neg_infinity(); COLUMNS];
                    for plane in 0..classes {
                        for (largest, &x) in largest.iter_mut().zip(at(plane)) {
                            if x > *largest {
                                *largest = x;
                            }
                        }
                    }
                    for plane in 0..classes {
                        let columns = totals.iter_mut().zip(&largest).zip(at(plane));
                        columns.for_each(|((sum, &max), &x)| *sum += (x - max).exp().as_f64());
                    }
                    maxima.copy_from_slice(&largest[..maxima.len()]);
                    for (sum, total) in sums.iter_mut().zip(totals) {
                        *sum = if log { T::of(total).ln() } else { T::of(total) };
                    }
                });
            });
            let (maxima, sums) = (&*maxima, &*sums);
            let planes = y.par_chunks_mut(inner).zip(x.par_chunks(inner)).enumerate();
            planes.with_min_len(rows_per_task(inner)).for_each(|(plane, (y, x))| {
                let first = plane / classes * inner;
                let rows = maxima[first..][..inner].iter().zip(&sums[first..][..inner]);
                for ((y, &x), (&max, &sum)) in y.iter_mut().zip(x).zip(rows) {
                    *y = if log { (x - max) - sum } else { (x - max).exp() / sum };
                }
            });
        });
        Ok(())
    }

    fn softmax_backward(
        &self,
        geometry: &ChannelGeometry,
        log: bool,
        y: &[T],
        grad_y: &[T],
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = grad_x;
        let (classes, inner) = (geometry.channels as usize, geometry.inner as usize);
        let cost = backward_cost::<T>(geometry, accumulate);
        if y.is_empty() {
            return Ok(());
        }
        if inner == 1 {
            self.kernel("softmax_backward", cost, || {
                let rows = view.par_chunks_mut(classes).zip(y.par_chunks(classes));
                let rows = rows.zip(grad_y.par_chunks(classes));
                let simd = self.simd();
                rows.with_min_len(rows_per_task(classes)).for_each(|((grad_x, y), grad_y)| {
                    simd.vectorize(
                        #[inline(always)]
                        || row_backward(log, y, grad_y, grad_x, accumulate),
                    );
                });
            });
            return Ok(());
        }
        let term = |y: T, grad: T| if log { grad } else { y * grad };
        let value =
            |y: T, grad: T, sum: T| if log { grad - y.exp() * sum } else { y * (grad - sum) };
        let mut sums = self.alloc::<T>(geometry.outer as usize * inner)?;
        self.kernel("softmax_backward", cost, || {
            sums.par_chunks_mut(inner).enumerate().for_each(|(outer, sums)| {
                sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(block, sums)| {
                    let mut totals = [0.0; COLUMNS];
                    for plane in outer * classes..(outer + 1) * classes {
                        let at = plane * inner + block * COLUMNS..;
                        let pairs = y[at.clone()].iter().zip(&grad_y[at]);
                        for (total, (&y, &grad)) in totals[..sums.len()].iter_mut().zip(pairs) {
                            *total += term(y, grad).as_f64();
                        }
                    }
                    sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum = T::of(total));
                });
            });
            let planes = view.par_chunks_mut(inner).zip(y.par_chunks(inner));
            let planes = planes.zip(grad_y.par_chunks(inner)).enumerate();
            planes.with_min_len(rows_per_task(inner)).for_each(|(plane, ((grad_x, y), grad_y))| {
                let sums = &sums[plane / classes * inner..][..inner];
                for (((grad_x, &y), &grad), &sum) in grad_x.iter_mut().zip(y).zip(grad_y).zip(sums)
                {
                    put(grad_x, value(y, grad, sum), accumulate);
                }
            });
        });
        Ok(())
    }
}

/// Rows of `len` elements that are worth a task.
fn rows_per_task(len: usize) -> usize {
    // An exponential is worth some elements.
    (BLOCK / 8).div_ceil(len)
}

/// Elements side by side of which a row's largest is found.
const LANES: usize = 16;

/// One row of neighbours.
#[inline(always)]
fn row<T: Float>(log: bool, x: &[T], y: &mut [T]) {
    let max = largest(x);
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - max).exp_in_vectors());
    let sum = T::of(lane_sum(
        y,
        y,
        #[inline(always)]
        |y, _| y,
    ));
    if log {
        let log_sum = sum.ln();
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - max) - log_sum);
    } else {
        y.iter_mut().for_each(|y| *y = *y / sum);
    }
}

/// The gradient of one row of neighbours.
#[inline(always)]
fn row_backward<T: Float>(log: bool, y: &[T], grad_y: &[T], grad_x: &mut [T], accumulate: bool) {
    let mut sum = LaneSums::default();
    // One loop each: a choice within it would keep it from vectors.
    if log {
        sum.add(
            grad_y,
            grad_y,
            #[inline(always)]
            |grad, _| grad,
        );
        let sum = T::of(sum.total());
        for (grad_x, (&y, &grad)) in grad_x.iter_mut().zip(y.iter().zip(grad_y)) {
            put(grad_x, grad - y.exp_in_vectors() * sum, accumulate);
        }
        return;
    }
    sum.add(
        y,
        grad_y,
        #[inline(always)]
        |y, grad| y * grad,
    );
    let sum = T::of(sum.total());
    for (grad_x, (&y, &grad)) in grad_x.iter_mut().zip(y.iter().zip(grad_y)) {
        put(grad_x, y * (grad - sum), accumulate);
    }
}

/// The largest element. NaN is never the larger one: it stays in its exponential, and so reaches the whole
/// row.
#[inline(always)]
fn largest<T: Float>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::neg_infinity(); LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x);
        }
    }
    lanes.iter().chain(rest).fold(T::neg_infinity(), |max, &x| larger(max, x))
}
