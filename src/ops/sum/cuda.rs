use super::{ChannelGeometry, SumKernels};
use crate::Result;
use crate::device::cuda::{COUNTERS, CudaView, THREADS, pack_grid};
use crate::device::{Backend, Cost, Cuda, Output};
use crate::dtype::Float;

/// Elements that one block adds at a time, `REDUCE_TILE` of `common.cuh`.
const REDUCE_TILE: u64 = 4096;
/// Rows that one block of `channel_sum_columns` adds, if there are no more than fit `MAX_CHUNKS`.
const COLUMN_ROWS: u64 = 256;
/// The block of `column_sum` in `sum.cu`: columns, and threads for each.
const COLUMN_BLOCK: [u32; 3] = [32, 8, 1];
/// The most pieces of one sum: the last step, which adds them, stays short.
const MAX_CHUNKS: u64 = 1024;

/// How sums are cut into pieces, each for one block, of which the last to end adds them up; by the shape
/// alone, so that the same bits come out on every GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunks {
    /// Pieces of each sum, at least one.
    pub(crate) count: u32,
    /// Units of a piece.
    pub(crate) units: u32,
    /// Sums, each with a counter of its own.
    sums: u32,
}

impl Chunks {
    /// Pieces of one or more whole `unit`s of elements, for each of `sums` sums; a single one where
    /// there are more sums than counters, and so enough blocks.
    pub(crate) fn of(elements: u64, unit: u64, sums: u32) -> Self {
        let most = if sums > COUNTERS { 1 } else { MAX_CHUNKS };
        let units = elements.div_ceil(unit * most).max(1);
        Self { count: elements.div_ceil(unit * units).max(1) as u32, units: units as u32, sums }
    }

    /// The pieces of each channel, in tiles.
    pub(crate) fn of_channels(geometry: &ChannelGeometry) -> Self {
        let elements = u64::from(geometry.outer) * u64::from(geometry.inner);
        Self::of(elements, REDUCE_TILE, geometry.channels)
    }

    /// A block for each piece.
    pub(crate) fn grid(&self) -> [u32; 3] {
        [self.sums * self.count, 1, 1]
    }

    pub(crate) fn counters(&self) -> u32 {
        if self.count == 1 { 0 } else { self.sums }
    }

    /// Elements of a buffer with `values` numbers for each piece of each channel.
    pub(crate) fn partials(&self, channels: u32, values: usize) -> usize {
        if self.count == 1 { 0 } else { self.count as usize * channels as usize * values }
    }

    /// Of these: written by one block, read by another.
    pub(crate) fn cost(&self, channels: u32, values: usize) -> Cost {
        Cost::default().moving::<f64>(2 * self.partials(channels, values) as u64)
    }
}

impl ChannelGeometry {
    /// The geometry for kernels that sum, which divide by `inner`: no elements are no rows of one.
    pub(crate) fn summed(self) -> Self {
        if self.numel() > 0 { self } else { Self { outer: 0, inner: 1, ..self } }
    }
}

impl<T: Float> SumKernels<T> for Cuda {
    fn channel_sum(
        &self,
        geometry: &ChannelGeometry,
        scale: T,
        x: CudaView<'_, T>,
        sums: Output<'_, Self, T>,
    ) -> Result<()> {
        let geometry = geometry.summed();
        let ChannelGeometry { outer, channels, inner } = geometry;
        let (name, chunks, block) = if inner == 1 {
            let blocks = channels.div_ceil(COLUMN_BLOCK[0]);
            let chunks = Chunks::of(u64::from(outer), COLUMN_ROWS, blocks);
            let rows = chunks.units * COLUMN_ROWS as u32;
            ("channel_sum_columns", Chunks { units: rows, ..chunks }, COLUMN_BLOCK)
        } else {
            ("channel_sum", Chunks::of_channels(&geometry), [THREADS, 1, 1])
        };
        let mut partials = self.alloc::<f64>(chunks.partials(channels, 1))?;
        self.kernel::<T>("sum", name)?
            .cost(geometry.sum_cost::<T>() + chunks.cost(channels, 1))
            .value(geometry)
            .value(chunks.count)
            .value(chunks.units)
            .value(scale)
            .input(x)
            .output(Self::view_mut(&mut partials))
            .counters(chunks.counters())
            .gradient(sums)
            .launch(chunks.grid(), block)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_cut_while_there_are_counters() {
        let cut = |elements, sums| {
            let Chunks { count, units, .. } = Chunks::of(elements, 100, sums);
            (count, units)
        };
        assert_eq!([cut(0, 5), cut(100, 5), cut(101, 5)], [(1, 1), (1, 1), (2, 1)]);
        // At most 1024 pieces.
        assert_eq!([cut(102_400, 5), cut(102_401, 5)], [(1024, 1), (513, 2)]);
        assert_eq!([cut(201, COUNTERS), cut(201, COUNTERS + 1)], [(3, 1), (1, 3)]);
        let many = Chunks::of(201, 100, COUNTERS + 1);
        assert_eq!((many.counters(), many.partials(7, 2)), (0, 0));
        assert_eq!(many.grid(), [COUNTERS + 1, 1, 1]);
    }
}
