//! The update of stochastic gradient descent over a flat buffer.

mod cpu;
mod cuda;

use crate::Result;
use crate::device::{Cost, Memory};
use crate::dtype::Float;
use crate::ops::UpdateState;

/// The numbers that are the same for every step.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SgdStep {
    /// Decay of the velocity.
    pub momentum: f64,
    /// The share of a gradient that does not enter the velocity.
    pub dampening: f64,
    /// Added to gradients, times the parameter.
    pub weight_decay: f64,
    /// 1: look ahead along the velocity.
    pub nesterov: u64,
}

/// Of an update of so many parameters: reads parameter and gradient and writes the parameter, 4 FLOP
/// each; with a velocity that is read and written too, 8.
pub(crate) fn cost<T>(parameters: usize, velocity: bool) -> Cost {
    let (moved, flops) = if velocity { (5, 8) } else { (3, 4) };
    Cost::elementwise::<T>(parameters, moved, flops)
}

/// What SGD asks of a device.
pub trait SgdKernels<T: Float>: Memory {
    /// For every element, with gradient `g` plus `weight_decay * p`: without a velocity
    /// `p -= lr g`; with one `b = momentum b + (1 - dampening) g` (`b = g` on the first step) and
    /// `p -= lr b`, or `p -= lr (g + momentum b)` for nesterov.
    fn sgd(
        &self,
        step: &SgdStep,
        state: UpdateState<'_, Self>,
        parameters: Self::ViewMut<'_, T>,
        gradients: Self::View<'_, T>,
        velocity: Option<Self::ViewMut<'_, T>>,
    ) -> Result<()>;
}
