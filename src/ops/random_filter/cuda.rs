use super::{RandomFilterGeometry, RandomFilterKernels};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::dtype::Float;

impl<T: Float> RandomFilterKernels<T> for Cuda {
    fn random_filter(
        &self,
        geometry: &RandomFilterGeometry,
        step: CudaView<'_, u64>,
        input: CudaView<'_, T>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let numel = geometry.channels * geometry.height * geometry.width;
        let images = (output.len() as u32).checked_div(numel).unwrap_or(0);
        self.kernel::<T>("random_filter", "random_filter")?
            .cost(RandomFilterGeometry::cost::<T>(output.len()))
            .value(*geometry)
            .input(step)
            .input(input)
            .output(output)
            .launch([images, 1, 1], [THREADS, 1, 1])
    }
}
