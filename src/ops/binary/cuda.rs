use super::{Binary, BinaryKernels, Broadcast, Comparison, Operand};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Cost, Cuda, Output};
use crate::dtype::Float;

impl<T: Float> BinaryKernels<T> for Cuda {
    fn binary_forward(
        &self,
        function: Binary,
        geometry: &Broadcast,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        y: CudaViewMut<'_, T>,
    ) -> Result<()> {
        self.kernel::<T>("binary", function.kernels()[0])?
            .cost(function.forward_cost::<T>(geometry))
            .value(*geometry)
            .input(a)
            .input(b)
            .output(y)
            .launch(pack_grid::<T>(geometry.n as usize), [THREADS, 1, 1])
    }

    fn binary_backward(
        &self,
        function: Binary,
        by: Operand,
        geometry: &Broadcast,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        grad_y: CudaView<'_, T>,
        grad: Output<'_, Self, T>,
    ) -> Result<()> {
        self.kernel::<T>("binary", function.kernels()[1 + by as usize])?
            .cost(function.backward_cost::<T>(by, geometry, grad.accumulate))
            .value(*geometry)
            .input(a)
            .input(b)
            .input(grad_y)
            .gradient(grad)
            .launch(pack_grid::<T>(geometry.n as usize), [THREADS, 1, 1])
    }

    fn compare(
        &self,
        comparison: Comparison,
        geometry: &Broadcast,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        y: CudaViewMut<'_, u8>,
    ) -> Result<()> {
        self.kernel::<T>("binary", comparison.kernel())?
            .cost(geometry.comparison_cost::<T>())
            .value(*geometry)
            .input(a)
            .input(b)
            .output(y)
            .launch(pack_grid::<T>(geometry.n as usize), [THREADS, 1, 1])
    }

    fn where_forward(
        &self,
        geometry: &Broadcast,
        mask: CudaView<'_, u8>,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        y: CudaViewMut<'_, T>,
    ) -> Result<()> {
        self.kernel::<T>("binary", "where_forward")?
            .cost(geometry.where_cost::<T>())
            .value(*geometry)
            .input(mask)
            .input(a)
            .input(b)
            .output(y)
            .launch(pack_grid::<T>(geometry.n as usize), [THREADS, 1, 1])
    }

    fn where_backward(
        &self,
        by: Operand,
        geometry: &Broadcast,
        mask: CudaView<'_, u8>,
        grad_y: CudaView<'_, T>,
        grad: Output<'_, Self, T>,
    ) -> Result<()> {
        self.kernel::<T>("binary", "where_backward")?
            .cost(geometry.where_cost::<T>())
            .value(*geometry)
            .value(u32::from(by == Operand::A))
            .input(mask)
            .input(grad_y)
            .gradient(grad)
            .launch(pack_grid::<T>(geometry.n as usize), [THREADS, 1, 1])
    }

    fn accumulate(&self, x: CudaView<'_, T>, y: Output<'_, Self, T>) -> Result<()> {
        let n = x.len();
        self.kernel::<T>("binary", "accumulate")?
            .cost(Cost::elementwise::<T>(n, 2 + u64::from(y.accumulate), 0))
            .value(n as u32)
            .input(x)
            .gradient(y)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
