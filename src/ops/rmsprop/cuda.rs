use super::RmspropKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut};
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
        let more = u64::from(grad_avg.is_some()) + u64::from(velocity.is_some());
        let cost = super::cost::<T>(update.elements, more);
        update.launch(
            self,
            "rmsprop",
            cost,
            parameters,
            gradients,
            [Some(square_avg), grad_avg, velocity],
        )
    }
}
