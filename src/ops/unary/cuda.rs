use super::{Unary, UnaryKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Cuda, Output};
use crate::dtype::Float;

impl<T: Float> UnaryKernels<T> for Cuda {
    fn unary_forward(
        &self,
        function: Unary,
        [a, b]: [T; 2],
        x: CudaView<'_, T>,
        y: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let ([name, _], n) = (function.kernels(), x.len());
        self.kernel::<T>("unary", name)?
            .cost(function.forward_cost::<T>(n))
            .value(n as u32)
            .value(a)
            .value(b)
            .input(x)
            .output(y)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }

    fn unary_backward(
        &self,
        function: Unary,
        [a, b]: [T; 2],
        saved: CudaView<'_, T>,
        grad_y: CudaView<'_, T>,
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let ([_, name], n) = (function.kernels(), grad_y.len());
        self.kernel::<T>("unary", name)?
            .cost(function.backward_cost::<T>(n))
            .value(n as u32)
            .value(a)
            .value(b)
            .input(saved)
            .input(grad_y)
            .gradient(grad_x)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
