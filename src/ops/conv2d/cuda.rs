use super::{Conv2dGeometry, Conv2dKernels};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut};
use crate::device::{Cuda, Memory, Output};
use crate::dtype::Float;
use crate::ops::matmul::cuda::{Tiling, reduce_cost, reduce_grid};
use crate::ops::sum::cuda::COLUMN_BLOCK;

const FILE: &str = "conv2d";

/// The tiling of an `[m, n]` result, and the name of the kernel with such tiles: of 64 rows, or of
/// 32 where those leave less of the last tile empty.
pub(crate) fn tiling(
    m: u32,
    n: u32,
    many: &'static str,
    few: &'static str,
) -> (Tiling, &'static str) {
    if m.next_multiple_of(32) < m.next_multiple_of(64) {
        (Tiling::new(32, m, n), few)
    } else {
        (Tiling::new(64, m, n), many)
    }
}

impl<T: Float> Conv2dKernels<T> for Cuda {
    fn conv2d_forward(
        &self,
        geometry: &Conv2dGeometry,
        input: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        bias: Option<CudaView<'_, T>>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let pixels = geometry.batch * geometry.out_height * geometry.out_width;
        let (tiling, name) =
            tiling(geometry.out_channels, pixels, "conv2d_forward", "conv2d_forward_few");
        self.kernel_for::<T>(FILE, name, geometry.constants())?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(input)
            .input(weight)
            .optional(bias)
            .output(output)
            .launch(tiling.grid(), tiling.block())
    }

    fn conv2d_backward_input(
        &self,
        geometry: &Conv2dGeometry,
        grad_output: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        let pixels = geometry.batch * geometry.height * geometry.width;
        let (tiling, name) = tiling(
            geometry.in_channels,
            pixels,
            "conv2d_backward_input",
            "conv2d_backward_input_few",
        );
        self.kernel_for::<T>(FILE, name, geometry.constants())?
            .cost(geometry.cost::<T>())
            .value(*geometry)
            .input(grad_output)
            .input(weight)
            .gradient(grad_input)
            .launch(tiling.grid(), tiling.block())
    }

    fn conv2d_backward_weight(
        &self,
        geometry: &Conv2dGeometry,
        input: CudaView<'_, T>,
        grad_output: CudaView<'_, T>,
        grad_weight: Output<'_, Self, T>,
    ) -> Result<()> {
        let taps = geometry.in_channels * geometry.kernel_size[0] * geometry.kernel_size[1];
        let (tiling, name) = tiling(
            geometry.out_channels,
            taps,
            "conv2d_backward_weight",
            "conv2d_backward_weight_few",
        );
        let tiling = tiling.sliced(geometry.batch * geometry.out_height * geometry.out_width);
        let product = self
            .kernel_for::<T>(FILE, name, geometry.constants())?
            .value(*geometry)
            .value(tiling.slice);
        let product = product.input(input).input(grad_output);
        let weights = geometry.out_channels * taps;
        let more = u64::from(tiling.slices - 1) * u64::from(weights);
        let product = product.cost(geometry.cost::<T>().moving::<T>(more));
        if tiling.slices == 1 {
            return product.gradient(grad_weight).launch(tiling.grid(), tiling.block());
        }
        let mut partials = self.alloc::<T>(tiling.slices as usize * weights as usize)?;
        let output = Output { view: Self::view_mut(&mut partials), accumulate: false };
        product.gradient(output).launch(tiling.grid(), tiling.block())?;
        self.kernel_for::<T>(FILE, "conv2d_backward_weight_reduce", geometry.constants())?
            .cost(reduce_cost::<T>(tiling.slices, weights))
            .value(tiling.slices)
            .value(weights)
            .input(Self::view(&partials))
            .gradient(grad_weight)
            .launch(reduce_grid(weights), COLUMN_BLOCK)
    }
}
