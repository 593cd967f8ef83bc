//! The steps of a 3x3 convolution by Winograd's minimal filtering, F(2x2, 3x3) (Lavin and Gray 2016, "Fast
//! Algorithms for Convolutional Neural Networks"): a tile of 2x2 pixels of the output takes 16 products a
//! channel instead of 36.
//!
//! ```text
//!   Y = A' [ sum over c of (G g G') x (B' d B) ] A        x: element by element, ': transposed
//!
//!         1  0 -1  0          1    0    0
//!   B' =  0  1  1  0     G = 1/2  1/2  1/2     A' = 1  1  1  0
//!         0 -1  1  0         1/2 -1/2  1/2          0  1 -1 -1
//!         0  1  0 -1          0    0    1
//! ```
//!
//! where `d` are the 4x4 pixels under a tile, `g` is a filter. All tiles of an image at one of the 16 places
//! are a matrix, and so are all filters: the sums are 16 matrix products. The gradient of a filter is the
//! transpose of the same: `G' [ sum over tiles of (A y A') x (B' d B) ] G`.
//!
//! Everything lies with [`CHANNELS`] channels side by side, which fill vectors: a plane is
//! `[images, blocks, rows, columns, CHANNELS]`, the tiles `[16, blocks, PITCH, CHANNELS]`, the filters
//! `[blocks, 16, channels, CHANNELS]`, a block of what they make of all channels.

use super::tiles::{gemm_rows, row_blocks, with_rows};
use super::{Lanes, lanes};
use crate::dtype::Float;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Channels side by side: two of the widest vectors.
pub(crate) const CHANNELS: usize = 32;

/// Vectors of a tile of the products.
const VECTORS: usize = 2;

/// Places of a transformed tile or filter.
pub(crate) const PLACES: usize = 16;

/// Tiles of a [`Chunk`].
pub(crate) const TILES: usize = 64;

/// Room for them in a row of the matrices. An odd number: places a power of two apart would push each other
/// out of the cache.
pub(crate) const PITCH: usize = TILES + 1;

/// Tiles of 2x2 pixels of some images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Of an image.
    pub(crate) rows: usize,
    /// Of a row.
    pub(crate) columns: usize,
}

impl Grid {
    /// Tiles of an image.
    pub(crate) fn tiles(&self) -> usize {
        self.rows * self.columns
    }

    /// Rows and columns of a plane that the tiles cover, and `border` more.
    pub(crate) fn plane(&self, border: usize) -> [usize; 2] {
        [2 * self.rows + border, 2 * self.columns + border]
    }

    /// Where a tile begins in planes of `blocks` blocks with such a border.
    #[inline(always)]
    fn start(&self, tile: usize, blocks: usize, block: usize, border: usize) -> usize {
        let [rows, columns] = self.plane(border);
        let (image, inside) = (tile / self.tiles(), tile % self.tiles());
        let (row, column) = (2 * (inside / self.columns), 2 * (inside % self.columns));
        ((image * blocks + block) * rows * columns + row * columns + column) * CHANNELS
    }
}

/// Transformed tiles, and which they are of those of a [`Grid`].
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) grid: Grid,
    /// Which, at most [`TILES`].
    pub(crate) tiles: Range<usize>,
}

/// `B' d` of one row or column of the image.
#[inline(always)]
fn of_image<S: Simd, T: Lanes>(simd: S, [a, b, c, d]: [T::Vector<S>; 4]) -> [T::Vector<S>; 4] {
    [T::vsub(simd, a, c), T::vadd(simd, b, c), T::vsub(simd, c, b), T::vsub(simd, b, d)]
}

/// `G g`, of a filter.
#[inline(always)]
fn of_filter<S: Simd, T: Float>(simd: S, [a, b, c]: [T::Vector<S>; 3]) -> [T::Vector<S>; 4] {
    let half = T::splat(simd, T::of(0.5));
    let (sides, middle) = (T::vmul(simd, T::vadd(simd, a, c), half), T::vmul(simd, b, half));
    [a, T::vadd(simd, sides, middle), T::vsub(simd, sides, middle), c]
}

/// `A' m`, to the output.
#[inline(always)]
fn to_output<S: Simd, T: Lanes>(simd: S, [a, b, c, d]: [T::Vector<S>; 4]) -> [T::Vector<S>; 2] {
    let (sum, difference) = (T::vadd(simd, b, c), T::vsub(simd, b, c));
    [T::vadd(simd, a, sum), T::vsub(simd, difference, d)]
}

/// `A y`, of the output's gradient.
#[inline(always)]
fn of_gradient<S: Simd, T: Float>(simd: S, [a, b]: [T::Vector<S>; 2]) -> [T::Vector<S>; 4] {
    let zero = T::splat(simd, T::zero());
    [a, T::vadd(simd, a, b), T::vsub(simd, a, b), T::vsub(simd, zero, b)]
}

/// `G' p`, to the filter's gradient.
#[inline(always)]
fn to_filter<S: Simd, T: Float>(simd: S, [a, b, c, d]: [T::Vector<S>; 4]) -> [T::Vector<S>; 3] {
    let half = T::splat(simd, T::of(0.5));
    let sum = T::vmul(simd, T::vadd(simd, b, c), half);
    let difference = T::vmul(simd, T::vsub(simd, b, c), half);
    [T::vadd(simd, a, sum), difference, T::vadd(simd, sum, d)]
}

/// `transform` on both sides of the `$from x $from` matrix of vectors that are `load` at a row and column, to
/// `$to x $to`. No closures: they would be compiled without the vectors.
macro_rules! on_both_sides {
    ($simd:ident, $transform:ident, $from:literal -> $to:literal, |$y:ident, $x:ident| $load:expr) => {{
        let zero = T::splat($simd, T::zero());
        let mut half = [[zero; $from]; $to];
        for column in 0..$from {
            let mut values = [zero; $from];
            for (row, value) in values.iter_mut().enumerate() {
                let ($y, $x) = (row, column);
                *value = $load;
            }
            let values = $transform::<S, T>($simd, values);
            for (half, value) in half.iter_mut().zip(values) {
                half[column] = value;
            }
        }
        let mut whole = [[zero; $to]; $to];
        for (whole, half) in whole.iter_mut().zip(half) {
            *whole = $transform::<S, T>($simd, half);
        }
        whole
    }};
}

/// Kernels that transform squares of pixels of a plane to tiles: `transform` of `$side x $side` pixels, of
/// which 2 x 2 are the tile's own and the others its neighbours', the last ones' in the plane's border.
macro_rules! plane_to_tiles {
    ($($(#[$doc:meta])* $name:ident: $transform:ident, $side:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name<'a, T> {
            pub(crate) chunk: &'a Chunk,
            pub(crate) blocks: usize,
            pub(crate) plane: &'a [T],
            pub(crate) tiles: &'a mut [T],
        }

        impl<T: Float> WithSimd for $name<'_, T> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                const BORDER: usize = $side - 2;
                let Self { chunk: Chunk { grid, tiles: range }, blocks, plane, tiles } = self;
                let row = grid.plane(BORDER)[1] * CHANNELS;
                for block in 0..blocks {
                    for (i, tile) in range.clone().enumerate() {
                        let start = grid.start(tile, blocks, block, BORDER);
                        let pixels = &plane[start..start + ($side - 1) * row + $side * CHANNELS];
                        for lane in (0..CHANNELS).step_by(lanes::<S, T>()) {
                            let places = on_both_sides!(
                                simd,
                                $transform,
                                $side -> 4,
                                |y, x| T::load::<S>(pixels, y * row + x * CHANNELS + lane)
                            );
                            for (place, &value) in places.as_flattened().iter().enumerate() {
                                let at = ((place * blocks + block) * PITCH + i) * CHANNELS + lane;
                                T::store::<S>(tiles, at, value);
                            }
                        }
                    }
                }
            }
        }
    )*};
}

plane_to_tiles! {
    /// `B' d B` of tiles of a plane with a border of 2.
    ImageToTiles: of_image, 4;
    /// `A y A'` of tiles of a plane without border.
    GradientToTiles: of_gradient, 2;
}

/// `A' m A`, and a bias, to tiles of a plane without border.
pub(crate) struct TilesToOutput<'a, T> {
    pub(crate) chunk: &'a Chunk,
    pub(crate) blocks: usize,
    pub(crate) tiles: &'a [T],
    /// `[blocks, CHANNELS]`.
    pub(crate) bias: &'a [T],
    pub(crate) plane: &'a mut [T],
}

impl<T: Float> WithSimd for TilesToOutput<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { chunk: Chunk { grid, tiles: range }, blocks, tiles, bias, plane } = self;
        let row = grid.plane(0)[1] * CHANNELS;
        for block in 0..blocks {
            for (i, tile) in range.clone().enumerate() {
                let start = grid.start(tile, blocks, block, 0);
                let pixels = &mut plane[start..start + row + 2 * CHANNELS];
                for lane in (0..CHANNELS).step_by(lanes::<S, T>()) {
                    let output = on_both_sides!(simd, to_output, 4 -> 2, |y, x| {
                        let at = (((4 * y + x) * blocks + block) * PITCH + i) * CHANNELS + lane;
                        T::load::<S>(tiles, at)
                    });
                    let bias = T::load::<S>(bias, block * CHANNELS + lane);
                    for (y, values) in output.into_iter().enumerate() {
                        for (x, value) in values.into_iter().enumerate() {
                            let at = y * row + x * CHANNELS + lane;
                            T::store::<S>(pixels, at, T::vadd(simd, value, bias));
                        }
                    }
                }
            }
        }
    }
}

/// `G g G'` of the filters that make a block of channels of one channel.
pub(crate) struct FilterToPlaces<'a, T> {
    /// `[KH * KW, CHANNELS]`.
    pub(crate) taps: &'a [[T; CHANNELS]; 9],
    /// Where the first place is.
    pub(crate) places: &'a mut [T],
    /// From one place to the next.
    pub(crate) stride: usize,
}

impl<T: Float> WithSimd for FilterToPlaces<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { taps, places: target, stride } = self;
        for lane in (0..CHANNELS).step_by(lanes::<S, T>()) {
            let places = on_both_sides!(
                simd,
                of_filter,
                3 -> 4,
                |y, x| T::load::<S>(&taps[3 * y + x], lane)
            );
            for (place, &value) in places.as_flattened().iter().enumerate() {
                T::store::<S>(target, place * stride + lane, value);
            }
        }
    }
}

/// `G' p G`: [`FilterToPlaces`] transposed.
pub(crate) struct PlacesToFilter<'a, T> {
    /// Where the first place is.
    pub(crate) places: &'a [T],
    /// From one place to the next.
    pub(crate) stride: usize,
    /// `[KH * KW, CHANNELS]`.
    pub(crate) taps: &'a mut [[T; CHANNELS]; 9],
}

impl<T: Float> WithSimd for PlacesToFilter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { places, stride, taps } = self;
        for lane in (0..CHANNELS).step_by(lanes::<S, T>()) {
            let filter = on_both_sides!(
                simd,
                to_filter,
                4 -> 3,
                |y, x| T::load::<S>(places, (4 * y + x) * stride + lane)
            );
            for (tap, &value) in filter.as_flattened().iter().enumerate() {
                T::store::<S>(&mut taps[tap], lane, value);
            }
        }
    }
}

/// `output[tile][o] = sum over c of tiles[tile][c] * filters[c][o]` at each place.
pub(crate) struct FilterTiles<'a, T> {
    pub(crate) chunk: &'a Chunk,
    /// Blocks of channels of `tiles` and of `output`.
    pub(crate) blocks: [usize; 2],
    pub(crate) tiles: &'a [T],
    pub(crate) filters: &'a [T],
    pub(crate) output: &'a mut [T],
}

impl<T: Float> WithSimd for FilterTiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { chunk: Chunk { tiles: range, .. }, blocks: [from, to], .. } = self;
        let plane = PITCH * CHANNELS;
        let width = VECTORS * lanes::<S, T>();
        let most = gemm_rows(S::REGISTER_COUNT);
        for place in 0..PLACES {
            let tiles = &self.tiles[place * from * plane..][..from * plane];
            for rows in row_blocks(range.len(), most) {
                let tiles = &tiles[rows.start * CHANNELS..];
                for column in (0..to * CHANNELS).step_by(width) {
                    let (block, column) = (column / CHANNELS, column % CHANNELS);
                    let filters = (block * PLACES + place) * from * CHANNELS * CHANNELS;
                    let filters = &self.filters[filters + column..];
                    let at = (place * to + block) * plane + rows.start * CHANNELS + column;
                    let output = &mut self.output[at..];
                    with_rows!(
                        rows.len(),
                        most,
                        filter_tile(simd, tiles, [from, plane], filters, output),
                        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
                    );
                }
            }
        }
    }
}

/// `ROWS` tiles, of `blocks` blocks that are `plane` elements apart, and two vectors of filters.
#[inline(always)]
fn filter_tile<S: Simd, T: Float, const ROWS: usize>(
    simd: S,
    tiles: &[T],
    [blocks, plane]: [usize; 2],
    filters: &[T],
    output: &mut [T],
) {
    let mut sums = [[T::splat(simd, T::zero()); VECTORS]; ROWS];
    let width = VECTORS * lanes::<S, T>();
    for block in 0..blocks {
        let (rows, _) = tiles[block * plane..].as_chunks::<CHANNELS>();
        let rows = &rows[..ROWS];
        for channel in 0..CHANNELS {
            let filters = &filters[(block * CHANNELS + channel) * CHANNELS..][..width];
            let filters = [T::load::<S>(filters, 0), T::load::<S>(filters, lanes::<S, T>())];
            // Indices, for an iterator over so many sums would keep them in memory.
            #[allow(clippy::needless_range_loop)]
            for row in 0..ROWS {
                let x = T::splat(simd, rows[row][channel]);
                sums[row][0] = T::fma(simd, x, filters[0], sums[row][0]);
                sums[row][1] = T::fma(simd, x, filters[1], sums[row][1]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        T::vectors_mut::<S>(&mut output[row * CHANNELS..][..width]).copy_from_slice(&sums);
    }
}

/// `sums[o][c] += sum over tiles of gradient[tile][o] * tiles[tile][c]` at each place: the filters'
/// gradient, `[16, to, from]`.
pub(crate) struct CorrelateTiles<'a, T> {
    pub(crate) chunk: &'a Chunk,
    /// Blocks of channels of `tiles` and of `gradient`.
    pub(crate) blocks: [usize; 2],
    pub(crate) tiles: &'a [T],
    pub(crate) gradient: &'a [T],
    pub(crate) sums: &'a mut [T],
}

/// Rows of a tile of [`CorrelateTiles`], which divide a block.
const fn correlate_rows(registers: usize) -> usize {
    if registers >= 32 { 8 } else { 4 }
}

impl<T: Float> WithSimd for CorrelateTiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { chunk: Chunk { tiles: range, .. }, blocks: [from, to], .. } = self;
        let (plane, count) = (PITCH * CHANNELS, range.len());
        let width = VECTORS * lanes::<S, T>();
        let most = correlate_rows(S::REGISTER_COUNT);
        let columns = from * CHANNELS;
        for block in 0..PLACES * to {
            let place = block / to;
            let gradient = &self.gradient[block * plane..][..count * CHANNELS];
            for row in (0..CHANNELS).step_by(most) {
                for column in (0..columns).step_by(width) {
                    let tiles = (place * from + column / CHANNELS) * plane;
                    let tiles = &self.tiles[tiles..][..count * CHANNELS];
                    let sums = &mut self.sums[(block * CHANNELS + row) * columns + column..];
                    with_rows!(
                        most,
                        most,
                        correlate_tile(
                            simd,
                            [gradient, tiles],
                            [row, column % CHANNELS],
                            sums,
                            columns
                        ),
                        [4, 8]
                    );
                }
            }
        }
    }
}

/// `ROWS` channels of the gradient from `row` on, two vectors of channels of the tiles from `column` on.
#[inline(always)]
fn correlate_tile<S: Simd, T: Float, const ROWS: usize>(
    simd: S,
    [gradient, tiles]: [&[T]; 2],
    [row, column]: [usize; 2],
    total: &mut [T],
    stride: usize,
) {
    let mut sums = [[T::splat(simd, T::zero()); VECTORS]; ROWS];
    let (gradient, _) = gradient.as_chunks::<CHANNELS>();
    let (tiles, _) = tiles.as_chunks::<CHANNELS>();
    for (gradient, tiles) in gradient.iter().zip(tiles) {
        let (gradient, tiles) = (&gradient[row..][..ROWS], &tiles[column..]);
        let tiles = [T::load::<S>(tiles, 0), T::load::<S>(tiles, lanes::<S, T>())];
        // Indices, for an iterator over so many sums would keep them in memory.
        #[allow(clippy::needless_range_loop)]
        for row in 0..ROWS {
            let y = T::splat(simd, gradient[row]);
            sums[row][0] = T::fma(simd, y, tiles[0], sums[row][0]);
            sums[row][1] = T::fma(simd, y, tiles[1], sums[row][1]);
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let total = &mut total[row * stride..][..VECTORS * lanes::<S, T>()];
        for (i, sum) in sums.into_iter().enumerate() {
            let at = i * lanes::<S, T>();
            let sum = T::vadd(simd, T::load::<S>(total, at), sum);
            T::store::<S>(total, at, sum);
        }
    }
}
