use super::LerpKernels;
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Cost, Cuda};
use crate::dtype::Float;

impl<T: Float> LerpKernels<T> for Cuda {
    fn lerp(&self, weight: T, end: CudaView<'_, T>, x: CudaViewMut<'_, T>) -> Result<()> {
        let n = x.len();
        self.kernel::<T>("lerp", "lerp")?
            .cost(Cost::elementwise::<T>(n, 3, 3))
            .value(n as u32)
            .value(weight)
            .input(end)
            .output(x)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
