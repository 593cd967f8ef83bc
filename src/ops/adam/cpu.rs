use super::{AdamKernels, AdamStep};
use crate::Result;
use crate::device::Cpu;
use crate::device::cpu::BLOCK;
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> AdamKernels<T> for Cpu {
    fn adam(
        &self,
        step: &AdamStep,
        parameters: &mut [T],
        gradients: &[T],
        exp_avg: &mut [T],
        exp_avg_sq: &mut [T],
        max_exp_avg_sq: Option<&mut [T]>,
    ) -> Result<()> {
        let simd = self.simd();
        self.kernel("adam", || {
            let blocks = parameters
                .par_chunks_mut(BLOCK)
                .zip(gradients.par_chunks(BLOCK))
                .zip(exp_avg.par_chunks_mut(BLOCK).zip(exp_avg_sq.par_chunks_mut(BLOCK)));
            match max_exp_avg_sq {
                None => blocks.for_each(|((p, g), (m, v))| {
                    simd.vectorize(
                        #[inline(always)]
                        || update(step, p, g, m, v, None),
                    );
                }),
                Some(max) => {
                    blocks.zip(max.par_chunks_mut(BLOCK)).for_each(|(((p, g), (m, v)), max)| {
                        simd.vectorize(
                            #[inline(always)]
                            || update(step, p, g, m, v, Some(max)),
                        );
                    });
                }
            }
        });
        Ok(())
    }
}

#[inline(always)]
fn update<T: Float>(
    step: &AdamStep,
    parameters: &mut [T],
    gradients: &[T],
    exp_avg: &mut [T],
    exp_avg_sq: &mut [T],
    max_exp_avg_sq: Option<&mut [T]>,
) {
    let decoupled = step.decoupled == 1;
    let shrink = T::of(if decoupled { 1.0 - step.lr * step.weight_decay } else { 1.0 });
    let decay = T::of(if decoupled { 0.0 } else { step.weight_decay });
    let (rate1, rate2) = (T::of(1.0 - step.beta1), T::of(1.0 - step.beta2));
    let beta2 = T::of(step.beta2);
    let step_size = T::of(step.lr / step.bias_correction1);
    let correction2 = T::of(step.bias_correction2_sqrt);
    let eps = T::of(step.eps);
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
