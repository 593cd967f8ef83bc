use super::{Extreme, Member, ReduceGeometry, ReduceKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Backend, Cuda, Output};
use crate::dtype::Float;
use crate::ops::sum::cuda::Chunks;

/// Elements of a result that are worth a block of their own: a tile of 16 for each thread.
const CHUNK: u64 = 4096;
/// The same where a block has several neighbouring results.
const COLUMN_CHUNK: u64 = 256;

/// How the work is cut, by the shape alone: `ReducePlan` of `reduce.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
struct ReducePlan {
    lanes: u32,
    by_columns: u32,
    chunks: u32,
    length: u32,
}

impl ReducePlan {
    fn new(g: &ReduceGeometry) -> (Self, Chunks) {
        let length = g.length() as u64;
        // Elements that lie side by side belong to one result, or to as many as a warp has lanes.
        let by_columns = g.r2 < 8 && g.k2 >= 32;
        let lanes = match (by_columns, length) {
            (true, 64..) => 8,
            (true, _) | (false, 0..8) => 1,
            (false, 8..64) => 8,
            (false, 64..4096) => 32,
            (false, _) => THREADS,
        };
        let unit = if by_columns { COLUMN_CHUNK } else { CHUNK };
        let blocks = (g.results() as u32).div_ceil(THREADS / lanes);
        let chunks = Chunks::of(length, unit, blocks);
        let plan = Self {
            lanes,
            by_columns: u32::from(by_columns),
            chunks: chunks.count,
            length: chunks.units * unit as u32,
        };
        (plan, chunks)
    }
}

impl<T: Float> ReduceKernels<T> for Cuda {
    fn reduce_sum(
        &self,
        geometry: &ReduceGeometry,
        member: Member,
        x: CudaView<'_, T>,
        c: Option<CudaView<'_, T>>,
        y: Output<'_, Self, T>,
    ) -> Result<()> {
        let (plan, chunks) = ReducePlan::new(geometry);
        let results = geometry.results() as u32;
        let mut partials = self.alloc::<f64>(chunks.partials(results, 2))?;
        self.kernel::<T>("reduce", member.kernels()[0])?
            .cost(geometry.cost::<T>(member.flops()) + chunks.cost(results, 2))
            .value(*geometry)
            .value(plan)
            .value(T::of(member.parameter()))
            .input(x)
            .optional(c)
            .output(Self::view_mut(&mut partials))
            .counters(chunks.counters())
            .gradient(y)
            .launch(chunks.grid(), [THREADS, 1, 1])
    }

    fn reduce_sum_backward(
        &self,
        geometry: &ReduceGeometry,
        member: Member,
        x: Option<CudaView<'_, T>>,
        c: Option<CudaView<'_, T>>,
        shares: Option<CudaView<'_, T>>,
        grad_y: CudaView<'_, T>,
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let moved = 1 + u64::from(x.is_some()) + u64::from(grad_x.accumulate);
        self.kernel::<T>("reduce", member.kernels()[1])?
            .cost(geometry.backward_cost::<T>(moved, member.flops_backward()))
            .value(*geometry)
            .value(T::of(member.parameter()))
            .optional(x)
            .optional(c)
            .optional(shares)
            .input(grad_y)
            .gradient(grad_x)
            .launch(pack_grid::<T>(geometry.numel()), [THREADS, 1, 1])
    }

    fn reduce_extreme(
        &self,
        geometry: &ReduceGeometry,
        extreme: Extreme,
        x: CudaView<'_, T>,
        values: CudaViewMut<'_, T>,
        indices: CudaViewMut<'_, i32>,
    ) -> Result<()> {
        let (plan, chunks) = ReducePlan::new(geometry);
        let results = geometry.results() as u32;
        let mut partials = self.alloc::<f64>(chunks.partials(results, 2))?;
        self.kernel::<T>("reduce", "reduce_extreme")?
            .cost(geometry.cost::<T>(3) + chunks.cost(results, 2))
            .value(*geometry)
            .value(plan)
            .value(extreme.sign::<T>())
            .value(i32::from(extreme.magnitude))
            .input(x)
            .output(Self::view_mut(&mut partials))
            .counters(chunks.counters())
            .output(values)
            .output(indices)
            .launch(chunks.grid(), [THREADS, 1, 1])
    }

    fn reduce_pick_backward(
        &self,
        geometry: &ReduceGeometry,
        indices: CudaView<'_, i32>,
        grad_y: CudaView<'_, T>,
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        self.kernel::<T>("reduce", "reduce_pick_backward")?
            .cost(geometry.backward_cost::<T>(1 + u64::from(grad_x.accumulate), 0))
            .value(*geometry)
            .input(indices)
            .input(grad_y)
            .gradient(grad_x)
            .launch(pack_grid::<T>(geometry.numel()), [THREADS, 1, 1])
    }
}
