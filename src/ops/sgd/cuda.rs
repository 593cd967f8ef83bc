use super::SgdKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::dtype::Float;
use crate::ops::Update;

impl<T: Float> SgdKernels<T> for Cuda {
    fn sgd(
        &self,
        update: Update<'_, Self>,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        velocity: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let Update { tiles, groups, steps, parameters: of, count, elements } = update;
        self.kernel::<T>("sgd", "sgd")?
            .cost(super::cost::<T>(elements, velocity.is_some()))
            .input(tiles)
            .input(groups)
            .output(steps)
            .value(of.start)
            .value(of.end)
            .counters(1)
            .output(parameters)
            .input(gradients)
            .optional_output(velocity)
            .launch([count as u32, 1, 1], [THREADS, 1, 1])
    }
}
