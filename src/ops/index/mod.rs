//! Elements picked by index along one dimension, and the sum back, which is their gradient.
//!
//! | file | what is made of it |
//! |---|---|
//! | `select.rs` | [`Tensor::gather`] and [`Tensor::index_select`] |
//! | `pad.rs` | [`Tensor::pad_mode`] |
//!
//! The op [`embedding`](crate::ops::embedding) is another.

mod cpu;
mod cuda;
mod pad;
mod select;

pub use pad::PadMode;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::index32;
use crate::{Result, Shape, Tensor};

/// A tensor seen as `[outer, size, inner]`, of which `count` are picked: `[outer, count, inner]`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct IndexGeometry {
    /// Extent outside of the dimension.
    pub outer: u32,
    /// Indices that there are.
    pub size: u32,
    /// Indices that are picked.
    pub count: u32,
    /// Extent inside of the dimension.
    pub inner: u32,
    /// 1: the index is `[count]`, one for all of `[outer, inner]`; 0: it has the result's shape.
    pub by_row: u32,
}

impl Plain for IndexGeometry {}

impl IndexGeometry {
    /// Of `x` and a result of shape `to`, which differs from it in dimension `dim` alone.
    fn new(op: &'static str, x: &Shape, to: &Shape, dim: usize, by_row: bool) -> Result<Self> {
        let product = |dims: &[usize]| index32(op, Shape::from(dims).numel());
        index32(op, x.numel())?;
        index32(op, to.numel())?;
        Ok(Self {
            outer: product(&to.dims()[..dim])?,
            size: index32(op, x.dims()[dim])?,
            count: index32(op, to.dims()[dim])?,
            inner: product(&to.dims()[dim + 1..])?,
            by_row: u32::from(by_row),
        })
    }

    /// Elements of the tensor.
    pub fn numel(&self) -> usize {
        self.outer as usize * self.size as usize * self.inner as usize
    }

    /// Elements of the result.
    pub fn picked(&self) -> usize {
        self.outer as usize * self.count as usize * self.inner as usize
    }

    /// Numbers of the index.
    pub fn indices(&self) -> usize {
        if self.by_row == 1 { self.count as usize } else { self.picked() }
    }

    /// Of picking: reads and writes each element of the result, and reads the index.
    pub fn cost<T>(&self) -> Cost {
        Cost::elementwise::<T>(self.picked(), 2, 0).moving::<i32>(self.indices() as u64)
    }

    /// Of the sum back: reads the result's gradient and the index, writes the tensor's.
    pub fn cost_of_add<T>(&self, accumulate: bool) -> Cost {
        let written = self.numel() as u64 * (1 + u64::from(accumulate));
        Cost::elementwise::<T>(self.picked(), 1, 1)
            .moving::<T>(written)
            .moving::<i32>(self.indices() as u64)
    }
}

kernels! {
    /// What indexing asks of a device.
    pub(crate) trait IndexKernels<T: Float>: Backend {
        /// `y[o, l, i] = x[o, index, i]`. An index outside of `x` is an error that names it, or NaN where
        /// a device cannot raise one.
        fn index_pick(
            &self,
            geometry: &IndexGeometry,
            x: Self::View<'_, T>,
            index: Self::View<'_, i32>,
            y: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// `grad_x[o, s, i] = sum over l of grad_y[o, l, i]` where the index is `s`, in the order of `l`;
        /// 0 for an `s` in `skipped`. That is for one index a row alone.
        fn index_add(
            &self,
            geometry: &IndexGeometry,
            index: Self::View<'_, i32>,
            skipped: Option<usize>,
            grad_y: Self::View<'_, T>,
            grad_x: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// What `index` picks from `x`, in `shape`; the index `skipped` gets no gradient.
pub(crate) fn picked<T: Float>(
    op: &'static str,
    geometry: IndexGeometry,
    x: &Tensor<T>,
    index: &Tensor<i32>,
    skipped: Option<usize>,
    shape: Shape,
) -> Result<Tensor<T>> {
    let device = x.device().clone();
    let mut y = device.alloc(geometry.picked())?;
    device.index_pick(&geometry, x.read().view(), index.read().view(), Device::view_mut(&mut y))?;
    let (y, saved) = (Tensor::from_buffer(&device, y, shape), index.save(op, "index"));
    Ok(y.with_grad_fn([Some(x)], move |[x], gradient, gradients| {
        let Some(output) = gradients.output(x, geometry.numel())? else { return Ok(()) };
        let index = saved.read()?;
        device.index_add(&geometry, index.view(), skipped, gradient.read().view(), output)
    }))
}

/// The geometry of rows of `weight [size, inner]`, picked by `count` indices.
pub(crate) fn of_rows(op: &'static str, weight: &Shape, count: usize) -> Result<IndexGeometry> {
    let to = Shape::from([count, weight.dims()[1]]);
    IndexGeometry::new(op, weight, &to, 0, true)
}
