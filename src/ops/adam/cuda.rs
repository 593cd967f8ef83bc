use super::AdamKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::dtype::Float;
use crate::ops::Update;

impl<T: Float> AdamKernels<T> for Cuda {
    fn adam(
        &self,
        update: Update<'_, Self>,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        exp_avg: CudaViewMut<'_, T>,
        exp_avg_sq: CudaViewMut<'_, T>,
        max_exp_avg_sq: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let Update { tiles, groups, steps, parameters: of, count, elements } = update;
        self.kernel::<T>("adam", "adam")?
            .cost(super::cost::<T>(elements, max_exp_avg_sq.is_some()))
            .input(tiles)
            .input(groups)
            .output(steps)
            .value(of.start)
            .value(of.end)
            .counters(1)
            .output(parameters)
            .input(gradients)
            .output(exp_avg)
            .output(exp_avg_sq)
            .optional_output(max_exp_avg_sq)
            .launch([count as u32, 1, 1], [THREADS, 1, 1])
    }
}
