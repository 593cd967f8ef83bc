use super::{ChannelGeometry, SumKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, lane_sum, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

/// Elements that one task adds, of a run that is longer.
const RUN: usize = 4 * BLOCK;

impl<T: Float> SumKernels<T> for Cpu {
    fn channel_sum(
        &self,
        geometry: &ChannelGeometry,
        scale: T,
        x: &[T],
        sums: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = sums;
        let (channels, inner) = (geometry.channels as usize, geometry.inner as usize);
        self.kernel("channel_sum", geometry.sum_cost::<T>(), || {
            if channels == 0 {
                return;
            }
            if inner == 1 {
                // Rows are contiguous across channels: add whole rows rather than walk columns, some
                // rows a task.
                let rows = RUN.div_ceil(channels);
                let pieces = (geometry.outer as usize).div_ceil(rows);
                let mut partials = vec![0.0; pieces * channels];
                let simd = self.simd();
                let tasks = partials.par_chunks_mut(channels).zip(x.par_chunks(rows * channels));
                tasks.for_each(|(totals, rows)| {
                    simd.vectorize(
                        #[inline(always)]
                        || {
                            for row in rows.chunks_exact(channels) {
                                for (total, x) in totals.iter_mut().zip(row) {
                                    *total += x.as_f64();
                                }
                            }
                        },
                    );
                });
                for (c, sum) in view.iter_mut().enumerate() {
                    let total: f64 = partials.iter().skip(c).step_by(channels).sum();
                    put(sum, scale * T::of(total), accumulate);
                }
                return;
            }
            if inner > RUN {
                // Few long runs: cut by the shape alone, so that all threads have something to do.
                let pieces = inner.div_ceil(RUN);
                let mut partials = vec![0.0; geometry.outer as usize * channels * pieces];
                partials.par_iter_mut().enumerate().for_each(|(i, partial)| {
                    let (run, piece) = (i / pieces, i % pieces);
                    let run = &x[run * inner..][..inner];
                    let piece = &run[piece * RUN..inner.min((piece + 1) * RUN)];
                    *partial = lane_sum(piece, piece, |x, _| x);
                });
                for (c, sum) in view.iter_mut().enumerate() {
                    let of_channel = partials.chunks_exact(pieces).skip(c).step_by(channels);
                    put(sum, scale * T::of(of_channel.flatten().sum()), accumulate);
                }
                return;
            }
            view.par_iter_mut().enumerate().for_each(|(c, sum)| {
                let total: f64 = (0..geometry.outer as usize)
                    .map(|o| {
                        let run = &x[(o * channels + c) * inner..][..inner];
                        lane_sum(run, run, |x, _| x)
                    })
                    .sum();
                put(sum, scale * T::of(total), accumulate);
            });
        });
        Ok(())
    }

    fn channel_expand(
        &self,
        geometry: &ChannelGeometry,
        scale: T,
        values: &[T],
        x: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = x;
        let (channels, inner) = (geometry.channels as usize, geometry.inner as usize);
        self.kernel("channel_expand", geometry.expand_cost::<T>(accumulate), || {
            if channels == 0 {
                return;
            }
            let runs_per_task = (BLOCK / inner.max(1)).max(1);
            view.par_chunks_mut(inner.max(1)).with_min_len(runs_per_task).enumerate().for_each(
                |(run, x)| {
                    let value = scale * values[run % channels];
                    x.iter_mut().for_each(|x| put(x, value, accumulate));
                },
            );
        });
        Ok(())
    }
}
