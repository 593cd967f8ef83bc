use super::{ClipGradKernels, change_cost, power_cost, root};
use crate::Result;
use crate::device::cpu::{BLOCK, lane_sum};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> ClipGradKernels<T> for Cpu {
    fn grad_power(&self, p: f64, x: &[T], total: Output<'_, Self, f64>) -> Result<()> {
        let Output { view, accumulate } = total;
        let (power, larger) = (T::of(p), |a: f64, b: f64| if b > a || b.is_nan() { b } else { a });
        self.kernel("grad_power", power_cost::<T>(x.len()), || {
            let pieces = x.par_chunks(BLOCK).map(|piece| match p {
                2.0 => lane_sum(piece, piece, |x, y| x * y),
                1.0 => lane_sum(piece, piece, |x, _| x.abs()),
                f64::INFINITY => piece.iter().map(|x| x.as_f64().abs()).fold(0.0, larger),
                _ => lane_sum(piece, piece, |x, _| x.abs().powf(power)),
            });
            let pieces: Vec<f64> = pieces.collect();
            let before = if accumulate { view[0] } else { 0.0 };
            let combine = if p.is_infinite() { larger } else { |a, b| a + b };
            view[0] = pieces.into_iter().fold(before, combine);
        });
        Ok(())
    }

    fn grad_scale(
        &self,
        p: f64,
        max_norm: f64,
        total: &[f64],
        x: &mut [T],
        norm: Option<&mut [T]>,
    ) -> Result<()> {
        self.kernel("grad_scale", change_cost::<T>(x.len()), || {
            let root = root(total[0], p);
            let share = max_norm / (root + 1e-6);
            // Not `min()`: a NaN must not vanish.
            let factor = T::of(if share > 1.0 { 1.0 } else { share });
            x.par_iter_mut().with_min_len(BLOCK).for_each(|x| *x *= factor);
            if let Some(norm) = norm {
                norm[0] = T::of(root);
            }
        });
        Ok(())
    }

    fn grad_clamp(&self, most: T, x: &mut [T]) -> Result<()> {
        self.kernel("grad_clamp", change_cost::<T>(x.len()), || {
            x.par_iter_mut().with_min_len(BLOCK).for_each(|x| {
                *x = match *x {
                    x if x > most => most,
                    x if x < -most => -most,
                    x => x,
                }
            });
        });
        Ok(())
    }
}
