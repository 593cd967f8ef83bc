use super::{DropoutGeometry, DropoutKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use crate::rng::Philox;
use rayon::prelude::*;

impl<T: Float> DropoutKernels<T> for Cpu {
    fn dropout(&self, geometry: &DropoutGeometry, x: &[T], y: Output<'_, Self, T>) -> Result<()> {
        let Output { view, accumulate } = y;
        let philox = Philox::new(geometry.seed);
        let scale = T::of(geometry.scale);
        self.kernel("dropout", || {
            view.par_chunks_mut(4)
                .zip(x.par_chunks(4))
                .with_min_len(BLOCK / 16)
                .enumerate()
                .for_each(|(block, (y, x))| {
                    let words = philox.block(geometry.stream, geometry.step, block as u32);
                    for ((y, &x), word) in y.iter_mut().zip(x).zip(words) {
                        let kept = word >= geometry.threshold;
                        put(y, if kept { x * scale } else { T::zero() }, accumulate);
                    }
                });
        });
        Ok(())
    }
}
