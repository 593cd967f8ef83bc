use super::{AvgPool2dGeometry, AvgPool2dKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid};
use crate::device::{Cuda, Output};
use crate::dtype::Float;

impl<T: Float> AvgPool2dKernels<T> for Cuda {
    fn avg_pool2d_forward(
        &self,
        geometry: &AvgPool2dGeometry,
        input: CudaView<'_, T>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let n = output.len();
        self.kernel::<T>("avg_pool2d", "avg_pool2d_forward")?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(input)
            .output(output)
            .launch(grid(n), [THREADS, 1, 1])
    }

    fn avg_pool2d_backward(
        &self,
        geometry: &AvgPool2dGeometry,
        grad_output: CudaView<'_, T>,
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        let n = grad_input.view.len();
        self.kernel::<T>("avg_pool2d", "avg_pool2d_backward")?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(grad_output)
            .gradient(grad_input)
            .launch(grid(n), [THREADS, 1, 1])
    }
}
