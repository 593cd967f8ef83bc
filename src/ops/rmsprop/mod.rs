//! The update of RMSprop over flat buffers.
//!
//! Hinton, "Neural Networks for Machine Learning", lecture 6e, 2012; Graves, "Generating Sequences With
//! Recurrent Neural Networks", 2013 (centered).

mod cpu;
mod cuda;

use crate::device::{Cost, kernels};
use crate::ops::Update;

/// The options of a group of parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct RmspropGroup {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the averages.
    pub alpha: f64,
    /// Added to the square root.
    pub eps: f64,
    /// Added to gradients, times the parameter.
    pub weight_decay: f64,
    /// Decay of the velocity; 0: there is none.
    pub momentum: f64,
    /// 1: the variance of the gradients divides; 0: their mean square.
    pub centered: f64,
    /// 1: up, along the gradients; 0: down.
    pub maximize: f64,
}

/// Of an update of so many parameters: reads parameter, gradient and square, writes all but the
/// gradient, about 10 FLOP each; what else it remembers is read and written too.
pub(crate) fn cost<T>(parameters: usize, more: u64) -> Cost {
    Cost::elementwise::<T>(parameters, 5 + 2 * more, 10)
}

kernels! {
    /// What RMSprop asks of a device.
    pub(crate) trait RmspropKernels<T: Float>: Backend {
        /// For every element of the tiles, by the options of its group, with gradient `g`, `-g` to
        /// maximize, plus `weight_decay * p`: `v = alpha v + (1 - alpha) g^2` and, centered, which
        /// `grad_avg` is there for, `m += (1 - alpha) (g - m)`; then `d = g / (sqrt(v - m^2) + eps)`, and
        /// `p -= lr d`, or with momentum, which `velocity` is there for, `b = momentum b + d` and
        /// `p -= lr b`.
        fn rmsprop(
            &self,
            update: Update<'_, Self>,
            parameters: Self::ViewMut<'_, T>,
            gradients: Self::View<'_, T>,
            square_avg: Self::ViewMut<'_, T>,
            grad_avg: Option<Self::ViewMut<'_, T>>,
            velocity: Option<Self::ViewMut<'_, T>>,
        ) -> Result<()>;
    }
}
