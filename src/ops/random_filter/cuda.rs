use super::{RandomFilterKernels, cost};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut};
use crate::dtype::Float;
use crate::ops::SomeImages;

impl<T: Float> RandomFilterKernels<T> for Cuda {
    fn random_filter(
        &self,
        geometry: &SomeImages,
        step: CudaView<'_, u64>,
        input: CudaView<'_, T>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        geometry.launch(self, "random_filter", cost::<T>(output.len()), step, input, output)
    }
}
