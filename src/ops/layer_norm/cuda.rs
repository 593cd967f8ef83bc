use super::{LayerNormKernels, NormGeometry};
use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::device::{Cuda, Output};
use crate::dtype::Float;
use crate::ops::batch_norm2d::Affine;
use crate::ops::softmax::cuda::{WARP_ROW, WARPS};

const FILE: &str = "layer_norm";

/// The kernel's form and its grid.
fn form(geometry: &NormGeometry, [warps, blocks]: [&'static str; 2]) -> (&'static str, [u32; 3]) {
    if geometry.width() > WARP_ROW as usize {
        (blocks, [geometry.rows, 1, 1])
    } else {
        (warps, [geometry.rows.div_ceil(WARPS), 1, 1])
    }
}

impl<T: Float> LayerNormKernels<T> for Cuda {
    fn layer_norm_forward(
        &self,
        geometry: &NormGeometry,
        eps: T,
        x: CudaView<'_, T>,
        affine: Affine<'_, Self, T>,
        y: CudaViewMut<'_, T>,
        mean: CudaViewMut<'_, T>,
        invstd: CudaViewMut<'_, T>,
    ) -> Result<()> {
        let names = ["layer_norm_forward_warps", "layer_norm_forward_blocks"];
        let (name, grid) = form(geometry, names);
        self.kernel::<T>(FILE, name)?
            .cost(geometry.forward_cost::<T>())
            .value(*geometry)
            .value(eps)
            .input(x)
            .optional(affine.weight)
            .optional(affine.bias)
            .output(y)
            .output(mean)
            .output(invstd)
            .launch(grid, [THREADS, 1, 1])
    }

    fn layer_norm_backward(
        &self,
        geometry: &NormGeometry,
        x: CudaView<'_, T>,
        mean: CudaView<'_, T>,
        invstd: CudaView<'_, T>,
        weight: Option<CudaView<'_, T>>,
        grad_y: CudaView<'_, T>,
        grad_x: Option<Output<'_, Self, T>>,
        products: Option<CudaViewMut<'_, T>>,
    ) -> Result<()> {
        let names = ["layer_norm_backward_warps", "layer_norm_backward_blocks"];
        let (name, grid) = form(geometry, names);
        let writes = usize::from(grad_x.is_some()) + usize::from(products.is_some());
        self.kernel::<T>(FILE, name)?
            .cost(geometry.backward_cost::<T>(writes))
            .value(*geometry)
            .input(x)
            .input(mean)
            .input(invstd)
            .optional(weight)
            .input(grad_y)
            .optional_gradient(grad_x)
            .optional_output(products)
            .launch(grid, [THREADS, 1, 1])
    }
}
