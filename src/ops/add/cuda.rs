use super::AddKernels;
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Cost, Cuda, Output};
use crate::dtype::Float;

impl<T: Float> AddKernels<T> for Cuda {
    fn add(&self, a: CudaView<'_, T>, b: CudaView<'_, T>, y: CudaViewMut<'_, T>) -> Result<()> {
        let n = a.len();
        self.kernel::<T>("add", "add")?
            .cost(Cost::elementwise::<T>(n, 2, 1).moving::<T>(b.len() as u64))
            .value(n as u32)
            .value(b.len() as u32)
            .input(a)
            .input(b)
            .output(y)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }

    fn accumulate(&self, x: CudaView<'_, T>, y: Output<'_, Self, T>) -> Result<()> {
        let n = x.len();
        self.kernel::<T>("add", "accumulate")?
            .cost(Cost::elementwise::<T>(n, 2 + u64::from(y.accumulate), 0))
            .value(n as u32)
            .input(x)
            .gradient(y)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
