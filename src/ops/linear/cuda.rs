//! The gradients of a fully connected layer in one launch: `kernels/linear.cuh`.

use super::{LinearGeometry, LinearGradients};
use crate::Result;
use crate::device::cuda::Launch;
use crate::device::{Backend, Cost, Cuda};
use crate::dtype::Float;
use crate::ops::matmul::cuda::{Split, Tiling};

/// Rows of a tile, `LINEAR_ROWS` of `linear.cuh`, and its threads.
pub(crate) const ROWS: u32 = 32;
pub(crate) const BLOCK: [u32; 3] = [128, 1, 1];

/// Completes `launch` of a kernel whose last parameters are those of `linear_backward`, and runs it.
pub(crate) fn backward<T: Float>(
    device: &Cuda,
    launch: Launch<'_>,
    geometry: &LinearGeometry,
    gradients: LinearGradients<'_, Cuda, T>,
) -> Result<()> {
    let &LinearGeometry { rows, in_features, out_features } = geometry;
    let LinearGradients { input, weight, bias } = gradients;
    // The bias is one more column of the weight, whose inputs are 1.
    let columns = weight.as_ref().map_or(0, |_| in_features) + u32::from(bias.is_some());
    let of_weight = Split::from(Tiling::new(ROWS, out_features, columns).sliced(rows));
    let of_input = input.as_ref().map_or(Split::default(), |_| {
        Split::from(Tiling::new(ROWS, rows, in_features).sliced(out_features))
    });
    let mut partials =
        device.alloc::<T>(of_weight.partials(BLOCK[0]) + of_input.partials(BLOCK[0]))?;
    let products = [weight.is_some(), input.is_some()].into_iter().filter(|&wanted| wanted);
    let products = products.map(|_| geometry.cost::<T>()).sum::<Cost>();
    launch
        .cost(products + of_weight.cost::<T>(BLOCK[0]) + of_input.cost::<T>(BLOCK[0]))
        .value(of_weight)
        .value(of_input)
        .output(Cuda::view_mut(&mut partials))
        .counters(of_weight.counters() + of_input.counters())
        .optional_gradient(weight)
        .optional_gradient(bias)
        .optional_gradient(input)
        .launch([of_weight.blocks() + of_input.blocks(), 1, 1], BLOCK)
}
