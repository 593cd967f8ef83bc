use super::MulKernels;
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> MulKernels<T> for Cpu {
    fn mul(&self, a: &[T], b: &[T], y: Output<'_, Self, T>) -> Result<()> {
        let Output { view, accumulate } = y;
        let cost = Cost::elementwise::<T>(a.len(), 2, 1).moving::<T>(b.len() as u64);
        self.kernel("mul", cost, || {
            view.par_iter_mut()
                .zip(a)
                .with_min_len(BLOCK)
                .enumerate()
                .for_each(|(i, (y, &a))| put(y, a * b[i % b.len()], accumulate));
        });
        Ok(())
    }
}
