use super::{ClipGradKernels, change_cost, power_cost};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS, pack_grid};
use crate::device::{Backend, Cuda, Output};
use crate::dtype::Float;
use crate::ops::sum::ChannelGeometry;
use crate::ops::sum::cuda::Chunks;

const FILE: &str = "clip_grad";

impl<T: Float> ClipGradKernels<T> for Cuda {
    fn grad_power(&self, p: f64, x: CudaView<'_, T>, total: Output<'_, Self, f64>) -> Result<()> {
        let n = x.len();
        let all = ChannelGeometry { outer: 1, channels: 1, inner: n as u32 };
        let chunks = Chunks::of_channels(&all);
        let mut partials = self.alloc::<f64>(chunks.partials(1, 1))?;
        self.kernel::<T>(FILE, "grad_power")?
            .cost(power_cost::<T>(n) + chunks.cost(1, 1))
            .value(n as u32)
            .value(chunks.units)
            .value(p)
            .input(x)
            .output(Self::view_mut(&mut partials))
            .counters(chunks.counters())
            .gradient(total)
            .launch(chunks.grid(), [THREADS, 1, 1])
    }

    fn grad_scale(
        &self,
        p: f64,
        max_norm: f64,
        total: CudaView<'_, f64>,
        x: CudaViewMut<'_, T>,
        norm: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let n = x.len();
        self.kernel::<T>(FILE, "grad_scale")?
            .cost(change_cost::<T>(n))
            .value(n as u32)
            .value(p)
            .value(max_norm)
            .input(total)
            .output(x)
            .optional_output(norm)
            // Without gradients there is the norm all the same.
            .launch(pack_grid::<T>(n.max(1)), [THREADS, 1, 1])
    }

    fn grad_clamp(&self, most: T, x: CudaViewMut<'_, T>) -> Result<()> {
        let n = x.len();
        self.kernel::<T>(FILE, "grad_clamp")?
            .cost(change_cost::<T>(n))
            .value(n as u32)
            .value(most)
            .output(x)
            .launch(pack_grid::<T>(n), [THREADS, 1, 1])
    }
}
