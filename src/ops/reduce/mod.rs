//! Reductions over some dimensions: sums, means, extremes, variances, norms, log-sum-exp; and the copies
//! of a tensor along new dimensions, whose gradient is a sum.
//!
//! | file | subject |
//! |---|---|
//! | `geometry.rs` | which elements belong to which result |
//! | `member.rs` | the sums: a term of each element, and what becomes of their sum |
//! | `sums.rs` | the ops that are such sums |
//! | `extremes.rs` | the largest and the smallest, and where they are |
//! | `expand.rs` | a tensor repeated, and the sum back |
//!
//! A member of the sums is a variant of `Member`, an arm of its formulas in `member.rs` for the CPU, a
//! struct with the same formulas and its two kernels in `kernels/reduce.cu`, and a line in `cuda.rs`.

mod cpu;
mod cuda;
mod expand;
mod extremes;
mod geometry;
mod member;
mod sums;

pub(crate) use expand::reduce_to;
pub(crate) use extremes::Extreme;
pub(crate) use geometry::ReduceGeometry;
pub(crate) use member::Member;

use crate::device::{Backend, Device, Output, kernels};
use crate::dtype::Float;
use crate::{Result, Shape, Tensor};

kernels! {
    /// What reductions ask of a device.
    pub(crate) trait ReduceKernels<T: Float>: Backend {
        /// The sums of `member` over `x [k1, r1, k2, r2]`, with a value of `c [k1, k2]` for each where the
        /// member has one, in an order that depends on the geometry alone.
        fn reduce_sum(
            &self,
            geometry: &ReduceGeometry,
            member: Member,
            x: Self::View<'_, T>,
            c: Option<Self::View<'_, T>>,
            y: Output<'_, Self, T>,
        ) -> Result<()>;

        /// `grad_x = grad_y * derivative / shares`, with the derivative of `member`, and without the
        /// division where there are no `shares [k1, k2]`. `x` and `c` are given where the member reads
        /// them.
        fn reduce_sum_backward(
            &self,
            geometry: &ReduceGeometry,
            member: Member,
            x: Option<Self::View<'_, T>>,
            c: Option<Self::View<'_, T>>,
            shares: Option<Self::View<'_, T>>,
            grad_y: Self::View<'_, T>,
            grad_x: Output<'_, Self, T>,
        ) -> Result<()>;

        /// The extreme of the elements of each result, which are at least one, and the number of the first
        /// element that has it; the first NaN where there is one.
        fn reduce_extreme(
            &self,
            geometry: &ReduceGeometry,
            extreme: Extreme,
            x: Self::View<'_, T>,
            values: Self::ViewMut<'_, T>,
            indices: Self::ViewMut<'_, i32>,
        ) -> Result<()>;

        /// `grad_x = grad_y` at the element of each result that `indices` names, else 0.
        fn reduce_pick_backward(
            &self,
            geometry: &ReduceGeometry,
            indices: Self::View<'_, i32>,
            grad_y: Self::View<'_, T>,
            grad_x: Output<'_, Self, T>,
        ) -> Result<()>;
    }
}

/// The sums of `member` over `x`, one for each result, as a constant.
fn sums<T: Float>(
    geometry: &ReduceGeometry,
    member: Member,
    x: &Tensor<T>,
    c: Option<&Tensor<T>>,
    shape: Shape,
) -> Result<Tensor<T>> {
    let device = x.device().clone();
    let mut y = device.alloc(geometry.results())?;
    let output = Output { view: Device::view_mut(&mut y), accumulate: false };
    let c = c.map(Tensor::read);
    let c = c.as_ref().map(|c| c.view());
    device.reduce_sum(geometry, member, x.read().view(), c, output)?;
    Ok(Tensor::from_buffer(&device, y, shape))
}
