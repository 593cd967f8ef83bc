use super::{GatherGeometry, GatherKernels};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid};
use crate::dtype::Float;

/// Bytes that one thread scales, as in `gather.cu`.
const GATHER_BYTES: usize = 4;

impl<T: Float> GatherKernels<T> for Cuda {
    fn gather(
        &self,
        geometry: &GatherGeometry,
        pixels: CudaView<'_, u8>,
        labels: CudaView<'_, i32>,
        order: CudaView<'_, u32>,
        batch: Option<CudaView<'_, u64>>,
        images: CudaViewMut<'_, T>,
        targets: CudaViewMut<'_, i32>,
    ) -> Result<()> {
        let threads_per_row = (geometry.width as usize).div_ceil(GATHER_BYTES).max(1);
        self.kernel::<T>("gather", "gather")?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(pixels)
            .input(labels)
            .input(order)
            .optional(batch)
            .output(images)
            .output(targets)
            .launch(grid(geometry.rows as usize * threads_per_row), [THREADS, 1, 1])
    }
}
