use super::RecordKernels;
use crate::Result;
use crate::device::Cuda;
use crate::device::cuda::{CudaView, CudaViewMut};
use crate::dtype::Float;

impl<T: Float> RecordKernels<T> for Cuda {
    fn record(
        &self,
        loss: CudaView<'_, T>,
        correct: CudaView<'_, i32>,
        records: CudaViewMut<'_, T>,
        clock: CudaViewMut<'_, u64>,
    ) -> Result<()> {
        self.kernel::<T>("record", "record")?
            .cost(super::cost::<T>())
            .value((records.len() / 2) as u32)
            .input(loss)
            .input(correct)
            .output(records)
            .output(clock)
            .launch([1, 1, 1], [1, 1, 1])
    }
}
