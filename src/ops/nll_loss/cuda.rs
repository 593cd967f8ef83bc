use super::{NllGeometry, NllInputs, NllLossKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid};
use crate::device::{Cost, Cuda, Output};
use crate::dtype::Float;
use crate::ops::softmax::cuda::WARPS;

const FILE: &str = "nll_loss";

impl<T: Float> NllLossKernels<T> for Cuda {
    fn nll_forward(
        &self,
        geometry: &NllGeometry,
        inputs: NllInputs<'_, Self, T>,
        losses: CudaViewMut<'_, T>,
        weights: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let NllInputs { log_p, target, probabilities, weight } = inputs;
        let reads_all = probabilities.is_some() || geometry.label_smoothing > 0.0;
        let positions = geometry.positions();
        // A warp shares what lies side by side.
        let (name, grid) = if geometry.inner == 1 && reads_all {
            ("nll_forward_warps", [(positions as u32).div_ceil(WARPS), 1, 1])
        } else {
            ("nll_forward_threads", grid(positions))
        };
        self.kernel::<T>(FILE, name)?
            .cost(geometry.forward_cost::<T>(reads_all))
            .value(*geometry)
            .input(log_p)
            .optional(target)
            .optional(probabilities)
            .optional(weight)
            .output(losses)
            .output(weights)
            .launch(grid, [THREADS, 1, 1])
    }

    fn nll_mean(
        &self,
        sum: CudaView<'_, T>,
        divisor: CudaView<'_, T>,
        loss: CudaViewMut<'_, T>,
    ) -> Result<()> {
        self.kernel::<T>(FILE, "nll_mean")?
            .cost(Cost::elementwise::<T>(1, 3, 1))
            .input(sum)
            .input(divisor)
            .output(loss)
            .launch([1, 1, 1], [1, 1, 1])
    }

    fn nll_backward(
        &self,
        geometry: &NllGeometry,
        inputs: NllInputs<'_, Self, T>,
        divisor: Option<CudaView<'_, T>>,
        one_gradient: bool,
        gradient: CudaView<'_, T>,
        grad_log_p: Option<Output<'_, Self, T>>,
        grad_probabilities: Option<Output<'_, Self, T>>,
    ) -> Result<()> {
        let NllInputs { log_p, target, probabilities, weight } = inputs;
        let moved =
            usize::from(grad_log_p.is_some()) + 2 * usize::from(grad_probabilities.is_some());
        self.kernel::<T>(FILE, "nll_backward")?
            .cost(geometry.backward_cost::<T>(moved))
            .value(*geometry)
            .value(u32::from(one_gradient))
            .input(log_p)
            .optional(target)
            .optional(probabilities)
            .optional(weight)
            .optional(divisor)
            .input(gradient)
            .optional_gradient(grad_log_p)
            .optional_gradient(grad_probabilities)
            .launch(grid(geometry.numel()), [THREADS, 1, 1])
    }
}
