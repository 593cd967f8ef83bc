use super::AdagradKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::dtype::Float;
use crate::ops::Update;

impl<T: Float> AdagradKernels<T> for Cuda {
    fn adagrad(
        &self,
        update: Update<'_, Self>,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        sums: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let Update { tiles, groups, steps, parameters: of, count, elements } = update;
        self.kernel::<T>("adagrad", "adagrad")?
            .cost(super::cost::<T>(elements))
            .input(tiles)
            .input(groups)
            .output(steps)
            .value(of.start)
            .value(of.end)
            .counters(1)
            .output(parameters)
            .input(gradients)
            .output(sums)
            .launch([count as u32, 1, 1], [THREADS, 1, 1])
    }
}
