use super::{MaxPool2dGeometry, MaxPool2dKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid};
use crate::device::{Cuda, Output};
use crate::dtype::Float;

impl<T: Float> MaxPool2dKernels<T> for Cuda {
    fn max_pool2d_forward(
        &self,
        geometry: &MaxPool2dGeometry,
        input: CudaView<'_, T>,
        output: CudaViewMut<'_, T>,
        argmax: CudaViewMut<'_, i32>,
    ) -> Result<()> {
        // No element, no maximum: windows may lie in the padding alone.
        let n = if input.is_empty() { 0 } else { output.len() };
        self.kernel::<T>("max_pool2d", "max_pool2d_forward")?
            .cost(geometry.forward_cost::<T>())
            .value(*geometry)
            .input(input)
            .output(output)
            .output(argmax)
            .launch(grid(n), [THREADS, 1, 1])
    }

    fn max_pool2d_backward(
        &self,
        geometry: &MaxPool2dGeometry,
        argmax: CudaView<'_, i32>,
        grad_output: CudaView<'_, T>,
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        let n = grad_input.view.len();
        self.kernel::<T>("max_pool2d", "max_pool2d_backward")?
            .cost(geometry.backward_cost::<T>())
            .value(*geometry)
            .input(argmax)
            .input(grad_output)
            .gradient(grad_input)
            .launch(grid(n), [THREADS, 1, 1])
    }
}
