//! The update of Adam and AdamW over flat buffers.
//!
//! Kingma and Ba, "Adam", 2015; Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
//! 2019; Reddi et al., "On the Convergence of Adam and Beyond", 2018 (amsgrad).

mod cpu;
mod cuda;

use crate::device::{Cost, kernels};
use crate::ops::Update;

/// The options of a group of parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct AdamGroup {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the corrected second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// 1: the decay shrinks the parameters (AdamW); 0: it adds to the gradients (Adam).
    pub decoupled: f64,
    /// 1: the largest second moment so far divides; 0: the present one.
    pub amsgrad: f64,
    /// 1: up, along the gradients; 0: down.
    pub maximize: f64,
}

/// Of an update of so many parameters: reads parameter, gradient and moments, writes all but the
/// gradient, about 12 FLOP each. AMSGrad's largest moment is read and written too.
pub(crate) fn cost<T>(parameters: usize, amsgrad: bool) -> Cost {
    Cost::elementwise::<T>(parameters, if amsgrad { 9 } else { 7 }, 12)
}

kernels! {
    /// What Adam asks of a device.
    pub(crate) trait AdamKernels<T: Float>: Backend {
        /// For every element of the tiles, by the options of its group, with gradient `g`, `-g` to
        /// maximize (plus `weight_decay * p` unless decoupled):
        /// `m += (1 - beta1) (g - m)`, `v = beta2 v + (1 - beta2) g^2`, both flushed to zero below the
        /// smallest normal number, then
        /// `p = p (1 - lr weight_decay if decoupled) - lr / (1 - beta1^t) * m / (sqrt(v) /
        /// sqrt(1 - beta2^t) + eps)` in its parameter's step `t`, counted from 1; with amsgrad the largest
        /// `v` so far, which `max_exp_avg_sq` then holds, takes its place.
        fn adam(
            &self,
            update: Update<'_, Self>,
            parameters: Self::ViewMut<'_, T>,
            gradients: Self::View<'_, T>,
            exp_avg: Self::ViewMut<'_, T>,
            exp_avg_sq: Self::ViewMut<'_, T>,
            max_exp_avg_sq: Option<Self::ViewMut<'_, T>>,
        ) -> Result<()>;
    }
}
