use super::{SgdGroup, SgdKernels};
use crate::Result;
use crate::device::Cpu;
use crate::dtype::Float;
use crate::ops::update::on_cpu::{TILES, count_steps, cut, cut_optional};
use crate::ops::{Update, UpdateTile};
use rayon::prelude::*;

impl<T: Float> SgdKernels<T> for Cpu {
    fn sgd(
        &self,
        update: Update<'_, Self>,
        parameters: &mut [T],
        gradients: &[T],
        velocity: Option<&mut [T]>,
    ) -> Result<()> {
        let Update { tiles, groups, steps, elements, .. } = update;
        let (tiles, groups): (&[UpdateTile], &[SgdGroup]) =
            (bytemuck::cast_slice(tiles), bytemuck::cast_slice(groups));
        let cost = super::cost::<T>(elements, velocity.is_some());
        self.kernel("sgd", cost, || {
            let velocities = cut_optional(velocity, tiles);
            let values = cut(parameters, tiles).into_par_iter().zip(velocities);
            tiles.par_iter().zip(values).with_min_len(TILES).for_each(|(tile, (p, velocity))| {
                let group = &groups[tile.group as usize];
                let elements = p.iter_mut().zip(&gradients[tile.start as usize..]);
                let [lr, momentum, decay, rate] =
                    [group.lr, group.momentum, group.weight_decay, 1.0 - group.dampening]
                        .map(T::of);
                let sign = T::of(1.0 - 2.0 * group.maximize);
                let is_first = steps[tile.parameter as usize] == 0;
                match velocity.filter(|_| group.momentum != 0.0) {
                    None => elements.for_each(|(p, &g)| *p -= lr * (sign * g + decay * *p)),
                    Some(velocity) => elements.zip(velocity).for_each(|((p, &g), b)| {
                        let g = sign * g + decay * *p;
                        *b = if is_first { g } else { momentum * *b + rate * g };
                        *p -= lr * if group.nesterov == 1.0 { g + momentum * *b } else { *b };
                    }),
                }
            });
        });
        count_steps(tiles, steps);
        Ok(())
    }
}
