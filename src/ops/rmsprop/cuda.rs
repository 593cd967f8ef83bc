use super::RmspropKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::dtype::Float;
use crate::ops::Update;

impl<T: Float> RmspropKernels<T> for Cuda {
    fn rmsprop(
        &self,
        update: Update<'_, Self>,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        square_avg: CudaViewMut<'_, T>,
        grad_avg: Option<CudaViewMut<'_, T>>,
        velocity: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let Update { tiles, groups, steps, parameters: of, count, elements } = update;
        let more = u64::from(grad_avg.is_some()) + u64::from(velocity.is_some());
        self.kernel::<T>("rmsprop", "rmsprop")?
            .cost(super::cost::<T>(elements, more))
            .input(tiles)
            .input(groups)
            .output(steps)
            .value(of.start)
            .value(of.end)
            .counters(1)
            .output(parameters)
            .input(gradients)
            .output(square_avg)
            .optional_output(grad_avg)
            .optional_output(velocity)
            .launch([count as u32, 1, 1], [THREADS, 1, 1])
    }
}
