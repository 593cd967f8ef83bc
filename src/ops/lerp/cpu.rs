use super::LerpKernels;
use crate::Result;
use crate::device::cpu::BLOCK;
use crate::device::{Cost, Cpu};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> LerpKernels<T> for Cpu {
    fn lerp(&self, weight: T, end: &[T], x: &mut [T]) -> Result<()> {
        self.kernel("lerp", Cost::elementwise::<T>(x.len(), 3, 3), || {
            x.par_iter_mut()
                .zip(end)
                .with_min_len(BLOCK)
                .for_each(|(x, &end)| *x += weight * (end - *x));
        });
        Ok(())
    }
}
