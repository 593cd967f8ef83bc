use super::{BackgroundKernels, cost};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut};
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
        geometry.launch(self, "background", cost::<T>(output.len()), step, input, output)
    }
}
