use super::{AugmentGeometry, AugmentKernels};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::dtype::Float;

impl<T: Float> AugmentKernels<T> for Cuda {
    fn augment(
        &self,
        geometry: &AugmentGeometry,
        step: CudaView<'_, u64>,
        input: CudaView<'_, T>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let images = if output.is_empty() { 0 } else { geometry.batch };
        self.kernel::<T>("augment", "augment")?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(step)
            .input(input)
            .output(output)
            .launch([images, 1, 1], [THREADS, 1, 1])
    }
}
