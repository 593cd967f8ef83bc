use super::{AdamGroup, AdamKernels};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::update::on_cpu::{
    TILES, count_steps, cut, cut_optional, first_parameter, of_parameters,
};
use crate::ops::{Update, UpdateTile};
use rayon::prelude::*;

impl<T: Float> AdamKernels<T> for Cpu {
    fn adam(
        &self,
        update: Update<'_, Self>,
        parameters: &mut [T],
        gradients: &[T],
        exp_avg: &mut [T],
        exp_avg_sq: &mut [T],
        max_exp_avg_sq: Option<&mut [T]>,
    ) -> Result<()> {
        let Update { tiles, groups, steps, elements, .. } = update;
        let (tiles, groups): (&[UpdateTile], &[AdamGroup]) =
            (bytemuck::cast_slice(tiles), bytemuck::cast_slice(groups));
        let scalars = of_parameters(tiles, |tile| {
            Scalars::new(&groups[tile.group as usize], steps[tile.parameter as usize] + 1)
        });
        let cost = super::cost::<T>(elements, max_exp_avg_sq.is_some());
        let simd = self.simd();
        self.kernel("adam", cost, || {
            let first = first_parameter(tiles);
            let largest = cut_optional(max_exp_avg_sq, tiles);
            let moments = cut(exp_avg, tiles).into_par_iter().zip(cut(exp_avg_sq, tiles));
            let values = cut(parameters, tiles).into_par_iter().zip(moments).zip(largest);
            tiles.par_iter().zip(values).with_min_len(TILES).for_each(
                |(tile, ((p, (m, v)), max))| {
                    let scalars = &scalars[tile.parameter as usize - first];
                    let gradients = &gradients[tile.start as usize..tile.end as usize];
                    let max = max.filter(|_| groups[tile.group as usize].amsgrad == 1.0);
                    simd.vectorize(
                        #[inline(always)]
                        || self::update(scalars, p, gradients, m, v, max),
                    );
                },
            );
        });
        count_steps(tiles, steps);
        Ok(())
    }
}

/// What an update multiplies with, rounded once from `f64`.
struct Scalars<T> {
    sign: T,
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
    fn new(step: &AdamGroup, t: u64) -> Self {
        let (lr, decoupled) = (step.lr, step.decoupled == 1.0);
        let correction = |beta: f64| 1.0 - beta.powf(t as f64);
        Self {
            sign: T::of(1.0 - 2.0 * step.maximize),
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
    let &Scalars { sign, shrink, decay, rate1, rate2, beta2, step_size, correction2, eps } =
        scalars;
    let tiny = T::min_positive_value();
    let flush = |x: T| if x.abs() < tiny { T::zero() } else { x };
    let average = |p: T, g: T, m: &mut T, v: &mut T| {
        let g = sign * g + decay * p;
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
