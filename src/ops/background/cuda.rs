use super::{BackgroundKernels, cost};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::dtype::Float;
use crate::ops::SomeImages;

impl<T: Float> BackgroundKernels<T> for Cuda {
    fn background(
        &self,
        geometry: &SomeImages,
        step: CudaView<'_, u64>,
        input: CudaView<'_, T>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let images = output.len().checked_div(geometry.numel()).unwrap_or(0) as u32;
        self.kernel::<T>("background", "background")?
            .cost(cost::<T>(output.len()))
            .value(*geometry)
            .input(step)
            .input(input)
            .output(output)
            .launch([images, 1, 1], [THREADS, 1, 1])
    }
}
