use super::{DropoutGeometry, DropoutKernels};
use crate::Result;
use crate::device::cuda::{CudaView, THREADS, grid};
use crate::device::{Cost, Cuda, Output};
use crate::dtype::Float;

impl<T: Float> DropoutKernels<T> for Cuda {
    fn dropout(
        &self,
        geometry: &DropoutGeometry,
        step: CudaView<'_, u64>,
        x: CudaView<'_, T>,
        y: Output<'_, Self, T>,
    ) -> Result<()> {
        let n = x.len();
        self.kernel::<T>("dropout", "dropout")?
            .cost(Cost::elementwise::<T>(n, 2, 1))
            .value(*geometry)
            .value(n as u32)
            .input(step)
            .input(x)
            .gradient(y)
            // A thread for each block of four random words.
            .launch(grid(n.div_ceil(4)), [THREADS, 1, 1])
    }
}
