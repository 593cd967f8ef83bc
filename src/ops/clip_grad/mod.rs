//! Gradients kept within bounds, over flat buffers: by the norm of all of them, and each by itself.

mod cpu;
mod cuda;

use crate::device::{Cost, Output, kernels};

/// Of the sum of powers of so many gradients: reads each once, 2 FLOP.
pub(crate) fn power_cost<T>(gradients: usize) -> Cost {
    Cost::elementwise::<T>(gradients, 1, 2)
}

/// Of changing so many gradients in place.
pub(crate) fn change_cost<T>(gradients: usize) -> Cost {
    Cost::elementwise::<T>(gradients, 2, 1)
}

/// `total^(1 / p)`, and `total` itself for an infinite `p`.
pub(crate) fn root(total: f64, p: f64) -> f64 {
    match p {
        2.0 => total.sqrt(),
        _ if p == 1.0 || p.is_infinite() => total,
        _ => total.powf(1.0 / p),
    }
}

kernels! {
    /// What clipping asks of a device.
    pub(crate) trait ClipGradKernels<T: Float>: Backend {
        /// `total = sum of |x|^p`, or the largest `|x|` for an infinite `p`; to accumulate, together with
        /// what is there. In an order that depends on the length alone.
        fn grad_power(
            &self,
            p: f64,
            x: Self::View<'_, T>,
            total: Output<'_, Self, f64>,
        ) -> Result<()>;

        /// `x *= min(max_norm / (norm + 1e-6), 1)` with the `norm` that [`root`] makes of `total`, which
        /// `norm` then holds, if it is there.
        fn grad_scale(
            &self,
            p: f64,
            max_norm: f64,
            total: Self::View<'_, f64>,
            x: Self::ViewMut<'_, T>,
            norm: Option<Self::ViewMut<'_, T>>,
        ) -> Result<()>;

        /// Each `x` at most `most` from 0; NaN stays.
        fn grad_clamp(&self, most: T, x: Self::ViewMut<'_, T>) -> Result<()>;
    }
}
