use super::{AdagradGroup, AdagradKernels};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::update::on_cpu::{TILES, count_steps, cut};
use crate::ops::{Update, UpdateTile};
use rayon::prelude::*;

impl<T: Float> AdagradKernels<T> for Cpu {
    fn adagrad(
        &self,
        update: Update<'_, Self>,
        parameters: &mut [T],
        gradients: &[T],
        sums: &mut [T],
    ) -> Result<()> {
        let Update { tiles, groups, steps, elements, .. } = update;
        let (tiles, groups): (&[UpdateTile], &[AdagradGroup]) =
            (bytemuck::cast_slice(tiles), bytemuck::cast_slice(groups));
        let simd = self.simd();
        self.kernel("adagrad", super::cost::<T>(elements), || {
            let values = cut(parameters, tiles).into_par_iter().zip(cut(sums, tiles));
            tiles.par_iter().zip(values).with_min_len(TILES).for_each(|(tile, (p, sums))| {
                let group = &groups[tile.group as usize];
                let made = steps[tile.parameter as usize];
                let gradients = &gradients[tile.start as usize..tile.end as usize];
                if made == 0 {
                    sums.fill(T::of(group.initial_accumulator_value));
                }
                simd.vectorize(
                    #[inline(always)]
                    || self::update(group, made, p, gradients, sums),
                );
            });
        });
        count_steps(tiles, steps);
        Ok(())
    }
}

#[inline(always)]
fn update<T: Float>(
    group: &AdagradGroup,
    made: u64,
    parameters: &mut [T],
    gradients: &[T],
    sums: &mut [T],
) {
    let rate = T::of(group.lr / (1.0 + made as f64 * group.lr_decay));
    let [decay, eps, sign] = [group.weight_decay, group.eps, 1.0 - 2.0 * group.maximize].map(T::of);
    for ((p, &g), s) in parameters.iter_mut().zip(gradients).zip(sums) {
        let g = sign * g + decay * *p;
        *s += g * g;
        *p -= rate * (g / (s.sqrt() + eps));
    }
}
