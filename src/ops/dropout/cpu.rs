use super::{DropoutGeometry, DropoutKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use crate::rng::Philox;
use rayon::prelude::*;

/// Philox blocks that are drawn side by side.
const BLOCKS: usize = 16;

/// Elements that so many blocks decide about.
const ELEMENTS: usize = 4 * BLOCKS;

impl<T: Float> DropoutKernels<T> for Cpu {
    fn dropout(
        &self,
        geometry: &DropoutGeometry,
        step: &[u64],
        x: &[T],
        y: Output<'_, Self, T>,
    ) -> Result<()> {
        let Output { view, accumulate } = y;
        let simd = self.simd();
        self.kernel("dropout", || {
            view.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).enumerate().for_each(
                |(block, (y, x))| {
                    simd.run(
                        #[inline(always)]
                        || {
                            let mut factors = [T::zero(); ELEMENTS];
                            let chunks = y.chunks_mut(ELEMENTS).zip(x.chunks(ELEMENTS));
                            for (chunk, (y, x)) in chunks.enumerate() {
                                let first = block * BLOCK + chunk * ELEMENTS;
                                draw(geometry, step[0], first / 4, &mut factors);
                                for ((y, &x), &factor) in y.iter_mut().zip(x).zip(&factors) {
                                    put(y, scaled(x, factor), accumulate);
                                }
                            }
                        },
                    );
                },
            );
        });
        Ok(())
    }
}

/// What elements `first..` are multiplied with: the scale, or 0 where one is dropped.
#[inline(always)]
pub(crate) fn factors<T: Float>(
    geometry: &DropoutGeometry,
    step: u64,
    first: usize,
    factors: &mut [T],
) {
    let mut drawn = [T::zero(); ELEMENTS];
    // Blocks begin at multiples of 4.
    let mut skip = first % 4;
    let (mut block, mut rest) = (first / 4, factors);
    while !rest.is_empty() {
        draw(geometry, step, block, &mut drawn);
        let (chunk, behind) = rest.split_at_mut(rest.len().min(ELEMENTS - skip));
        chunk.copy_from_slice(&drawn[skip..skip + chunk.len()]);
        (skip, block, rest) = (0, block + BLOCKS, behind);
    }
}

/// `x * factor`; an element that is dropped is 0 whatever it was.
#[inline(always)]
pub(crate) fn scaled<T: Float>(x: T, factor: T) -> T {
    if factor == T::zero() { T::zero() } else { x * factor }
}

/// The factors of the elements of [`BLOCKS`] Philox blocks from `block` on.
#[inline(always)]
fn draw<T: Float>(
    geometry: &DropoutGeometry,
    step: u64,
    block: usize,
    factors: &mut [T; ELEMENTS],
) {
    let scale = T::of(geometry.scale);
    let philox = Philox::new(geometry.seed);
    let words = philox.blocks::<BLOCKS>(geometry.stream, step, block as u32);
    for (i, factors) in factors.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        for (factor, words) in factors.iter_mut().zip(&words) {
            *factor = if words[i] >= geometry.threshold { scale } else { T::zero() };
        }
    }
}
