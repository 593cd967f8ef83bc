//! The two inner loops of convolution: a matrix product over rows that are shifted in memory, and
//! its gradient. Both keep a tile of sums in registers; its size is a constant of the body, chosen
//! by how many registers there are.
//!
//! ```text
//!             32 registers: 13 x 2            16 registers: 6 x 2
//!
//!                x[offset k] ──►  [ x0 ] [ x1 ]      two vectors of pixels, loaded once per k
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
use std::ops::Range;

/// Rows of pixels are a multiple of this long, whatever the instruction set: two of the widest
/// vectors.
pub(crate) const BLOCK_COLUMNS: usize = 32;

/// Vectors side by side in a tile of [`ImplicitGemm`].
const VECTORS: usize = 2;

/// Rows of a tile of [`ImplicitGemm`]: the sums, two vectors of pixels and a broadcast weight fill
/// the registers.
const fn gemm_rows(registers: usize) -> usize {
    if registers >= 32 { 13 } else { 6 }
}

/// Rows of a tile of [`Correlate`], which has [`SHIFTS`] columns.
const fn correlate_rows(registers: usize) -> usize {
    if registers >= 32 { 9 } else { 4 }
}

/// Rows of pixels that [`Correlate`] reads side by side.
const SHIFTS: usize = 3;

/// `rows` in as few blocks of at most `most` as will do, as equal as can be: 50 are 12, 13, 12, 13.
fn row_blocks(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
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

/// A matrix `[rows, depth]` in the order in which [`ImplicitGemm`] reads it: block of rows by block,
/// and in a block all rows of column 0, then of column 1.
pub(crate) struct PackedRows<T: Float> {
    values: CpuBuffer<T>,
    rows: usize,
    depth: usize,
    most: usize,
}

impl<T: Float> PackedRows<T> {
    /// Packs the matrix with these rows into `values`, which has the number of its elements.
    pub(crate) fn new<I: Iterator<Item = T>>(
        simd: super::Simd,
        mut values: CpuBuffer<T>,
        rows: usize,
        depth: usize,
        row: impl Fn(usize) -> I + Sync,
    ) -> Self {
        let most = simd.run(MostRows);
        let mut rest = &mut values[..];
        let blocks: Vec<_> = row_blocks(rows, most)
            .map(|block| (rest.split_off_mut(..block.len() * depth).unwrap_or_default(), block))
            .collect();
        blocks.into_par_iter().for_each(|(target, block)| {
            for (i, r) in block.clone().enumerate() {
                let target = target.iter_mut().skip(i).step_by(block.len());
                target.zip(row(r)).for_each(|(target, value)| *target = value);
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

/// `output[row][p] = bias[row] + sum over k of weights[row][k] * input[offsets[k] + p]` for the
/// `columns` first `p`, a multiple of [`BLOCK_COLUMNS`].
///
/// A matrix product whose right-hand matrix is nowhere in memory: row `k` of it is the input from
/// `offsets[k]` on. `2 rows depth columns` operations.
pub(crate) struct ImplicitGemm<'a, T: Float> {
    /// `[rows, depth]`.
    pub(crate) weights: &'a PackedRows<T>,
    /// `[rows]`; zeros without.
    pub(crate) bias: Option<&'a [T]>,
    /// `[depth]`.
    pub(crate) offsets: &'a [usize],
    /// At least `columns` elements from each offset on.
    pub(crate) input: &'a [T],
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
        let Self { weights, bias, offsets, input, output, stride, columns } = self;
        let width = VECTORS * lanes::<S, T>();
        // All rows of one tile of columns before the next: its pixels stay in the first cache, the
        // weights stream past.
        for column in (0..columns).step_by(width) {
            for rows in row_blocks(weights.rows, weights.most) {
                let packed = &weights.values[rows.start * weights.depth..rows.end * weights.depth];
                let bias = bias.map(|bias| &bias[rows.clone()]);
                let input = &input[column..];
                let output = &mut output[rows.start * stride + column..];
                with_rows!(
                    rows.len(),
                    gemm_rows(S::REGISTER_COUNT),
                    gemm_tile(simd, packed, bias, offsets, input, output, stride),
                    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
                );
            }
        }
    }
}

#[inline(always)]
fn gemm_tile<S: Simd, T: Lanes + Float, const ROWS: usize>(
    simd: S,
    weights: &[T],
    bias: Option<&[T]>,
    offsets: &[usize],
    input: &[T],
    output: &mut [T],
    stride: usize,
) {
    let width = VECTORS * lanes::<S, T>();
    let mut sums = [[T::splat(simd, T::zero()); VECTORS]; ROWS];
    if let Some(bias) = bias {
        for row in 0..ROWS {
            sums[row] = [T::splat(simd, bias[row]); VECTORS];
        }
    }
    let (weights, _) = weights.as_chunks::<ROWS>();
    for (weights, &offset) in weights.iter().zip(offsets) {
        let x = T::vectors::<S>(&input[offset..offset + width]);
        let x = [x[0], x[1]];
        // Indices, for an iterator over so many sums would keep them in memory.
        #[allow(clippy::needless_range_loop)]
        for row in 0..ROWS {
            let weight = T::splat(simd, weights[row]);
            sums[row][0] = T::fma(simd, weight, x[0], sums[row][0]);
            sums[row][1] = T::fma(simd, weight, x[1], sums[row][1]);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        T::vectors_mut::<S>(&mut output[row * stride..row * stride + width]).copy_from_slice(sums);
    }
}

/// `put(row, column, k, sum over p of left[row][p] * right[offsets[column] + shifts k + p])` over the
/// `columns` first `p`, for `k` in 0..3: the correlation of each row on the left with three shifts
/// of each on the right.
///
/// Lanes are pixels: 9 rows times 3 shifts of sums stay in registers over all of them and are
/// summed across lanes once, at the end.
pub(crate) struct Correlate<'a, T: Float, F: FnMut(usize, usize, [T; SHIFTS])> {
    /// Row `r` begins at `r * stride`.
    pub(crate) left: &'a [T],
    /// Of the left rows.
    pub(crate) stride: usize,
    /// How many left rows.
    pub(crate) rows: usize,
    /// Where the right rows begin in `right`.
    pub(crate) offsets: &'a [usize],
    /// The right rows.
    pub(crate) right: &'a [T],
    /// Distance between the three shifts of a right row.
    pub(crate) shift: usize,
    /// How many elements of each row; a multiple of [`BLOCK_COLUMNS`].
    pub(crate) columns: usize,
    /// Takes left row, right row, and the three sums.
    pub(crate) put: F,
}

impl<T: Float, F: FnMut(usize, usize, [T; SHIFTS])> WithSimd for Correlate<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, stride, rows, offsets, right, shift, columns, mut put } = self;
        let most = correlate_rows(S::REGISTER_COUNT);
        // The left rows of a block stay in the first cache while all right rows pass.
        for rows in row_blocks(rows, most) {
            for (column, &offset) in offsets.iter().enumerate() {
                let left = &left[rows.start * stride..];
                let shifted = |k| &right[offset + k * shift..][..columns];
                let right = [shifted(0), shifted(1), shifted(2)];
                let put = |row, sums| put(rows.start + row, column, sums);
                with_rows!(
                    rows.len(),
                    most,
                    correlate_tile(simd, left, stride, right, columns, put),
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
    right: [&[T]; SHIFTS],
    columns: usize,
    mut put: impl FnMut(usize, [T; SHIFTS]),
) {
    let vectors = columns / lanes::<S, T>();
    let mut rows = [&[][..]; ROWS];
    for (row, vectors) in rows.iter_mut().enumerate() {
        *vectors = T::vectors::<S>(&left[row * stride..][..columns]);
    }
    let [a, b, c] = right;
    let right = [T::vectors::<S>(a), T::vectors::<S>(b), T::vectors::<S>(c)];
    let mut sums = [[T::splat(simd, T::zero()); SHIFTS]; ROWS];
    for i in 0..vectors {
        let x = [right[0][i], right[1][i], right[2][i]];
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
    use crate::device::{Cpu, Memory};
    use proptest::prelude::*;

    /// Numbers whose products and sums `f32` holds exactly: an order of summation does not matter.
    fn numbers<T: Float>(len: usize, seed: usize) -> Vec<T> {
        (0..len).map(|i| T::of(((i * 37 + seed * 11) % 17) as f64 - 8.0)).collect()
    }

    fn everywhere(check: impl Fn(Simd)) {
        SimdLevel::available().for_each(|level| check(Simd::new(level).unwrap()));
    }

    fn gemm_is_its_definition<T: Float>(rows: usize, offsets: &[usize], blocks: usize, bias: bool) {
        let (depth, columns) = (offsets.len(), blocks * BLOCK_COLUMNS);
        let weights = numbers::<T>(rows * depth, 1);
        let input = numbers::<T>(offsets.iter().max().unwrap() + columns, 2);
        let bias = bias.then(|| numbers::<T>(rows, 3));
        let stride = columns + 5;
        everywhere(|simd| {
            let values = Cpu::new(Some(1)).unwrap().alloc(rows * depth).unwrap();
            let packed = PackedRows::new(simd, values, rows, depth, |row| {
                weights[row * depth..][..depth].iter().copied()
            });
            let mut output = vec![T::of(-99.0); rows * stride];
            simd.run(ImplicitGemm {
                weights: &packed,
                bias: bias.as_deref(),
                offsets,
                input: &input,
                output: &mut output,
                stride,
                columns,
            });
            for (i, &value) in output.iter().enumerate() {
                let (row, p) = (i / stride, i % stride);
                let mut expected = bias.as_ref().map_or(T::zero(), |bias| bias[row]);
                for (k, &offset) in offsets.iter().enumerate() {
                    expected += weights[row * depth + k] * input[(offset + p).min(input.len() - 1)];
                }
                let expected = if p < columns { expected } else { T::of(-99.0) };
                assert_eq!(value, expected, "{}: row {row}, column {p}", simd.level());
            }
        });
    }

    fn correlation_is_its_definition<T: Float>(rows: usize, offsets: &[usize], blocks: usize) {
        let (columns, shift) = (blocks * BLOCK_COLUMNS, 3);
        let stride = columns + 7;
        let left = numbers::<T>(rows * stride, 1);
        let right = numbers::<T>(offsets.iter().max().unwrap() + 2 * shift + columns, 2);
        everywhere(|simd| {
            let mut sums = vec![None; rows * offsets.len()];
            simd.run(Correlate {
                left: &left,
                stride,
                rows,
                offsets,
                right: &right,
                shift,
                columns,
                put: |row: usize, column: usize, of: [T; 3]| {
                    assert_eq!(sums[row * offsets.len() + column].replace(of), None);
                },
            });
            for (i, sums) in sums.into_iter().enumerate() {
                let (row, offset) = (i / offsets.len(), offsets[i % offsets.len()]);
                let expected = [0, 1, 2].map(|k| {
                    let right = &right[offset + k * shift..][..columns];
                    let left = &left[row * stride..][..columns];
                    left.iter().zip(right).map(|(&a, &b)| a * b).sum::<T>()
                });
                assert_eq!(sums, Some(expected), "{}: row {row}", simd.level());
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn gemm_tiles(
            rows in 1usize..60,
            offsets in prop::collection::vec(0usize..200, 1..40),
            blocks in 1usize..4,
            bias: bool,
        ) {
            gemm_is_its_definition::<f32>(rows, &offsets, blocks, bias);
            gemm_is_its_definition::<f64>(rows, &offsets, blocks, bias);
        }

        #[test]
        fn correlation_tiles(
            rows in 1usize..40,
            offsets in prop::collection::vec(0usize..200, 1..10),
            blocks in 1usize..4,
        ) {
            correlation_is_its_definition::<f32>(rows, &offsets, blocks);
            correlation_is_its_definition::<f64>(rows, &offsets, blocks);
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
