use super::{CopyGeometry, CopyKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid, pack_grid};
use crate::device::{Cost, Cuda, Output};
use crate::dtype::Float;

impl<T: Float> CopyKernels<T> for Cuda {
    fn copy_strided(
        &self,
        geometry: &CopyGeometry,
        from: CudaView<'_, T>,
        to: Output<'_, Self, T>,
    ) -> Result<()> {
        let inner = geometry.inner();
        let rows = geometry.numel().checked_div(inner).unwrap_or(0);
        let packs = inner.div_ceil(16 / size_of::<T>());
        self.kernel::<T>("copy", "copy_strided")?
            .cost(geometry.cost::<T>(to.accumulate))
            .value(*geometry)
            .value(rows as u32)
            .input(from)
            .gradient(to)
            .launch(grid(rows * packs), [THREADS, 1, 1])
    }

    fn fill(&self, value: T, to: CudaViewMut<'_, T>) -> Result<()> {
        let n = to.len();
        self.kernel::<T>("copy", "fill")?
            .cost(Cost::elementwise::<T>(n, 1, 0))
            .value(n as u32)
            .value(value)
            .output(to)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
