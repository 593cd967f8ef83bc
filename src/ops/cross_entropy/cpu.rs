use super::{CrossEntropyGeometry, CrossEntropyKernels};
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use crate::{Error, Result};
use rayon::prelude::*;

/// Exponentials that are added in their own precision.
const TERMS: usize = 128;

impl<T: Float> CrossEntropyKernels<T> for Cpu {
    fn cross_entropy_forward(
        &self,
        geometry: &CrossEntropyGeometry,
        logits: &[T],
        target: &[i32],
        loss: &mut [T],
        grad_logits: &mut [T],
        correct: &mut [i32],
    ) -> Result<()> {
        let classes = geometry.classes as usize;
        let counts = |target: i32| target != geometry.ignore_index;
        let valid = 0..geometry.classes as i32;
        if let Some(row) = target.iter().position(|&t| counts(t) && !valid.contains(&t)) {
            let message =
                format!("target {} of row {row} is no class; there are {classes}", target[row]);
            return Err(Error::shape("cross_entropy", message));
        }
        let rows = target.iter().filter(|&&target| counts(target)).count();
        let scale = if geometry.mean == 1 { T::one() / T::of(rows as f64) } else { T::one() };
        self.kernel("cross_entropy_forward", geometry.cost::<T>(), || {
            let (mut total, mut hits) = (0.0, 0);
            let rows = logits.chunks_exact(classes).zip(grad_logits.chunks_exact_mut(classes));
            for ((logits, gradient), &target) in rows.zip(target) {
                if !counts(target) {
                    gradient.fill(T::zero());
                    continue;
                }
                let (row_loss, hit) = row(geometry, logits, target as usize, scale, gradient);
                total += row_loss;
                hits += i32::from(hit);
            }
            loss[0] = T::of(total) * scale;
            correct[0] = hits;
        });
        Ok(())
    }

    fn cross_entropy_backward(
        &self,
        saved: &[T],
        gradient: &[T],
        grad_logits: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = grad_logits;
        let gradient = gradient[0];
        let cost = Cost::elementwise::<T>(saved.len(), 2, 1);
        self.kernel("cross_entropy_backward", cost, || {
            view.par_iter_mut()
                .zip(saved)
                .with_min_len(BLOCK)
                .for_each(|(grad, &saved)| put(grad, saved * gradient, accumulate));
        });
        Ok(())
    }
}

/// One row: writes `scale * (p - q)`, returns the loss and whether the largest logit is the
/// target's.
fn row<T: Float>(
    geometry: &CrossEntropyGeometry,
    logits: &[T],
    target: usize,
    scale: T,
    gradient: &mut [T],
) -> (f64, bool) {
    let best = argmax(logits);
    // Shifted by the maximum, no exponential overflows.
    let max = logits[best];
    for (p, &logit) in gradient.iter_mut().zip(logits) {
        *p = (logit - max).exp();
    }
    let sum = sum_of_exponentials(gradient.iter().copied());
    let log_sum = sum.ln();
    let smoothing = T::of(geometry.label_smoothing);
    let spread = smoothing / T::of(logits.len() as f64);
    // `log_sum - (logit - max)`, never `log_sum + max`: that would round the sum away at a large
    // maximum.
    let cost = |logit: T| log_sum - (logit - max);
    let mut loss = ((T::one() - smoothing) * cost(logits[target])).as_f64();
    for (i, (p, &logit)) in gradient.iter_mut().zip(logits).enumerate() {
        let q = if i == target { T::one() - smoothing + spread } else { spread };
        *p = scale * (*p / sum - q);
        if smoothing > T::zero() {
            loss += (spread * cost(logit)).as_f64();
        }
    }
    (loss, best == target)
}

/// Their sum; of many, the sums of few go on in `f64`.
#[inline(always)]
pub(crate) fn sum_of_exponentials<T: Float>(exponentials: impl Iterator<Item = T>) -> T {
    let (mut far, mut near, mut terms) = (0.0, T::zero(), 0);
    for exponential in exponentials {
        near += exponential;
        terms += 1;
        if terms == TERMS {
            far += near.as_f64();
            (near, terms) = (T::zero(), 0);
        }
    }
    T::of(far + near.as_f64())
}

/// The index of the first of the largest values.
pub(crate) fn argmax<T: Float>(logits: &[T]) -> usize {
    let mut best = 0;
    for (i, &logit) in logits.iter().enumerate() {
        // NaN counts as the largest, as in PyTorch.
        if logit > logits[best] || (logit.is_nan() && !logits[best].is_nan()) {
            best = i;
        }
    }
    best
}
