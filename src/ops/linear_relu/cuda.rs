use super::LinearReluKernels;
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut};
use crate::device::{Backend, Cuda};
use crate::dtype::Float;
use crate::ops::dropout::DropoutView;
use crate::ops::linear::cuda::{BLOCK, ROWS, backward};
use crate::ops::linear::{LinearGeometry, LinearGradients};
use crate::ops::matmul::cuda::{Split, Tiling};

const FILE: &str = "linear_relu";

impl<T: Float> LinearReluKernels<T> for Cuda {
    fn linear_relu_forward(
        &self,
        geometry: &LinearGeometry,
        input: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        bias: Option<CudaView<'_, T>>,
        drop: Option<DropoutView<'_, Self>>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let &LinearGeometry { rows, in_features, out_features } = geometry;
        let split = Split::from(Tiling::new(ROWS, rows, out_features).sliced(in_features));
        let mut partials = self.alloc::<T>(split.partials(BLOCK[0]))?;
        let (drop, step) = DropoutView::parts(drop);
        self.kernel::<T>(FILE, "linear_relu_forward")?
            .cost(geometry.cost::<T>() + split.cost::<T>(BLOCK[0]))
            .value(*geometry)
            .value(split)
            .value(drop)
            .input(input)
            .input(weight)
            .optional(bias)
            .optional(step)
            .output(Self::view_mut(&mut partials))
            .counters(split.counters())
            .output(output)
            .launch([split.blocks(), 1, 1], BLOCK)
    }

    fn linear_relu_backward(
        &self,
        geometry: &LinearGeometry,
        scale: T,
        input: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        output: CudaView<'_, T>,
        grad_output: CudaView<'_, T>,
        gradients: LinearGradients<'_, Self, T>,
    ) -> Result<()> {
        let launch = self.kernel::<T>(FILE, "linear_relu_backward")?.value(*geometry).value(scale);
        let launch = launch.input(input).input(weight).input(output).input(grad_output);
        backward(self, launch, geometry, gradients)
    }
}
