use super::moments::Moments;
use super::{
    Affine, BatchNorm2dGradients, BatchNorm2dKernels, Running, backward_input_cost,
    backward_sums_cost, normalize_cost, statistics_cost,
};
use crate::Result;
use crate::device::cpu::{LaneSums, put};
use crate::device::{Backend, Cpu, Output};
use crate::dtype::Float;
use crate::ops::sum::ChannelGeometry;
use rayon::prelude::*;
use std::ops::Range;

/// Elements that a thread works on at a time: they stay in the first cache.
const PIECE: usize = 1024;

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
        let simd = self.simd();
        self.kernel("batch_norm2d_statistics", statistics_cost::<T>(geometry), || {
            // `invstd` carries the variance until the running statistics have seen it.
            mean.par_iter_mut().zip(&mut *invstd).enumerate().for_each(|(c, (mean, var))| {
                let moments = simd.vectorize(
                    #[inline(always)]
                    || moments(geometry, input, c),
                );
                (*mean, *var) = (T::of(moments.mean), T::of(moments.squares / count));
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
        residual: Option<&[T]>,
        relu: bool,
        output: &mut [T],
    ) -> Result<()> {
        let (channels, inner) = (geometry.channels as usize, geometry.inner as usize);
        let Affine { weight, bias } = affine;
        let simd = self.simd();
        self.kernel(
            "batch_norm2d_normalize",
            normalize_cost::<T>(geometry, residual.is_some()),
            || {
                let planes = output.par_chunks_mut(inner.max(1)).with_min_len(16).enumerate();
                planes.for_each(|(plane, output)| {
                    let c = plane % channels;
                    let (mean, scale) = (mean[c], invstd[c] * weight.map_or(T::one(), |w| w[c]));
                    let shift = bias.map_or(T::zero(), |b| b[c]);
                    let of_plane = plane * inner..(plane + 1) * inner;
                    let residual = residual.map(|residual| &residual[of_plane.clone()]);
                    let input = &input[of_plane];
                    simd.vectorize(
                        #[inline(always)]
                        || {
                            for at in pieces(inner) {
                                let output = &mut output[at.clone()];
                                for (y, &x) in output.iter_mut().zip(&input[at.clone()]) {
                                    *y = (x - mean) * scale + shift;
                                }
                                if let Some(residual) = residual {
                                    for (y, &more) in output.iter_mut().zip(&residual[at]) {
                                        *y += more;
                                    }
                                }
                                if relu {
                                    for y in output {
                                        *y = if *y <= T::zero() { T::zero() } else { *y };
                                    }
                                }
                            }
                        },
                    );
                });
            },
        );
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
        output: Option<&[T]>,
        grad_output: &[T],
        gradients: BatchNorm2dGradients<'_, Self, T>,
    ) -> Result<()> {
        let (channels, inner) = (geometry.channels as usize, geometry.inner as usize);
        let count = T::of(f64::from(geometry.outer) * f64::from(geometry.inner));
        let wanted = [gradients.input.is_some(), gradients.residual.is_some()];
        let mut cost = backward_sums_cost::<T>(geometry, output.is_some());
        if wanted.contains(&true) {
            cost = cost + backward_input_cost::<T>(geometry, output.is_some(), wanted);
        }
        let simd = self.simd();
        // Per channel: sum of grad_output, and of grad_output * xhat.
        let mut sums = self.alloc::<T>(2 * channels)?;
        self.kernel("batch_norm2d_backward", cost, || {
            let grad_inputs = planes_of(gradients.input, geometry);
            let grad_residuals = planes_of(gradients.residual, geometry);
            let targets = grad_inputs.into_par_iter().zip(grad_residuals);
            // A channel at a time: what the sums have read is near when the gradients read it again.
            targets.zip(sums.par_chunks_mut(2)).enumerate().for_each(|(c, (targets, sums))| {
                let (mean, invstd) = (mean[c], invstd[c]);
                let [sum, dot] = simd.vectorize(
                    #[inline(always)]
                    || gradient_sums(geometry, c, input, mean, output, grad_output),
                );
                (sums[0], sums[1]) = (T::of(sum), T::of(dot) * invstd);
                if !wanted.contains(&true) {
                    return;
                }
                let scale = invstd * weight.map_or(T::one(), |w| w[c]);
                let (from_mean, from_var) = if batch_statistics {
                    (sums[0] / count, sums[1] / count * invstd)
                } else {
                    (T::zero(), T::zero())
                };
                let (grad_inputs, grad_residuals) = targets;
                let targets = grad_inputs.into_iter().zip(grad_residuals).enumerate();
                for (image, (mut grad_input, mut grad_residual)) in targets {
                    let start = (image * channels + c) * inner;
                    let mut scratch = [T::zero(); PIECE];
                    simd.vectorize(
                        #[inline(always)]
                        || {
                            for at in pieces(inner) {
                                let here = start + at.start..start + at.end;
                                let output = output.map(|output| &output[here.clone()]);
                                let gradient =
                                    passed(output, &grad_output[here.clone()], &mut scratch);
                                if let Some((target, accumulate)) = &mut grad_residual {
                                    let target = &mut target[at.clone()];
                                    for (dr, &dy) in target.iter_mut().zip(gradient) {
                                        put(dr, dy, *accumulate);
                                    }
                                }
                                if let Some((target, accumulate)) = &mut grad_input {
                                    let target = &mut target[at];
                                    let of_input = input[here].iter().zip(gradient);
                                    for (dx, (&x, &dy)) in target.iter_mut().zip(of_input) {
                                        let value =
                                            scale * (dy - from_mean - (x - mean) * from_var);
                                        put(dx, value, *accumulate);
                                    }
                                }
                            }
                        },
                    );
                }
            });
            for (which, output) in [(0, gradients.bias), (1, gradients.weight)] {
                let Some(Output { view, accumulate }) = output else { continue };
                for (gradient, sums) in view.iter_mut().zip(sums.chunks_exact(2)) {
                    put(gradient, sums[which], accumulate);
                }
            }
        });
        Ok(())
    }
}

/// The mean and spread of one channel.
#[inline(always)]
fn moments<T: Float>(geometry: &ChannelGeometry, x: &[T], channel: usize) -> Moments {
    let (images, inner) = (geometry.outer as usize, geometry.inner as usize);
    // Of small planes several at a time, of large ones a part.
    let at_once = (PIECE / inner).max(1);
    let mut all = Moments::default();
    for first in (0..images).step_by(at_once) {
        for at in pieces(inner) {
            let images = first..images.min(first + at_once);
            let runs = images.map(|image| &plane_of(geometry, x, image, channel)[at.clone()]);
            all = all.with(Moments::of(runs));
        }
    }
    all
}

/// The sums of `grad_output` and of `grad_output (input - mean)` of one channel.
#[inline(always)]
fn gradient_sums<T: Float>(
    geometry: &ChannelGeometry,
    channel: usize,
    input: &[T],
    mean: T,
    output: Option<&[T]>,
    grad_output: &[T],
) -> [f64; 2] {
    let (mut sum, mut dot) = (LaneSums::default(), LaneSums::default());
    let mut scratch = [T::zero(); PIECE];
    for image in 0..geometry.outer as usize {
        let x = plane_of(geometry, input, image, channel);
        let y = output.map(|output| plane_of(geometry, output, image, channel));
        let dy = plane_of(geometry, grad_output, image, channel);
        for at in pieces(geometry.inner as usize) {
            let y = y.map(|y| &y[at.clone()]);
            let gradient = passed(y, &dy[at.clone()], &mut scratch);
            sum.add(
                gradient,
                gradient,
                #[inline(always)]
                |dy, _| dy,
            );
            dot.add(
                &x[at],
                gradient,
                #[inline(always)]
                |x, dy| (x - mean) * dy,
            );
        }
    }
    [sum.total(), dot.total()]
}

/// Of a gradient what the rectifier lets through: nothing where its `output` is 0. All without an output.
#[inline(always)]
fn passed<'a, T: Float>(
    output: Option<&[T]>,
    gradient: &'a [T],
    scratch: &'a mut [T; PIECE],
) -> &'a [T] {
    let Some(output) = output else { return gradient };
    let passed = &mut scratch[..gradient.len()];
    for (passed, (&y, &dy)) in passed.iter_mut().zip(output.iter().zip(gradient)) {
        *passed = if y <= T::zero() { T::zero() } else { dy };
    }
    passed
}

/// A plane of a gradient and whether to add to it, if it is wanted.
type Target<'a, T> = Option<(&'a mut [T], bool)>;

/// Of each channel the planes of a gradient; as many `None`s without one.
fn planes_of<'a, T: Float>(
    gradient: Option<Output<'a, Cpu, T>>,
    geometry: &ChannelGeometry,
) -> Vec<Vec<Target<'a, T>>> {
    let (images, channels) = (geometry.outer as usize, geometry.channels as usize);
    let (view, accumulate) = match gradient {
        Some(Output { view, accumulate }) => (Some(view), accumulate),
        None => (None, false),
    };
    let mut planes = view.map(|view| view.chunks_mut((geometry.inner as usize).max(1)));
    let mut of_channels: Vec<_> = (0..channels).map(|_| Vec::with_capacity(images)).collect();
    for _ in 0..images {
        for of_channel in &mut of_channels {
            let plane = planes.as_mut().and_then(Iterator::next);
            of_channel.push(plane.map(|plane| (plane, accumulate)));
        }
    }
    of_channels
}

/// Where the pieces of a plane lie.
fn pieces(inner: usize) -> impl Iterator<Item = Range<usize>> {
    (0..inner).step_by(PIECE).map(move |start| start..inner.min(start + PIECE))
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

/// One channel of one image.
#[inline(always)]
fn plane_of<'a, T>(g: &ChannelGeometry, x: &'a [T], image: usize, channel: usize) -> &'a [T] {
    let (channels, inner) = (g.channels as usize, g.inner as usize);
    &x[(image * channels + channel) * inner..][..inner]
}
