use super::ReluKernels;
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Cost, Cuda, Output};
use crate::dtype::Float;

impl<T: Float> ReluKernels<T> for Cuda {
    fn relu_forward(&self, x: CudaView<'_, T>, y: CudaViewMut<'_, T>) -> Result<()> {
        let n = x.len();
        self.kernel::<T>("relu", "relu_forward")?
            .cost(Cost::elementwise::<T>(n, 2, 1))
            .value(n as u32)
            .input(x)
            .output(y)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }

    fn relu_backward(
        &self,
        y: CudaView<'_, T>,
        grad_y: CudaView<'_, T>,
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let n = y.len();
        self.kernel::<T>("relu", "relu_backward")?
            .cost(Cost::elementwise::<T>(n, 3, 1))
            .value(n as u32)
            .input(y)
            .input(grad_y)
            .gradient(grad_x)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
