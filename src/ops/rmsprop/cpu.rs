use super::{RmspropGroup, RmspropKernels};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::update::on_cpu::{TILES, count_steps, cut, cut_optional};
use crate::ops::{Update, UpdateTile};
use rayon::prelude::*;

impl<T: Float> RmspropKernels<T> for Cpu {
    fn rmsprop(
        &self,
        update: Update<'_, Self>,
        parameters: &mut [T],
        gradients: &[T],
        square_avg: &mut [T],
        grad_avg: Option<&mut [T]>,
        velocity: Option<&mut [T]>,
    ) -> Result<()> {
        let Update { tiles, groups, steps, elements, .. } = update;
        let (tiles, groups): (&[UpdateTile], &[RmspropGroup]) =
            (bytemuck::cast_slice(tiles), bytemuck::cast_slice(groups));
        let more = u64::from(grad_avg.is_some()) + u64::from(velocity.is_some());
        let simd = self.simd();
        self.kernel("rmsprop", super::cost::<T>(elements, more), || {
            let moments = cut_optional(grad_avg, tiles).into_par_iter();
            let moments = moments.zip(cut_optional(velocity, tiles));
            let values = cut(parameters, tiles).into_par_iter().zip(cut(square_avg, tiles));
            tiles.par_iter().zip(values.zip(moments)).with_min_len(TILES).for_each(
                |(tile, ((p, v), (m, b)))| {
                    let group = &groups[tile.group as usize];
                    let gradients = &gradients[tile.start as usize..tile.end as usize];
                    let (m, b) =
                        (m.filter(|_| group.centered == 1.0), b.filter(|_| group.momentum != 0.0));
                    simd.vectorize(
                        #[inline(always)]
                        || self::update(group, p, gradients, v, m, b),
                    );
                },
            );
        });
        count_steps(tiles, steps);
        Ok(())
    }
}

#[inline(always)]
fn update<T: Float>(
    group: &RmspropGroup,
    parameters: &mut [T],
    gradients: &[T],
    square_avg: &mut [T],
    grad_avg: Option<&mut [T]>,
    velocity: Option<&mut [T]>,
) {
    let [rate, alpha, share, eps, decay, momentum, sign] = [
        group.lr,
        group.alpha,
        1.0 - group.alpha,
        group.eps,
        group.weight_decay,
        group.momentum,
        1.0 - 2.0 * group.maximize,
    ]
    .map(T::of);
    let square = |p: T, g: T, v: &mut T| {
        let g = sign * g + decay * p;
        *v = alpha * *v + share * (g * g);
        g
    };
    let center = |g: T, m: &mut T| {
        *m += share * (g - *m);
        *m * *m
    };
    let divided = |g: T, variance: T| g / (variance.sqrt() + eps);
    let push = |update: T, b: &mut T| {
        *b = momentum * *b + update;
        *b
    };
    let elements = parameters.iter_mut().zip(gradients).zip(square_avg);
    match (grad_avg, velocity) {
        (None, None) => elements.for_each(|((p, &g), v)| {
            let g = square(*p, g, v);
            *p -= rate * divided(g, *v);
        }),
        (None, Some(velocity)) => elements.zip(velocity).for_each(|(((p, &g), v), b)| {
            let g = square(*p, g, v);
            *p -= rate * push(divided(g, *v), b);
        }),
        (Some(grad_avg), None) => elements.zip(grad_avg).for_each(|(((p, &g), v), m)| {
            let g = square(*p, g, v);
            *p -= rate * divided(g, *v - center(g, m));
        }),
        (Some(grad_avg), Some(velocity)) => {
            for ((((p, &g), v), m), b) in elements.zip(grad_avg).zip(velocity) {
                let g = square(*p, g, v);
                *p -= rate * push(divided(g, *v - center(g, m)), b);
            }
        }
    }
}
