use super::{SgdKernels, SgdStep};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::dtype::Float;

impl<T: Float> SgdKernels<T> for Cuda {
    fn sgd(
        &self,
        step: &SgdStep,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        velocity: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let n = parameters.len();
        self.kernel::<T>("sgd", "sgd")?
            .cost(super::cost::<T>(n, velocity.is_some()))
            .value(*step)
            .value(n as u32)
            .output(parameters)
            .input(gradients)
            .optional_output(velocity)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
