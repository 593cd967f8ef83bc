use super::{LinearCrossEntropyGeometry, LinearCrossEntropyKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::device::{Backend, Cuda};
use crate::dtype::Float;
use crate::ops::cross_entropy::cuda::LOSS;
use crate::ops::linear::LinearGradients;
use crate::ops::linear::cuda::backward;

const FILE: &str = "linear_cross_entropy";

/// The most blocks, each of which takes a row at a time.
const MAX_BLOCKS: u32 = 1024;

impl<T: Float> LinearCrossEntropyKernels<T> for Cuda {
    fn linear_cross_entropy_forward(
        &self,
        geometry: &LinearCrossEntropyGeometry,
        input: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        bias: Option<CudaView<'_, T>>,
        target: CudaView<'_, i32>,
        loss: CudaViewMut<'_, T>,
        grad_logits: CudaViewMut<'_, T>,
        correct: CudaViewMut<'_, i32>,
    ) -> Result<()> {
        // One block at least: the loss of no rows is written too.
        let blocks = geometry.loss.batch.clamp(1, MAX_BLOCKS);
        let mut partials = self.alloc::<f64>(LOSS * blocks as usize)?;
        self.kernel::<T>(FILE, "linear_cross_entropy_forward")?
            .cost(geometry.linear().cost::<T>() + geometry.loss.cost::<T>())
            .value(*geometry)
            .input(input)
            .input(weight)
            .optional(bias)
            .input(target)
            .output(Self::view_mut(&mut partials))
            .counters(1)
            .output(loss)
            .output(grad_logits)
            .output(correct)
            .launch([blocks, 1, 1], [THREADS, 1, 1])
    }

    fn linear_cross_entropy_backward(
        &self,
        geometry: &LinearCrossEntropyGeometry,
        input: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        grad_logits: CudaView<'_, T>,
        gradient: CudaView<'_, T>,
        gradients: LinearGradients<'_, Self, T>,
    ) -> Result<()> {
        let linear = geometry.linear();
        let launch = self.kernel::<T>(FILE, "linear_cross_entropy_backward")?.value(linear);
        let launch = launch.input(input).input(weight).input(grad_logits).input(gradient);
        backward(self, launch, &linear, gradients)
    }
}
