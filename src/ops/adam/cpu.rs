use super::{AdamKernels, AdamStep};
use crate::Result;
use crate::device::Cpu;
use crate::device::cpu::BLOCK;
use crate::dtype::Float;
use crate::ops::UpdateState;
use rayon::prelude::*;

impl<T: Float> AdamKernels<T> for Cpu {
    fn adam(
        &self,
        step: &AdamStep,
        state: UpdateState<'_, Self>,
        parameters: &mut [T],
        gradients: &[T],
        exp_avg: &mut [T],
        exp_avg_sq: &mut [T],
        max_exp_avg_sq: Option<&mut [T]>,
    ) -> Result<()> {
        let scalars = Scalars::new(step, state.lr[0], state.steps[0] + 1);
        let cost = super::cost::<T>(parameters.len(), max_exp_avg_sq.is_some());
        let simd = self.simd();
        self.kernel("adam", cost, || {
            let blocks = parameters
                .par_chunks_mut(BLOCK)
                .zip(gradients.par_chunks(BLOCK))
                .zip(exp_avg.par_chunks_mut(BLOCK).zip(exp_avg_sq.par_chunks_mut(BLOCK)));
            match max_exp_avg_sq {
                None => blocks.for_each(|((p, g), (m, v))| {
                    simd.vectorize(
                        #[inline(always)]
                        || update(&scalars, p, g, m, v, None),
                    );
                }),
                Some(max) => {
                    blocks.zip(max.par_chunks_mut(BLOCK)).for_each(|(((p, g), (m, v)), max)| {
                        simd.vectorize(
                            #[inline(always)]
                            || update(&scalars, p, g, m, v, Some(max)),
                        );
                    });
                }
            }
        });
        state.steps[0] += u64::from(state.is_last);
        Ok(())
    }
}

/// What an update multiplies with, rounded once from `f64`.
struct Scalars<T> {
    shrink: T,
    decay: T,
    rate1: T,
    rate2: T,
    beta2: T,
    step_size: T,
    correction2: T,
    eps: T,
}

impl<T: Float> Scalars<T> {
    /// For step `t`, counted from 1.
    fn new(step: &AdamStep, lr: f64, t: u64) -> Self {
        let decoupled = step.decoupled == 1;
        let correction = |beta: f64| 1.0 - beta.powf(t as f64);
        Self {
            shrink: T::of(if decoupled { 1.0 - lr * step.weight_decay } else { 1.0 }),
            decay: T::of(if decoupled { 0.0 } else { step.weight_decay }),
            rate1: T::of(1.0 - step.beta1),
            rate2: T::of(1.0 - step.beta2),
            beta2: T::of(step.beta2),
            step_size: T::of(lr / correction(step.beta1)),
            correction2: T::of(correction(step.beta2).sqrt()),
            eps: T::of(step.eps),
        }
    }
}

#[inline(always)]
fn update<T: Float>(
    scalars: &Scalars<T>,
    parameters: &mut [T],
    gradients: &[T],
    exp_avg: &mut [T],
    exp_avg_sq: &mut [T],
    max_exp_avg_sq: Option<&mut [T]>,
) {
    let &Scalars { shrink, decay, rate1, rate2, beta2, step_size, correction2, eps } = scalars;
    let tiny = T::min_positive_value();
    let flush = |x: T| if x.abs() < tiny { T::zero() } else { x };
    let average = |p: T, g: T, m: &mut T, v: &mut T| {
        let g = g + decay * p;
        *m = flush(*m + rate1 * (g - *m));
        *v = flush(beta2 * *v + rate2 * g * g);
    };
    let moved =
        |p: T, m: T, second: T| p * shrink - step_size * (m / (second.sqrt() / correction2 + eps));
    let moments = exp_avg.iter_mut().zip(exp_avg_sq);
    let elements = parameters.iter_mut().zip(gradients).zip(moments);
    match max_exp_avg_sq {
        None => {
            for ((p, &g), (m, v)) in elements {
                average(*p, g, m, v);
                *p = moved(*p, *m, *v);
            }
        }
        Some(max) => {
            for (((p, &g), (m, v)), max) in elements.zip(max) {
                average(*p, g, m, v);
                // Not `max()`: a NaN must not vanish.
                if *v > *max || v.is_nan() {
                    *max = *v;
                }
                *p = moved(*p, *m, *max);
            }
        }
    }
}
