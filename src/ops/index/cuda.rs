use super::{IndexGeometry, IndexKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid, pack_grid};
use crate::device::{Cuda, Output};
use crate::dtype::Float;

/// Elements of a row that a warp of `index_add_rows` owns.
const WARP_COLUMNS: usize = 128;

impl<T: Float> IndexKernels<T> for Cuda {
    fn index_pick(
        &self,
        geometry: &IndexGeometry,
        x: CudaView<'_, T>,
        index: CudaView<'_, i32>,
        y: CudaViewMut<'_, T>,
    ) -> Result<()> {
        self.kernel::<T>("index", "index_pick")?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(x)
            .input(index)
            .output(y)
            .launch(pack_grid::<T>(geometry.picked()), [THREADS, 1, 1])
    }

    fn index_add(
        &self,
        geometry: &IndexGeometry,
        index: CudaView<'_, i32>,
        skipped: Option<usize>,
        grad_y: CudaView<'_, T>,
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let cost = geometry.cost_of_add::<T>(grad_x.accumulate);
        if geometry.by_row == 0 {
            return self
                .kernel::<T>("index", "index_add")?
                .cost(cost)
                .value(*geometry)
                .input(index)
                .input(grad_y)
                .gradient(grad_x)
                .launch(grid(geometry.numel()), [THREADS, 1, 1]);
        }
        let rows = geometry.outer as usize * geometry.size as usize;
        let warps = rows * (geometry.inner as usize).div_ceil(WARP_COLUMNS);
        // No row has a negative number.
        let skipped = skipped.map_or(-1, |skipped| skipped as i32);
        self.kernel::<T>("index", "index_add_rows")?
            .cost(cost)
            .value(*geometry)
            .value(skipped)
            .input(index)
            .input(grad_y)
            .gradient(grad_x)
            .launch(grid(32 * warps), [THREADS, 1, 1])
    }
}
