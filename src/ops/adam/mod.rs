//! The update of Adam and AdamW over a flat buffer.
//!
//! Kingma and Ba, "Adam", 2015; Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
//! 2019; Reddi et al., "On the Convergence of Adam and Beyond", 2018 (amsgrad).

mod cpu;
mod cuda;

use crate::Result;
use crate::device::{Cost, Memory};
use crate::dtype::Float;
use crate::ops::UpdateState;

/// The numbers that are the same for every step.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AdamStep {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the corrected second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// 1: the decay shrinks the parameters (AdamW); 0: it adds to the gradients (Adam).
    pub decoupled: u64,
}

/// Of an update of so many parameters: reads parameter, gradient and moments, writes all but the
/// gradient, about 12 FLOP each. AMSGrad's largest moment is read and written too.
pub(crate) fn cost<T>(parameters: usize, amsgrad: bool) -> Cost {
    Cost::elementwise::<T>(parameters, if amsgrad { 9 } else { 7 }, 12)
}

/// What Adam asks of a device.
pub trait AdamKernels<T: Float>: Memory {
    /// For every element, with gradient `g` (plus `weight_decay * p` unless decoupled):
    /// `m += (1 - beta1) (g - m)`, `v = beta2 v + (1 - beta2) g^2`, both flushed to zero below the
    /// smallest normal number, then
    /// `p = p (1 - lr weight_decay if decoupled) - lr / (1 - beta1^t) * m / (sqrt(v) /
    /// sqrt(1 - beta2^t) + eps)` in step `t`, counted from 1; with `max_exp_avg_sq` the largest `v`
    /// so far takes its place.
    #[allow(clippy::too_many_arguments)]
    fn adam(
        &self,
        step: &AdamStep,
        state: UpdateState<'_, Self>,
        parameters: Self::ViewMut<'_, T>,
        gradients: Self::View<'_, T>,
        exp_avg: Self::ViewMut<'_, T>,
        exp_avg_sq: Self::ViewMut<'_, T>,
        max_exp_avg_sq: Option<Self::ViewMut<'_, T>>,
    ) -> Result<()>;
}
