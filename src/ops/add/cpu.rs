use super::AddKernels;
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> AddKernels<T> for Cpu {
    fn add(&self, a: &[T], b: &[T], y: &mut [T]) -> Result<()> {
        self.kernel("add", || {
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
        self.kernel("accumulate", || {
            view.par_iter_mut()
                .zip(x)
                .with_min_len(BLOCK)
                .for_each(|(y, &x)| put(y, x, accumulate));
        });
        Ok(())
    }
}
