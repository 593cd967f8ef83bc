use super::{DropoutGeometry, DropoutKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use crate::rng::Philox;
use rayon::prelude::*;

/// Philox blocks that are drawn side by side.
const BLOCKS: usize = 16;

impl<T: Float> DropoutKernels<T> for Cpu {
    fn dropout(
        &self,
        geometry: &DropoutGeometry,
        step: &[u64],
        x: &[T],
        y: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = y;
        let philox = Philox::new(geometry.seed);
        let scale = T::of(geometry.scale);
        let cost = Cost::elementwise::<T>(x.len(), 2, 1);
        self.kernel("dropout", cost, || {
            view.par_chunks_mut(4 * BLOCKS)
                .zip(x.par_chunks(4 * BLOCKS))
                .with_min_len(BLOCK / (16 * BLOCKS))
                .enumerate()
                .for_each(|(chunk, (y, x))| {
                    let first = (chunk * BLOCKS) as u32;
                    let words = philox.blocks::<BLOCKS>(geometry.stream, step[0], first);
                    for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                        let kept = words[i % 4][i / 4] >= geometry.threshold;
                        put(y, if kept { x * scale } else { T::zero() }, accumulate);
                    }
                });
        });
        Ok(())
    }
}
