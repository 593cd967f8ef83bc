use super::{NllGeometry, NllInputs, NllLossKernels};
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use crate::{Error, Result};
use rayon::prelude::*;

impl<T: Float> NllLossKernels<T> for Cpu {
    fn nll_forward(
        &self,
        geometry: &NllGeometry,
        inputs: NllInputs<'_, Self, T>,
        losses: &mut [T],
        weights: &mut [T],
    ) -> Result<()> {
        let NllInputs { log_p, target, probabilities, weight } = inputs;
        let &NllGeometry { classes, inner, ignore_index, .. } = geometry;
        let counts = |target: i32| target != ignore_index;
        let is_class = |target: i32| (0..classes as i32).contains(&target);
        let wrong = target.and_then(|t| t.iter().position(|&t| counts(t) && !is_class(t)));
        if let Some((place, target)) = wrong.zip(target) {
            let class = target[place];
            let message =
                format!("target {class} of place {place} is no class; there are {classes}");
            return Err(Error::shape("nll_loss", message));
        }
        let (classes, inner) = (classes as usize, inner as usize);
        let smoothing = T::of(geometry.label_smoothing);
        let spread = smoothing / T::of(classes as f64);
        let weight_of = |c: usize| weight.map_or(T::one(), |weight| weight[c]);
        let reads_all = probabilities.is_some() || smoothing > T::zero();
        let per_task = if reads_all { BLOCK.div_ceil(classes) } else { BLOCK };
        self.kernel("nll_forward", geometry.forward_cost::<T>(reads_all), || {
            let positions = losses.par_iter_mut().zip(weights).with_min_len(per_task).enumerate();
            positions.for_each(|(i, (loss, counted))| {
                let first = i / inner * classes * inner + i % inner;
                let sum = |term: &dyn Fn(usize, usize) -> T| -> T {
                    T::of((0..classes).map(|c| term(c, first + c * inner).as_f64()).sum())
                };
                (*loss, *counted) = (T::zero(), T::one());
                match (target.map(|target| target[i]), probabilities) {
                    (Some(target), _) if !counts(target) => *counted = T::zero(),
                    (Some(target), _) => {
                        let class = target as usize;
                        *counted = weight_of(class);
                        *loss = -(T::one() - smoothing) * *counted * log_p[first + class * inner];
                        if smoothing > T::zero() {
                            *loss -= spread * sum(&|c, i| weight_of(c) * log_p[i]);
                        }
                    }
                    (None, Some(probabilities)) => {
                        let q = |i: usize| (T::one() - smoothing) * probabilities[i] + spread;
                        *loss = -sum(&|c, i| weight_of(c) * q(i) * log_p[i]);
                    }
                    (None, None) => {}
                }
            });
        });
        Ok(())
    }

    fn nll_mean(&self, sum: &[T], divisor: &[T], loss: &mut [T]) -> Result<()> {
        let cost = Cost::elementwise::<T>(1, 3, 1);
        self.kernel("nll_mean", cost, || loss[0] = sum[0] / divisor[0]);
        Ok(())
    }

    fn nll_backward(
        &self,
        geometry: &NllGeometry,
        inputs: NllInputs<'_, Self, T>,
        divisor: Option<&[T]>,
        one_gradient: bool,
        gradient: &[T],
        grad_log_p: Option<Output<'_, Self, T>>,
        grad_probabilities: Option<Output<'_, Self, T>>,
    ) -> Result<()> {
        let NllInputs { log_p, target, probabilities, weight } = inputs;
        let (classes, inner) = (geometry.classes as usize, geometry.inner as usize);
        let smoothing = T::of(geometry.label_smoothing);
        let spread = smoothing / T::of(classes as f64);
        let divisor = divisor.map_or(T::one(), |divisor| divisor[0]);
        let upstream = |c: usize, position: usize| {
            let above = gradient[if one_gradient { 0 } else { position }] / divisor;
            weight.map_or(above, |weight| above * weight[c])
        };
        let moved =
            usize::from(grad_log_p.is_some()) + 2 * usize::from(grad_probabilities.is_some());
        self.kernel("nll_backward", geometry.backward_cost::<T>(moved), || {
            // By class, position and element.
            let fill = |output: Output<'_, Self, T>,
                        f: &(dyn Fn(usize, usize, usize) -> T + Sync)| {
                let Output { view, accumulate } = output;
                let elements = view.par_iter_mut().with_min_len(BLOCK / 4).enumerate();
                elements.for_each(|(i, grad)| {
                    let (c, position) =
                        (i / inner % classes, i / inner / classes * inner + i % inner);
                    put(grad, f(c, position, i), accumulate);
                });
            };
            if let Some(output) = grad_log_p {
                fill(output, &|c, position, i| match (target, probabilities) {
                    (Some(target), _) if target[position] == geometry.ignore_index => T::zero(),
                    (Some(target), _) => {
                        let is_class = target[position] as usize == c;
                        let q = if is_class { T::one() - smoothing + spread } else { spread };
                        -upstream(c, position) * q
                    }
                    (None, Some(probabilities)) => {
                        let q = (T::one() - smoothing) * probabilities[i] + spread;
                        -upstream(c, position) * q
                    }
                    (None, None) => T::zero(),
                });
            }
            if let Some(output) = grad_probabilities {
                fill(output, &|c, position, i| {
                    -upstream(c, position) * (T::one() - smoothing) * log_p[i]
                });
            }
        });
        Ok(())
    }
}
