use super::{SoftmaxKernels, backward_cost, forward_cost};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::device::{Cuda, Output};
use crate::dtype::Float;
use crate::ops::sum::ChannelGeometry;

const FILE: &str = "softmax";

/// The longest row that a warp takes; a block takes those beyond.
pub(crate) const WARP_ROW: u32 = 1024;
/// Rows of a block whose warps take one each.
pub(crate) const WARPS: u32 = THREADS / 32;
/// A block that takes rows side by side: `ColumnTeam` of `rows.cuh`.
const COLUMNS: [u32; 3] = [32, 8, 1];

/// The kernel's form, its grid and its block.
fn form(
    geometry: &ChannelGeometry,
    [warps, blocks, columns]: [&'static str; 3],
) -> (&'static str, [u32; 3], [u32; 3]) {
    let &ChannelGeometry { outer, channels, inner } = geometry;
    // Nothing has no rows, whatever the other sizes.
    let outer = if geometry.numel() == 0 { 0 } else { outer };
    if inner > 1 {
        (columns, [outer * inner.div_ceil(COLUMNS[0]), 1, 1], COLUMNS)
    } else if channels > WARP_ROW {
        (blocks, [outer, 1, 1], [THREADS, 1, 1])
    } else {
        (warps, [outer.div_ceil(WARPS), 1, 1], [THREADS, 1, 1])
    }
}

impl<T: Float> SoftmaxKernels<T> for Cuda {
    fn softmax_forward(
        &self,
        geometry: &ChannelGeometry,
        log: bool,
        x: CudaView<'_, T>,
        y: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let names = ["softmax_forward_warps", "softmax_forward_blocks", "softmax_forward_columns"];
        let (name, grid, block) = form(geometry, names);
        self.kernel::<T>(FILE, name)?
            .cost(forward_cost::<T>(geometry))
            .value(*geometry)
            .value(i32::from(log))
            .input(x)
            .output(y)
            .launch(grid, block)
    }

    fn softmax_backward(
        &self,
        geometry: &ChannelGeometry,
        log: bool,
        y: CudaView<'_, T>,
        grad_y: CudaView<'_, T>,
        grad_x: Output<'_, Self, T>,
    ) -> Result<()> {
        let names =
            ["softmax_backward_warps", "softmax_backward_blocks", "softmax_backward_columns"];
        let (name, grid, block) = form(geometry, names);
        self.kernel::<T>(FILE, name)?
            .cost(backward_cost::<T>(geometry, grad_x.accumulate))
            .value(*geometry)
            .value(i32::from(log))
            .input(y)
            .input(grad_y)
            .gradient(grad_x)
            .launch(grid, block)
    }
}
