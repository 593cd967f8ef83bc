use super::{SgdKernels, SgdStep};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::dtype::Float;
use crate::ops::UpdateState;

impl<T: Float> SgdKernels<T> for Cuda {
    fn sgd(
        &self,
        step: &SgdStep,
        state: UpdateState<'_, Self>,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        velocity: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let n = parameters.len();
        self.kernel::<T>("sgd", "sgd")?
            .cost(super::cost::<T>(n, velocity.is_some()))
            .value(*step)
            .value(n as u32)
            .input(state.lr)
            .output(state.steps)
            .value(i32::from(state.is_last))
            .counters(1)
            .output(parameters)
            .input(gradients)
            .optional_output(velocity)
            // One block at least, which counts the step.
            .launch(pack_grid::<T>(n.max(1)), [THREADS, 1, 1])
    }
}
