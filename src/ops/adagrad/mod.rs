//! The update of Adagrad over flat buffers.
//!
//! Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
//! Optimization", 2011.

mod cpu;
mod cuda;

use crate::device::{Cost, kernels};
use crate::ops::Update;

/// The options of a group of parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct AdagradGroup {
    /// Learning rate of the first step.
    pub lr: f64,
    /// How fast the learning rate falls.
    pub lr_decay: f64,
    /// Added to gradients, times the parameter.
    pub weight_decay: f64,
    /// What the sum of squares starts from.
    pub initial_accumulator_value: f64,
    /// Added to the square root of the sum of squares.
    pub eps: f64,
    /// 1: up, along the gradients; 0: down.
    pub maximize: f64,
}

/// Of an update of so many parameters: reads parameter, gradient and sum, writes all but the gradient,
/// about 7 FLOP each.
pub(crate) fn cost<T>(parameters: usize) -> Cost {
    Cost::elementwise::<T>(parameters, 5, 7)
}

kernels! {
    /// What Adagrad asks of a device.
    pub(crate) trait AdagradKernels<T: Float>: Backend {
        /// For every element of the tiles, by the options of its group, with gradient `g`, `-g` to
        /// maximize, plus `weight_decay * p`: `s += g^2`, where in its parameter's first step `s` is
        /// `initial_accumulator_value`, whatever `sums` holds, and
        /// `p -= lr / (1 + t lr_decay) * g / (sqrt(s) + eps)` after `t` steps.
        fn adagrad(
            &self,
            update: Update<'_, Self>,
            parameters: Self::ViewMut<'_, T>,
            gradients: Self::View<'_, T>,
            sums: Self::ViewMut<'_, T>,
        ) -> Result<()>;
    }
}
