use super::{ElementwiseLossKernels, LossGeometry, LossInputs};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Cuda, Output};
use crate::dtype::Float;

const FILE: &str = "elementwise_loss";

impl<T: Float> ElementwiseLossKernels<T> for Cuda {
    fn elementwise_loss_forward(
        &self,
        geometry: &LossGeometry,
        inputs: LossInputs<'_, Self, T>,
        losses: CudaViewMut<'_, T>,
    ) -> Result<()> {
        self.kernel::<T>(FILE, "elementwise_loss_forward")?
            .cost(geometry.cost::<T>(1))
            .value(*geometry)
            .input(inputs.input)
            .input(inputs.target)
            .optional(inputs.weight)
            .optional(inputs.pos_weight)
            .output(losses)
            .launch(pack_grid::<T>(geometry.n as usize), [THREADS, 1, 1])
    }

    fn elementwise_loss_backward(
        &self,
        geometry: &LossGeometry,
        scale: T,
        inputs: LossInputs<'_, Self, T>,
        one_gradient: bool,
        gradient: CudaView<'_, T>,
        grad_input: Option<Output<'_, Self, T>>,
        grad_target: Option<Output<'_, Self, T>>,
    ) -> Result<()> {
        let writes = usize::from(grad_input.is_some()) + usize::from(grad_target.is_some());
        self.kernel::<T>(FILE, "elementwise_loss_backward")?
            .cost(geometry.cost::<T>(writes))
            .value(*geometry)
            .value(u32::from(one_gradient))
            .value(scale)
            .input(inputs.input)
            .input(inputs.target)
            .optional(inputs.weight)
            .optional(inputs.pos_weight)
            .input(gradient)
            .optional_gradient(grad_input)
            .optional_gradient(grad_target)
            .launch(pack_grid::<T>(geometry.n as usize), [THREADS, 1, 1])
    }
}
