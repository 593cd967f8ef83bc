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
        let cost = super::cost::<T>(parameters.len(), max_exp_avg_sq.is_some());
        self.kernel("adam", cost, || {
            let blocks = parameters
                .par_chunks_mut(BLOCK)
                .zip(gradients.par_chunks(BLOCK))
                .zip(exp_avg.par_chunks_mut(BLOCK).zip(exp_avg_sq.par_chunks_mut(BLOCK)));
            match max_exp_avg_sq {
                None => blocks.for_each(|((p, g), (m, v))| update(step, p, g, m, v, None)),
                Some(max) => blocks
                    .zip(max.par_chunks_mut(BLOCK))
                    .for_each(|(((p, g), (m, v)), max)| update(step, p, g, m, v, Some(max))),
            }
        });
        Ok(())
    }
}

fn update<T: Float>(
    step: &AdamStep,
    parameters: &mut [T],
    gradients: &[T],
    exp_avg: &mut [T],
    exp_avg_sq: &mut [T],
    mut max_exp_avg_sq: Option<&mut [T]>,
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
    let moments = exp_avg.iter_mut().zip(exp_avg_sq);
    for (i, ((p, &g), (m, v))) in parameters.iter_mut().zip(gradients).zip(moments).enumerate() {
        let g = g + decay * *p;
        *m = flush(*m + rate1 * (g - *m));
        *v = flush(beta2 * *v + rate2 * g * g);
        let second = match &mut max_exp_avg_sq {
            None => *v,
            Some(max) => {
                // Not `max()`: a NaN must not vanish.
                if *v > max[i] || v.is_nan() {
                    max[i] = *v;
                }
                max[i]
            }
        };
        *p = *p * shrink - step_size * (*m / (second.sqrt() / correction2 + eps));
    }
}
