use super::ReluKernels;
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> ReluKernels<T> for Cpu {
    fn relu_forward(&self, x: &[T], y: &mut [T]) -> Result<()> {
        let cost = Cost::elementwise::<T>(x.len(), 2, 1);
        self.kernel("relu_forward", cost, || {
            y.par_iter_mut()
                .zip(x)
                .with_min_len(BLOCK)
                // `x <= 0` is false for NaN, which so stays.
                .for_each(|(y, &x)| *y = if x <= T::zero() { T::zero() } else { x });
        });
        Ok(())
    }

    fn relu_backward(&self, y: &[T], grad_y: &[T], grad_x: Output<'_, Self, T>) -> Result<()> {
        let Output { view, accumulate } = grad_x;
        let cost = Cost::elementwise::<T>(y.len(), 3, 1);
        self.kernel("relu_backward", cost, || {
            view.par_iter_mut().zip(y).zip(grad_y).with_min_len(BLOCK).for_each(
                |((grad_x, &y), &grad_y)| {
                    let gradient = if y <= T::zero() { T::zero() } else { grad_y };
                    put(grad_x, gradient, accumulate);
                },
            );
        });
        Ok(())
    }
}
