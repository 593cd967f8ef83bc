//! The block on the CPU. A convolution that keeps the size (3x3, padding 1) runs in a layout of its
//! own, any other as a row of plain kernels.
//!
//! | file | subject |
//! |---|---|
//! | `forward.rs` | convolution with the batch's moments, then all that follows it in one pass |
//! | `backward.rs` | the same backwards, and the gradients of input and weight |
//! | `pool.rs` | the windows of one plane, there and back |
//! | `plain.rs` | the block as a row of plain kernels |
//!
//! The batch is cut into groups of images that stay in a core's cache; a thread takes whole groups.
//! Their size depends on the image's alone, and what is summed over them is summed in their order.

mod backward;
mod forward;
mod plain;
mod pool;

use super::{ConvBlockGeometry, ConvBlockGradients, ConvBlockInputs, ConvBlockKernels, Normaliser};
use crate::Result;
use crate::device::cpu::CpuBuffer;
use crate::device::{Backend, Cpu};
use crate::dtype::Float;
use crate::ops::conv2d::Sight;
use crate::ops::dropout::DropoutView;

/// What a backward pass needs.
pub enum Saved<T: Float> {
    /// Of the plain kernels.
    Plain(plain::Saved<T>),
    /// Of the fast ones.
    Fast(FastSaved<T>),
}

/// What the fast backward pass needs.
pub struct FastSaved<T: Float> {
    /// The input in groups: see `conv2d/cpu/layout.rs`.
    input: CpuBuffer<T>,
    /// What the taps see: see `conv2d/cpu/layout.rs`.
    sight: Sight<T>,
    /// The convolution's output: see `conv2d/cpu/layout.rs`.
    convolved: CpuBuffer<T>,
    /// `[O]`.
    mean: CpuBuffer<T>,
    /// `[O]`.
    invstd: CpuBuffer<T>,
    /// Whether these are the batch's.
    batch_statistics: bool,
    /// Where in its window each maximum lies, row-major, `[N, O, PH, PW]`.
    argmax: CpuBuffer<u8>,
    /// The convolution's output there, `[N, O, PH, PW]`.
    peaks: CpuBuffer<T>,
}

/// Taps of a filter.
const TAPS: usize = 9;

/// Whether the fast kernels can compute it.
fn is_fast(geometry: &ConvBlockGeometry) -> bool {
    let ConvBlockGeometry { conv, pool } = geometry;
    let [rows, columns] = pool.kernel_size;
    // A place in a window is one byte.
    conv.keeps_size() && rows.saturating_mul(columns) <= 256
}

impl<T: Float> ConvBlockKernels<T> for Cpu {
    type ConvBlockSaved = Saved<T>;

    fn conv_block_forward(
        &self,
        geometry: &ConvBlockGeometry,
        eps: T,
        inputs: ConvBlockInputs<'_, Self, T>,
        normaliser: Normaliser<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        output: <Self as Backend>::ViewMut<'_, T>,
        keep: bool,
    ) -> Result<Option<Saved<T>>> {
        if is_fast(geometry) {
            let saved =
                forward::forward(self, geometry, eps, inputs, normaliser, drop, output, keep)?;
            return Ok(saved.map(Saved::Fast));
        }
        let saved = plain::forward(self, geometry, eps, inputs, normaliser, drop, output)?;
        Ok(Some(Saved::Plain(saved)))
    }

    fn conv_block_backward(
        &self,
        geometry: &ConvBlockGeometry,
        inputs: ConvBlockInputs<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        saved: Saved<T>,
        output: <Self as Backend>::View<'_, T>,
        grad_output: <Self as Backend>::View<'_, T>,
        gradients: ConvBlockGradients<'_, Self, T>,
    ) -> Result<()> {
        match saved {
            Saved::Plain(saved) => {
                plain::backward(self, geometry, inputs, drop, saved, grad_output, gradients)
            }
            Saved::Fast(saved) => {
                let scale = drop.map_or(T::one(), |drop| T::of(drop.geometry.scale));
                backward::backward(
                    self,
                    geometry,
                    inputs,
                    scale,
                    &saved,
                    output,
                    grad_output,
                    gradients,
                )
            }
        }
    }
}
