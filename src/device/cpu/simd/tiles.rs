//! The two inner loops of convolution: a matrix product with the [`Patches`] of an image, which are
//! nowhere in memory, and its gradient. Both keep a tile of sums in registers; its size is a constant
//! of the body, chosen by how many registers there are.
//!
//! ```text
//!             32 registers: 13 x 2            16 registers: 6 x 2
//!
//!                   patches ──►   [ x0 ] [ x1 ]      two vectors of pixels, loaded once per k
//!   weights                       ┌────┐ ┌────┐
//!   of row 0, at k ──► broadcast  │sum │ │sum │      one multiply-add each
//!   of row 1           broadcast  │sum │ │sum │
//!     ...                           ...    ...
//!   of row 12          broadcast  │sum │ │sum │
//!                                 └────┘ └────┘
//! ```
//!
//! Per `k` that is 26 multiply-adds for 2 loads and 13 broadcasts: the arithmetic is the limit, not
//! the loads.

use super::{Lanes, lanes};
use crate::device::cpu::CpuBuffer;
use crate::dtype::Float;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::array::from_fn;
use std::ops::Range;

/// Rows of pixels are a multiple of this long, whatever the instruction set: two of the widest
/// vectors.
pub(crate) const BLOCK_COLUMNS: usize = 32;

/// Vectors side by side in a tile of [`ImplicitGemm`].
const VECTORS: usize = 2;

/// Rows of a tile of [`ImplicitGemm`]: the sums, two vectors of pixels and a broadcast weight fill
/// the registers.
pub(super) const fn gemm_rows(registers: usize) -> usize {
    if registers >= 32 { 13 } else { 6 }
}

/// Rows of a tile of [`Correlate`], which has [`SIDE`] columns.
const fn correlate_rows(registers: usize) -> usize {
    if registers >= 32 { 9 } else { 4 }
}

/// Rows on the right that [`Correlate`] takes at a time.
const SIDE: usize = 3;

/// `rows` in as few blocks of at most `most` as will do, as equal as can be: 50 are 12, 13, 12, 13.
pub(super) fn row_blocks(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let blocks = rows.div_ceil(most);
    (0..blocks).map(move |block| rows * block / blocks..rows * (block + 1) / blocks)
}

/// Calls `tile::<S, T, rows>`: a tile's rows are a constant of its body.
macro_rules! with_rows {
    ($rows:expr, $most:expr, $tile:ident $arguments:tt, [$($n:literal),*]) => {
        match $rows {
            $($n if $n <= $most => $tile::<S, T, $n> $arguments,)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}
pub(super) use with_rows;

/// The pixels of several channels as the taps of a filter see them: at position `p` of channel `c`,
/// tap `t` sees `pixels[offsets[t] + c * plane + p]`, or 0 where its mask is 0.
#[derive(Clone, Copy)]
pub(crate) struct Patches<'a, T> {
    /// At least `plane` elements from each offset and channel on.
    pub(crate) pixels: &'a [T],
    /// Elements from one channel to the next; a multiple of [`BLOCK_COLUMNS`].
    pub(crate) plane: usize,
    /// How many channels.
    pub(crate) channels: usize,
    /// `[taps]`.
    pub(crate) offsets: &'a [usize],
    /// `[taps, plane]`: 0, or [`Lanes::ALL`] where the tap sees a pixel.
    pub(crate) masks: &'a [T],
}

impl<T: Float> Patches<'_, T> {
    fn depth(&self) -> usize {
        self.offsets.len() * self.channels
    }
}

/// Filters `[rows, taps, channels]` in the order in which [`ImplicitGemm`] reads them: block of rows
/// by block, and in a block tap by tap and channel by channel, all rows of the block side by side.
pub(crate) struct PackedRows<T: Float> {
    values: CpuBuffer<T>,
    rows: usize,
    depth: usize,
    most: usize,
}

impl<T: Float> PackedRows<T> {
    /// Packs filters into `values`, which has room for all: of the taps `filter(row, channel)` those of
    /// `order`, in that order.
    pub(crate) fn new<'a>(
        simd: super::Simd,
        mut values: CpuBuffer<T>,
        [rows, channels]: [usize; 2],
        order: &[usize],
        filter: impl Fn(usize, usize) -> &'a [T] + Sync,
    ) -> Self {
        let most = simd.run(MostRows);
        let depth = channels * order.len();
        let mut rest = &mut values[..];
        let blocks: Vec<_> = row_blocks(rows, most)
            .map(|block| (rest.split_off_mut(..block.len() * depth).unwrap_or_default(), block))
            .collect();
        blocks.into_par_iter().for_each(|(target, block)| {
            // Channel by channel: what is written lies then side by side, for each tap.
            for channel in 0..channels {
                for (i, row) in block.clone().enumerate() {
                    let filter = filter(row, channel);
                    for (at, &tap) in order.iter().enumerate() {
                        target[(at * channels + channel) * block.len() + i] = filter[tap];
                    }
                }
            }
        });
        Self { values, rows, depth, most }
    }
}

/// [`gemm_rows`] of an instruction set.
struct MostRows;

impl WithSimd for MostRows {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        gemm_rows(S::REGISTER_COUNT)
    }
}

/// `output[row][p] = bias[row] + sum over tap and channel of weights[row][tap][channel] *
/// patches[tap][channel][p]` for the `columns` first `p`, a multiple of [`BLOCK_COLUMNS`].
///
/// `2 rows taps channels columns` operations.
pub(crate) struct ImplicitGemm<'a, T: Float> {
    /// `[rows, taps, channels]`.
    pub(crate) weights: &'a PackedRows<T>,
    /// `[rows]`; zeros without.
    pub(crate) bias: Option<&'a [T]>,
    /// The right-hand matrix.
    pub(crate) patches: Patches<'a, T>,
    /// Row `r` begins at `r * stride`.
    pub(crate) output: &'a mut [T],
    /// Of the output.
    pub(crate) stride: usize,
    /// How many of each row to compute.
    pub(crate) columns: usize,
}

impl<T: Float> WithSimd for ImplicitGemm<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, bias, patches, output, stride, columns } = self;
        assert!(weights.depth == patches.depth(), "{} weights a row", weights.depth);
        let width = VECTORS * lanes::<S, T>();
        // Few weights stream past each tile of columns, whose pixels stay in the first cache. Where they
        // are more than the pixels, all of these stream past each block of rows.
        let weights_stay = weights.values.len() > patches.pixels.len();
        let (blocks, tiles) = (weights.rows.div_ceil(weights.most), columns / width);
        for i in 0..blocks * tiles {
            let (block, tile) =
                if weights_stay { (i / tiles, i % tiles) } else { (i % blocks, i / blocks) };
            let rows = weights.rows * block / blocks..weights.rows * (block + 1) / blocks;
            let packed = &weights.values[rows.start * weights.depth..rows.end * weights.depth];
            let bias = bias.map(|bias| &bias[rows.clone()]);
            let output = &mut output[rows.start * stride + tile * width..];
            with_rows!(
                rows.len(),
                gemm_rows(S::REGISTER_COUNT),
                gemm_tile(simd, packed, bias, &patches, tile * width, output, stride),
                [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
            );
        }
    }
}

#[inline(always)]
fn gemm_tile<S: Simd, T: Lanes + Float, const ROWS: usize>(
    simd: S,
    weights: &[T],
    bias: Option<&[T]>,
    patches: &Patches<'_, T>,
    column: usize,
    output: &mut [T],
    stride: usize,
) {
    let &Patches { pixels, plane, channels, offsets, masks } = patches;
    let lanes = lanes::<S, T>();
    let mut sums = [[T::splat(simd, T::zero()); VECTORS]; ROWS];
    if let Some(bias) = bias {
        for row in 0..ROWS {
            sums[row] = [T::splat(simd, bias[row]); VECTORS];
        }
    }
    let (weights, _) = weights.as_chunks::<ROWS>();
    for (tap, weights) in weights.chunks_exact(channels).enumerate() {
        let at = tap * plane + column;
        let masks = [T::load::<S>(masks, at), T::load::<S>(masks, at + lanes)];
        let pixels = &pixels[offsets[tap] + column..];
        for (channel, weights) in weights.iter().enumerate() {
            let x = &pixels[channel * plane..][..VECTORS * lanes];
            let x = [
                T::keep(simd, T::load::<S>(x, 0), masks[0]),
                T::keep(simd, T::load::<S>(x, lanes), masks[1]),
            ];
            // Indices, for an iterator over so many sums would keep them in memory.
            #[allow(clippy::needless_range_loop)]
            for row in 0..ROWS {
                let weight = T::splat(simd, weights[row]);
                sums[row][0] = T::fma(simd, weight, x[0], sums[row][0]);
                sums[row][1] = T::fma(simd, weight, x[1], sums[row][1]);
            }
        }
    }
    let width = VECTORS * lanes;
    for (row, sums) in sums.iter().enumerate() {
        T::vectors_mut::<S>(&mut output[row * stride..row * stride + width]).copy_from_slice(sums);
    }
}

/// `put(row, first, sums)` with `sums[k]` the sum over the `columns` first `p` of
/// `left[row][p] * patches[tap][channel][p]`, where `first + k` is `channel * taps + tap`: the correlation of
/// each row on the left with each channel on the right, seen through each tap.
///
/// Lanes are pixels: 9 rows times 3 taps of sums stay in registers over all of them and are summed
/// across lanes once, at the end.
pub(crate) struct Correlate<'a, T: Float, F: FnMut(usize, usize, &[T])> {
    /// Row `r` begins at `r * stride`.
    pub(crate) left: &'a [T],
    /// Of the left rows.
    pub(crate) stride: usize,
    /// How many left rows.
    pub(crate) rows: usize,
    /// The right-hand rows.
    pub(crate) patches: Patches<'a, T>,
    /// How many elements of each row; a multiple of [`BLOCK_COLUMNS`].
    pub(crate) columns: usize,
    /// Takes the left row, the first right-hand row, and the sums from there on.
    pub(crate) put: F,
}

impl<T: Float, F: FnMut(usize, usize, &[T])> WithSimd for Correlate<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, stride, rows, patches, columns, mut put } = self;
        let Patches { pixels, plane, offsets, masks, .. } = patches;
        let (most, depth) = (correlate_rows(S::REGISTER_COUNT), patches.depth());
        // The left rows of a block and the masks stay in the first cache while all channels pass.
        for rows in row_blocks(rows, most) {
            let left = &left[rows.start * stride..];
            for first in (0..depth).step_by(SIDE) {
                // The last may be left over: it is taken once more, and not put.
                let seen: [_; SIDE] = from_fn(|k| (first + k).min(depth - 1));
                let masks: [_; SIDE] =
                    from_fn(|k| &masks[seen[k] % offsets.len() * plane..][..columns]);
                let right: [_; SIDE] = from_fn(|k| {
                    let (channel, tap) = (seen[k] / offsets.len(), seen[k] % offsets.len());
                    &pixels[offsets[tap] + channel * plane..][..columns]
                });
                let wanted = SIDE.min(depth - first);
                let put = |row, sums: [T; SIDE]| put(rows.start + row, first, &sums[..wanted]);
                with_rows!(
                    rows.len(),
                    most,
                    correlate_tile(simd, left, stride, right, masks, put),
                    [1, 2, 3, 4, 5, 6, 7, 8, 9]
                );
            }
        }
    }
}

#[inline(always)]
fn correlate_tile<S: Simd, T: Lanes + Float, const ROWS: usize>(
    simd: S,
    left: &[T],
    stride: usize,
    right: [&[T]; SIDE],
    masks: [&[T]; SIDE],
    mut put: impl FnMut(usize, [T; SIDE]),
) {
    let [a, b, c] = right;
    let right = [T::vectors::<S>(a), T::vectors::<S>(b), T::vectors::<S>(c)];
    let [a, b, c] = masks;
    let masks = [T::vectors::<S>(a), T::vectors::<S>(b), T::vectors::<S>(c)];
    let vectors = right[0].len();
    let mut rows = [&[][..]; ROWS];
    for (row, left_vectors) in rows.iter_mut().enumerate() {
        *left_vectors = &T::vectors::<S>(&left[row * stride..])[..vectors];
    }
    let mut sums = [[T::splat(simd, T::zero()); SIDE]; ROWS];
    for i in 0..vectors {
        let x = [
            T::keep(simd, right[0][i], masks[0][i]),
            T::keep(simd, right[1][i], masks[1][i]),
            T::keep(simd, right[2][i], masks[2][i]),
        ];
        for (sums, left) in sums.iter_mut().zip(rows) {
            let y = left[i];
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = T::fma(simd, y, x, *sum);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        // No closure: it would be compiled without the vectors.
        let [a, b, c] = sums;
        put(row, [T::reduce(simd, a), T::reduce(simd, b), T::reduce(simd, c)]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Simd, SimdLevel};
    use super::*;
    use crate::device::{Backend, Cpu};
    use proptest::prelude::*;

    /// Numbers whose products and sums `f32` holds exactly: an order of summation does not matter.
    fn numbers<T: Float>(len: usize, seed: usize) -> Vec<T> {
        (0..len).map(|i| T::of(((i * 37 + seed * 11) % 17) as f64 - 8.0)).collect()
    }

    fn everywhere(check: impl Fn(Simd)) {
        SimdLevel::available().for_each(|level| check(Simd::new(level).unwrap()));
    }

    /// What patches look at, and what they are by definition.
    struct Case<T> {
        pixels: Vec<T>,
        plane: usize,
        channels: usize,
        offsets: Vec<usize>,
        seen: Vec<bool>,
        masks: Vec<T>,
    }

    impl<T: Float> Case<T> {
        /// Every seventh position is hidden from a tap, and what it hides would be noticed.
        fn new(channels: usize, offsets: &[usize], columns: usize) -> Self {
            let plane = columns + 2 * BLOCK_COLUMNS;
            let len = offsets.iter().max().unwrap() + channels * plane;
            let seen = (0..offsets.len() * plane).map(|i| i % 7 != 3).collect::<Vec<_>>();
            let masks = seen.iter().map(|&seen| if seen { T::ALL } else { T::zero() }).collect();
            let pixels = numbers(len, 2);
            Self { pixels, plane, channels, offsets: offsets.to_vec(), seen, masks }
        }

        fn patches(&self) -> Patches<'_, T> {
            let Self { pixels, plane, channels, offsets, masks, .. } = self;
            Patches { pixels, plane: *plane, channels: *channels, offsets, masks }
        }

        fn at(&self, tap: usize, channel: usize, p: usize) -> T {
            let seen = self.seen[tap * self.plane + p];
            let pixel = self.pixels[self.offsets[tap] + channel * self.plane + p];
            if seen { pixel } else { T::zero() }
        }
    }

    fn gemm_is_its_definition<T: Float>(
        [rows, channels, blocks]: [usize; 3],
        offsets: &[usize],
        [bias, turned]: [bool; 2],
    ) {
        let (taps, columns) = (offsets.len(), blocks * BLOCK_COLUMNS);
        let weights = numbers::<T>(rows * channels * taps, 1);
        let case = Case::new(channels, offsets, columns);
        let bias = bias.then(|| numbers::<T>(rows, 3));
        let stride = columns + 5;
        let order: Vec<_> = if turned { (0..taps).rev().collect() } else { (0..taps).collect() };
        let weight =
            |row, channel, at: usize| weights[(row * channels + channel) * taps + order[at]];
        everywhere(|simd| {
            let values = Cpu::new(Some(1)).unwrap().alloc(weights.len()).unwrap();
            let packed = PackedRows::new(simd, values, [rows, channels], &order, |row, channel| {
                &weights[(row * channels + channel) * taps..][..taps]
            });
            let mut output = vec![T::of(-99.0); rows * stride];
            simd.run(ImplicitGemm {
                weights: &packed,
                bias: bias.as_deref(),
                patches: case.patches(),
                output: &mut output,
                stride,
                columns,
            });
            for (i, &value) in output.iter().enumerate() {
                let (row, p) = (i / stride, i % stride);
                let mut expected = bias.as_ref().map_or(T::zero(), |bias| bias[row]);
                for (tap, channel) in (0..taps).flat_map(|tap| (0..channels).map(move |c| (tap, c)))
                {
                    expected += weight(row, channel, tap) * case.at(tap, channel, p);
                }
                let expected = if p < columns { expected } else { T::of(-99.0) };
                assert_eq!(value, expected, "{}: row {row}, column {p}", simd.level());
            }
        });
    }

    fn correlation_is_its_definition<T: Float>(
        [rows, channels, blocks]: [usize; 3],
        offsets: &[usize],
    ) {
        let columns = blocks * BLOCK_COLUMNS;
        let stride = columns + 7;
        let left = numbers::<T>(rows * stride, 1);
        let case = Case::<T>::new(channels, offsets, columns);
        let taps = offsets.len();
        everywhere(|simd| {
            let mut all = vec![None; rows * channels * taps];
            simd.run(Correlate {
                left: &left,
                stride,
                rows,
                patches: case.patches(),
                columns,
                put: |row: usize, first: usize, sums: &[T]| {
                    for (k, &sum) in sums.iter().enumerate() {
                        assert_eq!(all[row * channels * taps + first + k].replace(sum), None);
                    }
                },
            });
            for (i, sum) in all.into_iter().enumerate() {
                let (row, channel, tap) = (i / taps / channels, i / taps % channels, i % taps);
                let product = |p| left[row * stride + p] * case.at(tap, channel, p);
                let expected = (0..columns).map(product).sum::<T>();
                assert_eq!(sum, Some(expected), "{}: row {row}", simd.level());
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn gemm_tiles(
            sizes in [1usize..60, 1..6, 1..4],
            offsets in prop::collection::vec(0usize..100, 1..10),
            options: [bool; 2],
        ) {
            gemm_is_its_definition::<f32>(sizes, &offsets, options);
            gemm_is_its_definition::<f64>(sizes, &offsets, options);
        }

        #[test]
        fn correlation_tiles(
            sizes in [1usize..40, 1..5, 1..4],
            offsets in prop::collection::vec(0usize..100, 1..10),
        ) {
            correlation_is_its_definition::<f32>(sizes, &offsets);
            correlation_is_its_definition::<f64>(sizes, &offsets);
        }
    }

    #[test]
    fn rows_are_split_evenly() {
        let lengths = |rows, most| -> Vec<usize> {
            row_blocks(rows, most).map(|block| block.len()).collect()
        };
        assert_eq!(lengths(50, 13), [12, 13, 12, 13]);
        assert_eq!(lengths(13, 13), [13]);
        assert!(lengths(0, 13).is_empty());
        for (rows, most) in (1..80).flat_map(|rows| [4, 6, 9, 13].map(|most| (rows, most))) {
            let lengths = lengths(rows, most);
            assert_eq!(lengths.iter().sum::<usize>(), rows);
            assert_eq!(lengths.len(), rows.div_ceil(most));
            assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
        }
    }
}
