//! Other orders and parts of a tensor's elements: one kernel that copies from strided to strided memory.
//!
//! | file | what is made of it |
//! |---|---|
//! | `geometry.rs` | which element goes where |
//! | `permute.rs` | dimensions in another order, or backwards |
//! | `narrow.rs` | parts of a tensor |
//! | `join.rs` | tensors behind one another |
//! | `pad.rs` | a border, or less of the edge |
//!
//! The gradient of a copy is the copy the other way round.

mod cpu;
mod cuda;
mod geometry;
mod join;
mod narrow;
mod pad;
mod permute;

pub(crate) use geometry::{CopyGeometry, Layout};

use crate::device::{AnyView, Backend, Device, Output, kernels};
use crate::dtype::Float;
use crate::{Result, Shape, Tensor};

kernels! {
    /// What copies ask of a device.
    pub(crate) trait CopyKernels<T: Float>: Backend {
        /// `to[geometry.to(i)] = from[geometry.from(i)]` for every index `i`; the other elements of
        /// `to` stay as they are.
        fn copy_strided(
            &self,
            geometry: &CopyGeometry,
            from: Self::View<'_, T>,
            to: Output<'_, Self, T>,
        ) -> Result<()>;

        /// Every element `value`.
        fn fill(&self, value: T, to: Self::ViewMut<'_, T>) -> Result<()>;
    }
}

/// The tensor of shape `shape` with the elements of `x` that `geometry` copies.
fn copied<T: Float>(x: &Tensor<T>, shape: Shape, geometry: &CopyGeometry) -> Result<Tensor<T>> {
    let device = x.device().clone();
    let mut y = device.alloc(shape.numel())?;
    let output = Output { view: Device::view_mut(&mut y), accumulate: false };
    device.copy_strided(geometry, x.read().view(), output)?;
    Ok(Tensor::from_buffer(&device, y, shape).with_copied_from(x, geometry))
}

impl<T: Float> Tensor<T> {
    /// This tensor, recorded as what `geometry` copied from `x`.
    fn with_copied_from(self, x: &Self, geometry: &CopyGeometry) -> Self {
        let (device, back, numel) = (x.device().clone(), geometry.reversed(), x.numel());
        self.with_grad_fn([Some(x)], move |[x], gradient, gradients| {
            let Some(output) = gradients.output(x, numel)? else { return Ok(()) };
            copy_back(&device, &back, numel, gradient.read().view(), output)
        })
    }
}

/// The gradient, of `numel` elements, of what was copied; `back` is the copy the other way round. What
/// was not copied gets none.
fn copy_back<T: Float>(
    device: &Device,
    back: &CopyGeometry,
    numel: usize,
    gradient: AnyView<'_, T>,
    mut output: Output<'_, Device, T>,
) -> Result<()> {
    if !output.accumulate && back.numel() < numel {
        device.zero(output.reborrow().view)?;
    }
    device.copy_strided(back, gradient, output)
}
