use super::{
    Affine, BatchNorm2dGradients, BatchNorm2dKernels, Running, backward_input_cost,
    backward_sums_cost, normalize_cost, statistics_cost,
};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid, pack_grid};
use crate::device::{Backend, Cost, Cuda};
use crate::dtype::Float;
use crate::ops::sum::ChannelGeometry;
use crate::ops::sum::cuda::Chunks;

const FILE: &str = "batch_norm2d";

impl<T: Float> BatchNorm2dKernels<T> for Cuda {
    fn batch_norm2d_statistics(
        &self,
        geometry: &ChannelGeometry,
        eps: T,
        input: CudaView<'_, T>,
        mean: CudaViewMut<'_, T>,
        invstd: CudaViewMut<'_, T>,
        running: Option<Running<'_, Self, T>>,
    ) -> Result<()> {
        let geometry = geometry.summed();
        let chunks = Chunks::of_channels(&geometry);
        let mut partials = self.alloc::<f64>(chunks.partials(geometry.channels, 3))?;
        let momentum = running.as_ref().map_or(T::zero(), |running| running.momentum);
        let (running_mean, running_var) = running.map(|r| (r.mean, r.var)).unzip();
        self.kernel::<T>(FILE, "batch_norm2d_statistics")?
            .cost(statistics_cost::<T>(&geometry) + chunks.cost(geometry.channels, 3))
            .value(geometry)
            .value(chunks.count)
            .value(chunks.units)
            .value(eps)
            .value(momentum)
            .input(input)
            .output(Self::view_mut(&mut partials))
            .counters(chunks.counters())
            .output(mean)
            .output(invstd)
            .optional_output(running_mean)
            .optional_output(running_var)
            .launch(chunks.grid(), [THREADS, 1, 1])
    }

    fn batch_norm2d_invstd(
        &self,
        eps: T,
        var: CudaView<'_, T>,
        invstd: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let channels = var.len();
        self.kernel::<T>(FILE, "batch_norm2d_invstd")?
            .cost(Cost::elementwise::<T>(channels, 2, 3))
            .value(channels as u32)
            .value(eps)
            .input(var)
            .output(invstd)
            .launch(grid(channels), [THREADS, 1, 1])
    }

    fn batch_norm2d_normalize(
        &self,
        geometry: &ChannelGeometry,
        input: CudaView<'_, T>,
        mean: CudaView<'_, T>,
        invstd: CudaView<'_, T>,
        affine: Affine<'_, Self, T>,
        residual: Option<CudaView<'_, T>>,
        relu: bool,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        self.kernel::<T>(FILE, "batch_norm2d_normalize")?
            .cost(normalize_cost::<T>(geometry, residual.is_some()))
            .value(*geometry)
            .value(i32::from(relu))
            .input(input)
            .input(mean)
            .input(invstd)
            .optional(affine.weight)
            .optional(affine.bias)
            .optional(residual)
            .output(output)
            .launch(pack_grid::<T>(geometry.numel()), [THREADS, 1, 1])
    }

    fn batch_norm2d_backward(
        &self,
        geometry: &ChannelGeometry,
        batch_statistics: bool,
        input: CudaView<'_, T>,
        mean: CudaView<'_, T>,
        invstd: CudaView<'_, T>,
        weight: Option<CudaView<'_, T>>,
        output: Option<CudaView<'_, T>>,
        grad_output: CudaView<'_, T>,
        gradients: BatchNorm2dGradients<'_, Self, T>,
    ) -> Result<()> {
        let geometry = geometry.summed();
        let chunks = Chunks::of_channels(&geometry);
        let mut partials = self.alloc::<f64>(chunks.partials(geometry.channels, 2))?;
        let mut sums = self.alloc::<T>(2 * geometry.channels as usize)?;
        self.kernel::<T>(FILE, "batch_norm2d_backward_sums")?
            .cost(
                backward_sums_cost::<T>(&geometry, output.is_some())
                    + chunks.cost(geometry.channels, 2),
            )
            .value(geometry)
            .value(chunks.count)
            .value(chunks.units)
            .input(input)
            .input(mean)
            .input(invstd)
            .optional(output)
            .input(grad_output)
            .output(Self::view_mut(&mut partials))
            .counters(chunks.counters())
            .output(Self::view_mut(&mut sums))
            .optional_gradient(gradients.weight)
            .optional_gradient(gradients.bias)
            .launch(chunks.grid(), [THREADS, 1, 1])?;
        let (grad_input, grad_residual) = (gradients.input, gradients.residual);
        if grad_input.is_none() && grad_residual.is_none() {
            return Ok(());
        }
        let wanted = [grad_input.is_some(), grad_residual.is_some()];
        self.kernel::<T>(FILE, "batch_norm2d_backward_input")?
            .cost(backward_input_cost::<T>(&geometry, output.is_some(), wanted))
            .value(geometry)
            .value(i32::from(batch_statistics))
            .input(input)
            .input(mean)
            .input(invstd)
            .optional(weight)
            .optional(output)
            .input(grad_output)
            .input(Self::view(&sums))
            .optional_gradient(grad_input)
            .optional_gradient(grad_residual)
            .launch(pack_grid::<T>(geometry.numel()), [THREADS, 1, 1])
    }
}
