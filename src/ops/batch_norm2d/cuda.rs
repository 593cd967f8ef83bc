use super::{
    Affine, BatchNorm2dGradients, BatchNorm2dKernels, Running, backward_input_cost,
    backward_sums_cost, normalize_cost, statistics_cost,
};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, grid, pack_grid};
use crate::device::{Cost, Cuda, Memory};
use crate::dtype::Float;
use crate::ops::sum::ChannelGeometry;
use crate::ops::sum::cuda::{Chunks, warp_grid};

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
        let channels = geometry.channels;
        let chunks = Chunks::of_channel(geometry);
        let mut partials = self.alloc::<f64>(chunks.partials(geometry, 3))?;
        let momentum = running.as_ref().map_or(T::zero(), |running| running.momentum);
        let (running_mean, running_var) = running.map(|r| (r.mean, r.var)).unzip();
        let (mean, later_mean) = chunks.split(Some(mean));
        let (invstd, later_invstd) = chunks.split(Some(invstd));
        let (running_mean, later_running_mean) = chunks.split(running_mean);
        let (running_var, later_running_var) = chunks.split(running_var);
        self.kernel::<T>(FILE, "batch_norm2d_statistics")?
            .cost(statistics_cost::<T>(geometry).moving::<f64>(chunks.partials(geometry, 3) as u64))
            .value(*geometry)
            .value(chunks.count)
            .value(chunks.units)
            .value(eps)
            .value(momentum)
            .input(input)
            .output(Self::view_mut(&mut partials))
            .optional_output(mean)
            .optional_output(invstd)
            .optional_output(running_mean)
            .optional_output(running_var)
            .launch([channels * chunks.count, 1, 1], [THREADS, 1, 1])?;
        if chunks.count == 1 {
            return Ok(());
        }
        self.kernel::<T>(FILE, "batch_norm2d_statistics_reduce")?
            .cost(chunks.reduce_cost(geometry, 3))
            .value(channels)
            .value(chunks.count)
            .value(eps)
            .value(momentum)
            .input(Self::view(&partials))
            .optional_output(later_mean)
            .optional_output(later_invstd)
            .optional_output(later_running_mean)
            .optional_output(later_running_var)
            .launch(warp_grid(channels), [THREADS, 1, 1])
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
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        self.kernel::<T>(FILE, "batch_norm2d_normalize")?
            .cost(normalize_cost::<T>(geometry))
            .value(*geometry)
            .input(input)
            .input(mean)
            .input(invstd)
            .optional(affine.weight)
            .optional(affine.bias)
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
        grad_output: CudaView<'_, T>,
        gradients: BatchNorm2dGradients<'_, Self, T>,
    ) -> Result<()> {
        let channels = geometry.channels;
        let chunks = Chunks::of_channel(geometry);
        let mut partials = self.alloc::<f64>(chunks.partials(geometry, 2))?;
        let mut sums = self.alloc::<T>(2 * channels as usize)?;
        let (grad_weight, later_grad_weight) = chunks.split(gradients.weight);
        let (grad_bias, later_grad_bias) = chunks.split(gradients.bias);
        self.kernel::<T>(FILE, "batch_norm2d_backward_sums")?
            .cost(
                backward_sums_cost::<T>(geometry)
                    .moving::<f64>(chunks.partials(geometry, 2) as u64),
            )
            .value(*geometry)
            .value(chunks.count)
            .value(chunks.units)
            .input(input)
            .input(mean)
            .input(invstd)
            .input(grad_output)
            .output(Self::view_mut(&mut partials))
            .output(Self::view_mut(&mut sums))
            .optional_gradient(grad_weight)
            .optional_gradient(grad_bias)
            .launch([channels * chunks.count, 1, 1], [THREADS, 1, 1])?;
        if chunks.count != 1 {
            self.kernel::<T>(FILE, "batch_norm2d_backward_reduce")?
                .cost(chunks.reduce_cost(geometry, 2))
                .value(channels)
                .value(chunks.count)
                .input(invstd)
                .input(Self::view(&partials))
                .output(Self::view_mut(&mut sums))
                .optional_gradient(later_grad_weight)
                .optional_gradient(later_grad_bias)
                .launch(warp_grid(channels), [THREADS, 1, 1])?;
        }
        let Some(grad_input) = gradients.input else { return Ok(()) };
        self.kernel::<T>(FILE, "batch_norm2d_backward_input")?
            .cost(backward_input_cost::<T>(geometry))
            .value(*geometry)
            .value(i32::from(batch_statistics))
            .input(input)
            .input(mean)
            .input(invstd)
            .optional(weight)
            .input(grad_output)
            .input(Self::view(&sums))
            .gradient(grad_input)
            .launch(pack_grid::<T>(geometry.numel()), [THREADS, 1, 1])
    }
}
