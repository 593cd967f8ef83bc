use super::{AdamKernels, AdamStep};
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::dtype::Float;
use crate::ops::UpdateState;

impl<T: Float> AdamKernels<T> for Cuda {
    fn adam(
        &self,
        step: &AdamStep,
        state: UpdateState<'_, Self>,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        exp_avg: CudaViewMut<'_, T>,
        exp_avg_sq: CudaViewMut<'_, T>,
        max_exp_avg_sq: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let n = parameters.len();
        self.kernel::<T>("adam", "adam")?
            .cost(super::cost::<T>(n, max_exp_avg_sq.is_some()))
            .value(*step)
            .value(n as u32)
            .input(state.lr)
            .output(state.steps)
            .value(i32::from(state.is_last))
            .counters(1)
            .output(parameters)
            .input(gradients)
            .output(exp_avg)
            .output(exp_avg_sq)
            .optional_output(max_exp_avg_sq)
            // One block at least, which counts the step.
            .launch(pack_grid::<T>(n.max(1)), [THREADS, 1, 1])
    }
}
