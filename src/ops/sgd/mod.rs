//! The update of stochastic gradient descent over flat buffers.

mod cpu;
mod cuda;

use crate::device::{Cost, kernels};
use crate::ops::Update;

/// The options of a group of parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct SgdGroup {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the velocity; 0: there is none.
    pub momentum: f64,
    /// The share of a gradient that does not enter the velocity.
    pub dampening: f64,
    /// Added to gradients, times the parameter.
    pub weight_decay: f64,
    /// 1: look ahead along the velocity; 0: not.
    pub nesterov: f64,
    /// 1: up, along the gradients; 0: down.
    pub maximize: f64,
}

/// Of an update of so many parameters: reads parameter and gradient and writes the parameter, 4 FLOP
/// each; with a velocity that is read and written too, 8.
pub(crate) fn cost<T>(parameters: usize, velocity: bool) -> Cost {
    let (moved, flops) = if velocity { (5, 8) } else { (3, 4) };
    Cost::elementwise::<T>(parameters, moved, flops)
}

kernels! {
    /// What SGD asks of a device.
    pub(crate) trait SgdKernels<T: Float>: Backend {
        /// For every element of the tiles, by the options of its group, with gradient `g`, `-g` to
        /// maximize, plus `weight_decay * p`: without momentum `p -= lr g`; with it, which `velocity` is there for,
        /// `b = momentum b + (1 - dampening) g` (`b = g` in its parameter's first step) and `p -= lr b`, or
        /// `p -= lr (g + momentum b)` for nesterov.
        fn sgd(
            &self,
            update: Update<'_, Self>,
            parameters: Self::ViewMut<'_, T>,
            gradients: Self::View<'_, T>,
            velocity: Option<Self::ViewMut<'_, T>>,
        ) -> Result<()>;
    }
}
