//! Philox in vectors: a block of the generator in every lane.

use crate::dtype::Float;
use crate::rng::Philox;
use bytemuck::Zeroable;
use pulp::{Simd, WithSimd};

/// Element `i` of `factors` becomes `scale`, or 0 where the Philox word of element `first + i` is less
/// than `threshold`. Element `e` has word `e % 4` of block `e / 4` of `(stream, step)`.
pub(crate) struct PhiloxFactors<'a, T: Float> {
    pub(crate) philox: Philox,
    pub(crate) stream: u32,
    pub(crate) step: u64,
    pub(crate) threshold: u32,
    pub(crate) scale: T,
    pub(crate) first: usize,
    pub(crate) factors: &'a mut [T],
}

impl<T: Float> WithSimd for PhiloxFactors<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { philox, stream, step, threshold, scale, first, factors } = self;
        // Lane `l` of the four words of a block belongs to elements that lie four apart; the
        // instructions that weave them into their order want the blocks in an order of their own,
        // which is that of taking apart the order wanted.
        let mut lanes = [S::u32s::zeroed(); 4];
        let places: &mut [u32] = bytemuck::cast_slice_mut(&mut lanes);
        places.iter_mut().enumerate().for_each(|(i, place)| *place = (i / 4) as u32);
        let elements = places.len();
        let [lanes, ..] = simd.deinterleave_shfl_f32s(lanes.map(|x| simd.transmute_f32s_u32s(x)));
        let lanes = simd.transmute_u32s_f32s(lanes);
        for element in (first / 4 * 4..first + factors.len()).step_by(elements) {
            let blocks = simd.add_u32s(simd.splat_u32s((element / 4) as u32), lanes);
            let words = rounds(simd, philox.key(), [blocks, simd.splat_u32s(stream)], step);
            let words = simd.interleave_shfl_f32s(words.map(|x| simd.transmute_f32s_u32s(x)));
            let words = words.map(|x| simd.transmute_u32s_f32s(x));
            // The first of them may lie before `first`, the last behind the end.
            let words: &[u32] = &bytemuck::cast_slice(&words)[first.saturating_sub(element)..];
            let factors = &mut factors[element.saturating_sub(first)..];
            for (factor, &word) in factors.iter_mut().zip(words) {
                *factor = if word >= threshold { scale } else { T::zero() };
            }
        }
    }
}

/// The ten rounds: see [`Philox::blocks`].
#[inline(always)]
fn rounds<S: Simd>(
    simd: S,
    mut key: [u32; 2],
    [mut c0, mut c1]: [S::u32s; 2],
    step: u64,
) -> [S::u32s; 4] {
    let [multiplier0, multiplier1] = Philox::MULTIPLIERS.map(|x| simd.splat_u32s(x));
    let mut c2 = simd.splat_u32s(step as u32);
    let mut c3 = simd.splat_u32s((step >> 32) as u32);
    for _ in 0..10 {
        let (low0, high0) = simd.widening_mul_u32s(multiplier0, c0);
        let (low1, high1) = simd.widening_mul_u32s(multiplier1, c2);
        c0 = simd.xor_u32s(simd.xor_u32s(high1, c1), simd.splat_u32s(key[0]));
        c2 = simd.xor_u32s(simd.xor_u32s(high0, c3), simd.splat_u32s(key[1]));
        (c1, c3) = (low1, low0);
        key = Philox::next_key(key);
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::super::{Simd as Set, SimdLevel};
    use super::*;

    #[test]
    fn factors_are_those_of_single_blocks() {
        let philox = Philox::new(0x1234_5678_9abc_def0);
        let (stream, step, threshold, scale) = (3, 1 << 40, 1 << 30, 1.25f32);
        for simd in SimdLevel::available().map(|level| Set::new(level).unwrap()) {
            for (first, len) in [(0, 1), (0, 64), (3, 200), (5, 2), (1001, 333), (62, 66)] {
                let mut factors = vec![-1.0; len];
                let all = &mut factors[..];
                simd.run(PhiloxFactors {
                    philox,
                    stream,
                    step,
                    threshold,
                    scale,
                    first,
                    factors: all,
                });
                for (i, &factor) in factors.iter().enumerate() {
                    let element = first + i;
                    let word = philox.block(stream, step, (element / 4) as u32)[element % 4];
                    let expected = if word >= threshold { scale } else { 0.0 };
                    assert_eq!(factor, expected, "{}: element {element}", simd.level());
                }
                assert!(len < 60 || factors.contains(&0.0) && factors.contains(&scale));
            }
        }
    }
}
