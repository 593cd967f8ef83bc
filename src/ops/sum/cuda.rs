use super::{ChannelGeometry, SumKernels};
use crate::Result;
use crate::device::cuda::{CudaView, THREADS, grid, pack_grid};
use crate::device::{Cost, Cuda, Memory, Output};
use crate::dtype::Float;

/// Elements that one block adds at a time, `REDUCE_TILE` of `common.cuh`.
const REDUCE_TILE: u64 = 4096;
/// Rows that one block of `channel_sum_columns` adds, if there are no more than fit `MAX_CHUNKS`.
const COLUMN_ROWS: u64 = 256;
/// The block of `column_sum` in `common.cuh`: columns, and threads for each.
pub(crate) const COLUMN_BLOCK: [u32; 3] = [32, 8, 1];
/// The most pieces of one sum: the last step, which adds them, stays short.
const MAX_CHUNKS: u64 = 1024;

/// How one channel's elements are cut into pieces, each for one block; by the shape alone, so that
/// the same bits come out on every GPU.
pub(crate) struct Chunks {
    /// Pieces; 0 of nothing. One piece needs no second kernel.
    pub(crate) count: u32,
    /// Units of a piece.
    pub(crate) units: u32,
}

impl Chunks {
    /// Pieces of one or more whole `units` of so many elements.
    fn of(elements: u64, unit: u64) -> Self {
        let units = elements.div_ceil(unit * MAX_CHUNKS).max(1);
        Self { count: elements.div_ceil(unit * units) as u32, units: units as u32 }
    }

    /// The pieces of one channel, in tiles.
    pub(crate) fn of_channel(geometry: &ChannelGeometry) -> Self {
        Self::of(u64::from(geometry.outer) * u64::from(geometry.inner), REDUCE_TILE)
    }

    /// Elements of a buffer with `values` numbers for each piece of each channel.
    pub(crate) fn partials(&self, geometry: &ChannelGeometry, values: usize) -> usize {
        if self.count == 1 {
            return 0;
        }
        self.count as usize * geometry.channels as usize * values
    }

    /// Of a kernel that combines `values` numbers of each piece of each channel.
    pub(crate) fn reduce_cost(&self, geometry: &ChannelGeometry, values: usize) -> Cost {
        Cost::elementwise::<f64>(self.partials(geometry, values), 1, 1)
    }

    /// `(now, later)`: where one piece is the result, the first kernel writes it, else the second.
    pub(crate) fn split<O>(&self, output: Option<O>) -> (Option<O>, Option<O>) {
        if self.count == 1 { (output, None) } else { (None, output) }
    }
}

/// One warp for each channel.
pub(crate) fn warp_grid(channels: u32) -> [u32; 3] {
    grid(channels as usize * 32)
}

impl<T: Float> SumKernels<T> for Cuda {
    fn channel_sum(
        &self,
        geometry: &ChannelGeometry,
        scale: T,
        x: CudaView<'_, T>,
        sums: Output<'_, Self, T>,
    ) -> Result<()> {
        let &ChannelGeometry { outer, channels, inner } = geometry;
        let (name, chunks, blocks, block) = if inner == 1 {
            let chunks = Chunks::of(u64::from(outer), COLUMN_ROWS);
            let rows = chunks.units * COLUMN_ROWS as u32;
            let blocks = channels.div_ceil(COLUMN_BLOCK[0]) * chunks.count;
            ("channel_sum_columns", Chunks { units: rows, ..chunks }, blocks, COLUMN_BLOCK)
        } else {
            let chunks = Chunks::of_channel(geometry);
            let blocks = channels * chunks.count;
            ("channel_sum", chunks, blocks, [THREADS, 1, 1])
        };
        let mut partials = self.alloc::<f64>(chunks.partials(geometry, 1))?;
        let (now, later) = chunks.split(Some(sums));
        let cost = geometry.sum_cost::<T>().moving::<f64>(chunks.partials(geometry, 1) as u64);
        self.kernel::<T>("sum", name)?
            .cost(cost)
            .value(*geometry)
            .value(chunks.count)
            .value(chunks.units)
            .value(scale)
            .input(x)
            .output(Self::view_mut(&mut partials))
            .optional_gradient(now)
            .launch([blocks, 1, 1], block)?;
        let Some(sums) = later else { return Ok(()) };
        self.kernel::<T>("sum", "channel_sum_reduce")?
            .cost(chunks.reduce_cost(geometry, 1))
            .value(channels)
            .value(chunks.count)
            .value(scale)
            .input(Self::view(&partials))
            .gradient(sums)
            .launch(warp_grid(channels), [THREADS, 1, 1])
    }

    fn channel_expand(
        &self,
        geometry: &ChannelGeometry,
        scale: T,
        values: CudaView<'_, T>,
        x: Output<'_, Self, T>,
    ) -> Result<()> {
        self.kernel::<T>("sum", "channel_expand")?
            .cost(geometry.expand_cost::<T>(x.accumulate))
            .value(*geometry)
            .value(scale)
            .input(values)
            .gradient(x)
            .launch(pack_grid::<T>(geometry.numel()), [THREADS, 1, 1])
    }
}
