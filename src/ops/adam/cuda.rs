use super::AdamKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut};
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
        let cost = super::cost::<T>(update.elements, max_exp_avg_sq.is_some());
        update.launch(
            self,
            "adam",
            cost,
            parameters,
            gradients,
            [Some(exp_avg), Some(exp_avg_sq), max_exp_avg_sq],
        )
    }
}
