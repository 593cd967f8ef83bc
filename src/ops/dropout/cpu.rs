use super::{DropoutGeometry, DropoutKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, PhiloxFactors, put};
use crate::device::{Cost, Cpu, Output};
use crate::dtype::Float;
use crate::rng::Philox;
use rayon::prelude::*;

/// Elements whose factors are drawn at a time.
const DRAWN: usize = 1024;

impl<T: Float> DropoutKernels<T> for Cpu {
    fn dropout(
        &self,
        geometry: &DropoutGeometry,
        step: &[u64],
        x: &[T],
        y: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = y;
        let cost = Cost::elementwise::<T>(x.len(), 2, 1);
        self.kernel("dropout", cost, || {
            let chunks = view.par_chunks_mut(DRAWN).zip(x.par_chunks(DRAWN));
            chunks.with_min_len(BLOCK / DRAWN).enumerate().for_each(|(chunk, (y, x))| {
                let mut factors = [T::zero(); DRAWN];
                self.dropout_factors(geometry, step[0], chunk * DRAWN, &mut factors[..y.len()]);
                self.simd().vectorize(
                    #[inline(always)]
                    || {
                        for ((y, &x), &factor) in y.iter_mut().zip(x).zip(&factors) {
                            put(y, scaled(x, factor), accumulate);
                        }
                    },
                );
            });
        });
        Ok(())
    }
}

impl Cpu {
    /// What the elements from `first` on are multiplied with: the scale, or 0 for one that is
    /// dropped.
    pub(crate) fn dropout_factors<T: Float>(
        &self,
        geometry: &DropoutGeometry,
        step: u64,
        first: usize,
        factors: &mut [T],
    ) {
        let &DropoutGeometry { seed, scale, stream, threshold } = geometry;
        self.simd().run(PhiloxFactors {
            philox: Philox::new(seed),
            stream,
            step,
            threshold,
            scale: T::of(scale),
            first,
            factors,
        });
    }
}

/// `x * factor`; an element that is dropped is 0 whatever it was.
#[inline(always)]
pub(crate) fn scaled<T: Float>(x: T, factor: T) -> T {
    if factor == T::zero() { T::zero() } else { x * factor }
}
