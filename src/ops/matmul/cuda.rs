use super::{BatchedGeometry, MatmulGeometry, MatmulKernels};
use crate::Result;
use crate::device::cuda::{CudaView, Tuning};
use crate::device::{Backend, Cost, Cuda, Output};
use crate::dtype::Float;

const FILE: &str = "matmul";

/// Rows of a tile, `MATMUL_ROWS` of `matmul.cu`.
const ROWS: u32 = 32;
/// Columns and depth of a tile of `gemm.cuh`.
const COLS: u32 = 64;
const DEPTH: u32 = 16;
/// Threads of a warp.
const WARP: u32 = 32;

/// How a product is cut for `gemm.cuh`: into tiles of the result, and where these are few and the sum
/// is long, the sum into slices.
pub(crate) struct Tiling {
    /// Tiles of the result, one block each.
    pub(crate) tiles: u32,
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Partial sums, at least one.
    pub(crate) slices: u32,
    /// Elements of the sum in each.
    pub(crate) slice: u32,
}

impl Tiling {
    /// An `[m, n]` result in tiles of `rows` rows, each sum in one piece.
    pub(crate) fn new(rows: u32, m: u32, n: u32) -> Self {
        let tiles = m.div_ceil(rows) * n.div_ceil(COLS);
        Self { tiles, threads: rows * COLS / 16, slices: 1, slice: u32::MAX }
    }

    /// The same with sums of `k` elements in as many slices as fill a GPU.
    pub(crate) fn sliced(self, k: u32) -> Self {
        self.sliced_of(1, k)
    }

    /// The same for one of `batches` results that share a launch.
    fn sliced_of(self, batches: u32, k: u32) -> Self {
        let Tuning { warps, min_slice, .. } = Tuning::get();
        let enough_blocks = warps / (self.threads / WARP);
        let wanted = (enough_blocks / self.tiles.saturating_mul(batches).max(1)).max(1);
        let slice = k.div_ceil(wanted).max(min_slice).next_multiple_of(DEPTH);
        Self { slices: k.div_ceil(slice).max(1), slice, ..self }
    }

    pub(crate) fn block(&self) -> [u32; 3] {
        [self.threads, 1, 1]
    }
}

/// A [`Tiling`] as kernels take it, `GemmSplit` of `gemm.cuh`. The default is a product that is not
/// wanted: it has no blocks.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Split {
    tiles: u32,
    slices: u32,
    slice: u32,
    /// Sums that are written for each tile, to be added up.
    parts: u32,
    /// Groups in which they are, a counter each.
    groups: u32,
}

impl Split {
    /// Blocks of the product.
    pub(crate) fn blocks(&self) -> u32 {
        self.tiles * self.slices
    }

    /// Counters that the product needs.
    pub(crate) fn counters(&self) -> u32 {
        self.tiles * self.groups
    }

    /// Elements that the product needs for partial sums, 16 for each of a block's `threads`.
    pub(crate) fn partials(&self, threads: u32) -> usize {
        (self.tiles * self.parts) as usize * (16 * threads) as usize
    }

    /// Of these sums: written by one block, read by another.
    pub(crate) fn cost<T>(&self, threads: u32) -> Cost {
        Cost::default().moving::<T>(2 * self.partials(threads) as u64)
    }
}

impl From<Tiling> for Split {
    fn from(Tiling { tiles, slices, slice, .. }: Tiling) -> Self {
        let (mut parts, mut groups, mut level) = (0, 0, slices);
        while level > 1 {
            parts += level;
            level = level.div_ceil(Tuning::get().group);
            groups += level;
        }
        Self { tiles, slices, slice, parts, groups }
    }
}

impl<T: Float> MatmulKernels<T> for Cuda {
    fn matmul(
        &self,
        geometry: &MatmulGeometry,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        bias: Option<CudaView<'_, T>>,
        c: Output<'_, Self, T>,
    ) -> Result<()> {
        let &MatmulGeometry { m, n, k, transpose_a, transpose_b } = geometry;
        let name = match (transpose_a == 1, transpose_b == 1) {
            (false, false) => "matmul_nn",
            (false, true) => "matmul_nt",
            (true, false) => "matmul_tn",
            (true, true) => "matmul_tt",
        };
        let tiling = Tiling::new(ROWS, m, n).sliced(k);
        let block = tiling.block();
        let split = Split::from(tiling);
        let mut partials = self.alloc::<T>(split.partials(block[0]))?;
        self.kernel::<T>(FILE, name)?
            .cost(geometry.cost::<T>() + split.cost::<T>(block[0]))
            .value(*geometry)
            .value(split)
            .input(a)
            .input(b)
            .optional(bias)
            .output(Self::view_mut(&mut partials))
            .counters(split.counters())
            .gradient(c)
            .launch([split.blocks(), 1, 1], block)
    }

    fn batched_matmul(
        &self,
        geometry: &BatchedGeometry,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        c: Output<'_, Self, T>,
    ) -> Result<()> {
        let &BatchedGeometry { product, batches, terms, .. } = geometry;
        let MatmulGeometry { m, n, k, transpose_a, transpose_b } = product;
        // Gradients ask for one transposed operand, and nothing for two.
        let name = match (transpose_a == 1, transpose_b == 1) {
            (false, false) => "batched_matmul_nn",
            (false, true) => "batched_matmul_nt",
            (true, _) => "batched_matmul_tn",
        };
        let tiling = Tiling::new(ROWS, m, n).sliced_of(batches, k * terms);
        let block = tiling.block();
        let split = Split::from(tiling);
        let mut partials = self.alloc::<T>(split.partials(block[0]) * batches as usize)?;
        self.kernel::<T>("batched_matmul", name)?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .value(split)
            .input(a)
            .input(b)
            .output(Self::view_mut(&mut partials))
            .counters(split.counters() * batches)
            .gradient(c)
            .launch([split.blocks() * batches, 1, 1], block)
    }
}
