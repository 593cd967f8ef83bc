use super::AdagradKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut};
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
        let cost = super::cost::<T>(update.elements);
        update.launch(self, "adagrad", cost, parameters, gradients, [Some(sums)])
    }
}
