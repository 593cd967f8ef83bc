use super::AddKernels;
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> AddKernels<T> for Cpu {
    fn add(&self, a: &[T], b: &[T], y: &mut [T]) -> Result<()> {
        let cost = Cost::elementwise::<T>(a.len(), 2, 1).moving::<T>(b.len() as u64);
        self.kernel("add", cost, || {
            y.par_iter_mut()
                .zip(a)
                .with_min_len(BLOCK)
                .enumerate()
                .for_each(|(i, (y, &a))| *y = a + b[i % b.len()]);
        });
        Ok(())
    }

    fn accumulate(&self, x: &[T], y: Output<'_, Self, T>) -> Result<()> {
        let Output { view, accumulate } = y;
        let cost = Cost::elementwise::<T>(x.len(), 2 + u64::from(accumulate), 0);
        self.kernel("accumulate", cost, || {
            view.par_iter_mut()
                .zip(x)
                .with_min_len(BLOCK)
                .for_each(|(y, &x)| put(y, x, accumulate));
        });
        Ok(())
    }
}
