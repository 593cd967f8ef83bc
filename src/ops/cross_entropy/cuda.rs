use super::{CrossEntropyGeometry, CrossEntropyKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Backend, Cost, Cuda, Output};
use crate::dtype::Float;

const FILE: &str = "cross_entropy";

/// What a `Loss` of `cross_entropy.cuh` is as long as, in `f64`s.
pub(crate) const LOSS: usize = 2;

/// Rows that one block takes: four to a warp. A training batch is one block, or a few.
const ROWS_PER_BLOCK: u32 = 32;
/// The most blocks, each of which counts all targets for itself.
const MAX_BLOCKS: u32 = 128;

impl<T: Float> CrossEntropyKernels<T> for Cuda {
    fn cross_entropy_forward(
        &self,
        geometry: &CrossEntropyGeometry,
        logits: CudaView<'_, T>,
        target: CudaView<'_, i32>,
        loss: CudaViewMut<'_, T>,
        grad_logits: CudaViewMut<'_, T>,
        correct: CudaViewMut<'_, i32>,
    ) -> Result<()> {
        // One block at least: the loss of no rows is written too.
        let blocks = geometry.batch.div_ceil(ROWS_PER_BLOCK).clamp(1, MAX_BLOCKS);
        let partials = if blocks == 1 { 0 } else { LOSS * blocks as usize };
        let mut partials = self.alloc::<f64>(partials)?;
        self.kernel::<T>(FILE, "cross_entropy_forward")?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(logits)
            .input(target)
            .output(Self::view_mut(&mut partials))
            .counters(1)
            .output(loss)
            .output(grad_logits)
            .output(correct)
            .launch([blocks, 1, 1], [THREADS, 1, 1])
    }

    fn cross_entropy_backward(
        &self,
        saved: CudaView<'_, T>,
        gradient: CudaView<'_, T>,
        grad_logits: Output<'_, Self, T>,
    ) -> Result<()> {
        let n = saved.len();
        self.kernel::<T>(FILE, "cross_entropy_backward")?
            .cost(Cost::elementwise::<T>(n, 2, 1))
            .value(n as u32)
            .input(saved)
            .input(gradient)
            .gradient(grad_logits)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
