use super::{
    Affine, BatchNorm2dGradients, BatchNorm2dKernels, Running, backward_input_cost,
    backward_sums_cost, normalize_cost, statistics_cost,
};
use crate::Result;
use crate::device::cpu::{lane_sum, put};
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::sum::ChannelGeometry;
use rayon::prelude::*;

impl<T: Float> BatchNorm2dKernels<T> for Cpu {
    fn batch_norm2d_statistics(
        &self,
        geometry: &ChannelGeometry,
        eps: T,
        input: &[T],
        mean: &mut [T],
        invstd: &mut [T],
        running: Option<Running<'_, Self, T>>,
    ) -> Result<()> {
        let count = f64::from(geometry.outer) * f64::from(geometry.inner);
        self.kernel("batch_norm2d_statistics", statistics_cost::<T>(geometry), || {
            // `invstd` carries the variance until the running statistics have seen it.
            mean.par_iter_mut().zip(&mut *invstd).enumerate().for_each(|(c, (mean, var))| {
                let sum: f64 = planes(geometry, input, c).map(|x| lane_sum(x, x, |x, _| x)).sum();
                *mean = T::of(sum / count);
                let m = *mean;
                // Around the mean: the difference of E[x^2] and mean^2 cancels for a mean far
                // from 0.
                let squares: f64 = planes(geometry, input, c)
                    .map(|x| lane_sum(x, x, |x, _| (x - m) * (x - m)))
                    .sum();
                *var = T::of(squares / count);
            });
            if let Some(running) = running {
                track(running, mean, invstd, count);
            }
            invstd.iter_mut().for_each(|var| *var = T::one() / (*var + eps).sqrt());
        });
        Ok(())
    }

    fn batch_norm2d_invstd(&self, eps: T, var: &[T], invstd: &mut [T]) -> Result<()> {
        for (invstd, &var) in invstd.iter_mut().zip(var) {
            *invstd = T::one() / (var + eps).sqrt();
        }
        Ok(())
    }

    fn batch_norm2d_normalize(
        &self,
        geometry: &ChannelGeometry,
        input: &[T],
        mean: &[T],
        invstd: &[T],
        affine: Affine<'_, Self, T>,
        output: &mut [T],
    ) -> Result<()> {
        let (channels, inner) = (geometry.channels as usize, geometry.inner as usize);
        let Affine { weight, bias } = affine;
        self.kernel("batch_norm2d_normalize", normalize_cost::<T>(geometry), || {
            let planes = output.par_chunks_mut(inner.max(1)).zip(input.par_chunks(inner.max(1)));
            planes.with_min_len(16).enumerate().for_each(|(plane, (output, input))| {
                let c = plane % channels;
                let (mean, scale) = (mean[c], invstd[c] * weight.map_or(T::one(), |w| w[c]));
                let shift = bias.map_or(T::zero(), |b| b[c]);
                for (y, &x) in output.iter_mut().zip(input) {
                    *y = (x - mean) * scale + shift;
                }
            });
        });
        Ok(())
    }

    fn batch_norm2d_backward(
        &self,
        geometry: &ChannelGeometry,
        batch_statistics: bool,
        input: &[T],
        mean: &[T],
        invstd: &[T],
        weight: Option<&[T]>,
        grad_output: &[T],
        gradients: BatchNorm2dGradients<'_, Self, T>,
    ) -> Result<()> {
        let (channels, inner) = (geometry.channels as usize, geometry.inner as usize);
        let count = T::of(f64::from(geometry.outer) * f64::from(geometry.inner));
        // Per channel: sum of grad_output, and of grad_output * xhat.
        let mut sums = self.alloc::<T>(2 * channels)?;
        let mut cost = backward_sums_cost::<T>(geometry);
        if gradients.input.is_some() {
            cost = cost + backward_input_cost::<T>(geometry);
        }
        self.kernel("batch_norm2d_backward", cost, || {
            sums.par_chunks_mut(2).enumerate().for_each(|(c, sums)| {
                let (mean, invstd) = (mean[c], invstd[c]);
                let pairs = || planes(geometry, input, c).zip(planes(geometry, grad_output, c));
                let sum: f64 = pairs().map(|(_, dy)| lane_sum(dy, dy, |dy, _| dy)).sum();
                let dot: f64 =
                    pairs().map(|(x, dy)| lane_sum(x, dy, |x, dy| (x - mean) * dy)).sum();
                (sums[0], sums[1]) = (T::of(sum), T::of(dot) * invstd);
            });
            for (which, output) in [(0, gradients.bias), (1, gradients.weight)] {
                let Some(Output { view, accumulate }) = output else { continue };
                for (gradient, sums) in view.iter_mut().zip(sums.chunks_exact(2)) {
                    put(gradient, sums[which], accumulate);
                }
            }
            let Some(Output { view, accumulate }) = gradients.input else { return };
            view.par_chunks_mut(inner.max(1))
                .zip(input.par_chunks(inner.max(1)))
                .zip(grad_output.par_chunks(inner.max(1)))
                .with_min_len(16)
                .enumerate()
                .for_each(|(plane, ((grad_input, input), grad_output))| {
                    let c = plane % channels;
                    let (mean, invstd) = (mean[c], invstd[c]);
                    let scale = invstd * weight.map_or(T::one(), |w| w[c]);
                    let (from_mean, from_var) = if batch_statistics {
                        (sums[2 * c] / count, sums[2 * c + 1] / count * invstd)
                    } else {
                        (T::zero(), T::zero())
                    };
                    for ((dx, &x), &dy) in grad_input.iter_mut().zip(input).zip(grad_output) {
                        let value = scale * (dy - from_mean - (x - mean) * from_var);
                        put(dx, value, accumulate);
                    }
                });
        });
        Ok(())
    }
}

/// Moves running statistics towards a batch's mean and biased variance over `count` values.
pub(crate) fn track<T: Float>(running: Running<'_, Cpu, T>, mean: &[T], var: &[T], count: f64) {
    let Running { mean: running_mean, var: running_var, momentum } = running;
    let unbias = T::of(count / (count - 1.0));
    for (running, &mean) in running_mean.iter_mut().zip(mean) {
        *running = (T::one() - momentum) * *running + momentum * mean;
    }
    for (running, &var) in running_var.iter_mut().zip(var) {
        *running = (T::one() - momentum) * *running + momentum * (var * unbias);
    }
}

/// The planes of one channel, image by image.
fn planes<'a, T>(g: &ChannelGeometry, x: &'a [T], channel: usize) -> impl Iterator<Item = &'a [T]> {
    let (channels, inner) = (g.channels as usize, g.inner as usize);
    (0..g.outer as usize).map(move |image| &x[(image * channels + channel) * inner..][..inner])
}
