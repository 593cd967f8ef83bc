use super::MulKernels;
use crate::Result;
use crate::device::cuda::{CudaView, THREADS, pack_grid};
use crate::device::{Cost, Cuda, Output};
use crate::dtype::Float;

impl<T: Float> MulKernels<T> for Cuda {
    fn mul(&self, a: CudaView<'_, T>, b: CudaView<'_, T>, y: Output<'_, Self, T>) -> Result<()> {
        let n = a.len();
        self.kernel::<T>("mul", "mul")?
            .cost(Cost::elementwise::<T>(n, 2, 1).moving::<T>(b.len() as u64))
            .value(n as u32)
            .value(b.len() as u32)
            .input(a)
            .input(b)
            .gradient(y)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
