use super::{CrossEntropyRowsKernels, RowsGeometry};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid};
use crate::dtype::Float;

/// Threads that share a row, as in `cross_entropy_rows.cu`.
const LANES: usize = 32;

impl<T: Float> CrossEntropyRowsKernels<T> for Cuda {
    fn cross_entropy_rows(
        &self,
        geometry: &RowsGeometry,
        logits: CudaView<'_, T>,
        target: CudaView<'_, i32>,
        losses: CudaViewMut<'_, T>,
        predicted: CudaViewMut<'_, i32>,
    ) -> Result<()> {
        self.kernel::<T>("cross_entropy_rows", "cross_entropy_rows")?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(logits)
            .input(target)
            .output(losses)
            .output(predicted)
            .launch(grid(geometry.rows as usize * LANES), [THREADS, 1, 1])
    }
}
