use super::SgdKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut};
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
        let cost = super::cost::<T>(update.elements, velocity.is_some());
        update.launch(self, "sgd", cost, parameters, gradients, [velocity])
    }
}
