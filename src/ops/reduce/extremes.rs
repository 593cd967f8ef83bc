//! The largest and the smallest elements, and where they are.

use super::geometry::{Prepared, prepared};
use super::{Member, ReduceGeometry, ReduceKernels, sums};
use crate::device::{Backend, Device};
use crate::dtype::{Float, Plain};
use crate::{Error, Result, Shape, Tensor};

/// Which element of several is meant. NaN is the largest and the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extreme {
    /// The smallest, not the largest.
    pub smallest: bool,
    /// Of `|x|`.
    pub magnitude: bool,
}

impl Plain for Extreme {}

impl Extreme {
    /// What turns its key into the largest.
    pub fn sign<T: Float>(self) -> T {
        if self.smallest { -T::one() } else { T::one() }
    }

    /// What is largest where `x` is meant.
    #[inline(always)]
    pub fn key<T: Float>(self, x: T) -> T {
        let x = if self.magnitude { x.abs() } else { x };
        if self.smallest { -x } else { x }
    }

    /// The extreme with this key.
    pub fn value<T: Float>(self, key: T) -> T {
        if self.smallest { -key } else { key }
    }
}

const LARGEST: Extreme = Extreme { smallest: false, magnitude: false };
const SMALLEST: Extreme = Extreme { smallest: true, magnitude: false };

impl<T: Float> Tensor<T> {
    /// The largest element over `dims`, all where none is named; NaN where there is one. Several that are
    /// equal share the gradient evenly.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0, 3.0, 2.0], [2, 2])?;
    /// assert_eq!(x.amax(&[0], false)?.to_vec()?, [3.0, 4.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when a dimension is not there, there twice, or empty.
    pub fn amax(&self, dims: &[isize], keepdim: bool) -> Result<Self> {
        tied("amax", self, dims, keepdim, LARGEST)
    }

    /// The smallest element over `dims`; else as [`Tensor::amax`].
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0, 3.0, 2.0], [2, 2])?;
    /// assert_eq!(x.amin(&[-1], true)?.to_vec()?, [1.0, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::amax`].
    pub fn amin(&self, dims: &[isize], keepdim: bool) -> Result<Self> {
        tied("amin", self, dims, keepdim, SMALLEST)
    }

    /// The largest element along `dim` and its index, as `torch.max`: the first of several that are
    /// equal, which has the gradient, and the first NaN where there is one.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0, 3.0, 2.0], [2, 2])?;
    /// let (values, indices) = x.max_dim(1, false)?;
    /// assert_eq!((values.to_vec()?, indices.to_vec()?), (vec![4.0, 3.0], vec![1, 0]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the dimension is not there, or empty.
    pub fn max_dim(&self, dim: isize, keepdim: bool) -> Result<(Self, Tensor<i32>)> {
        picked("max_dim", self, dim, keepdim, LARGEST)
    }

    /// The smallest element along `dim` and its index; else as [`Tensor::max_dim`].
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 4.0, 3.0, 2.0], [2, 2])?;
    /// let (values, indices) = x.min_dim(0, false)?;
    /// assert_eq!((values.to_vec()?, indices.to_vec()?), (vec![1.0, 2.0], vec![0, 1]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::max_dim`].
    pub fn min_dim(&self, dim: isize, keepdim: bool) -> Result<(Self, Tensor<i32>)> {
        picked("min_dim", self, dim, keepdim, SMALLEST)
    }

    /// The index of the largest element along `dim`; the first of several that are equal, and the first
    /// NaN where there is one.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let logits = Tensor::from_slice(&device, &[0.1_f32, 0.7, 0.2, 0.9, 0.0, 0.1], [2, 3])?;
    /// assert_eq!(logits.argmax(-1, false)?.to_vec()?, [1, 0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the dimension is not there, or empty.
    pub fn argmax(&self, dim: isize, keepdim: bool) -> Result<Tensor<i32>> {
        Ok(extremes("argmax", &self.detach(), &[dim], keepdim, LARGEST)?.indices)
    }

    /// The index of the smallest element along `dim`; else as [`Tensor::argmax`].
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[0.1_f32, 0.7, 0.2, 0.9, 0.0, 0.1], [2, 3])?;
    /// assert_eq!(x.argmin(-1, false)?.to_vec()?, [0, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::argmax`].
    pub fn argmin(&self, dim: isize, keepdim: bool) -> Result<Tensor<i32>> {
        Ok(extremes("argmin", &self.detach(), &[dim], keepdim, SMALLEST)?.indices)
    }
}

/// The extremes of `x`, as constants.
struct Extremes<T: Float> {
    x: Tensor<T>,
    geometry: ReduceGeometry,
    shape: Shape,
    values: Tensor<T>,
    indices: Tensor<i32>,
}

fn extremes<T: Float>(
    op: &'static str,
    x: &Tensor<T>,
    dims: &[isize],
    keepdim: bool,
    extreme: Extreme,
) -> Result<Extremes<T>> {
    let Prepared { x, geometry, shape, of_nothing } = prepared(op, x, dims, keepdim)?;
    if of_nothing {
        let message = format!("{} over {dims:?}: there is no extreme of no elements", x.shape());
        return Err(Error::shape(op, message));
    }
    let (values, indices) = found(&x, &geometry, &shape, extreme)?;
    Ok(Extremes { x, geometry, shape, values, indices })
}

/// The extremes over a geometry without empty dimensions, and their numbers, as constants.
pub(super) fn found<T: Float>(
    x: &Tensor<T>,
    geometry: &ReduceGeometry,
    shape: &Shape,
    extreme: Extreme,
) -> Result<(Tensor<T>, Tensor<i32>)> {
    let device = x.device();
    let (mut values, mut indices) =
        (device.alloc(geometry.results())?, device.alloc(geometry.results())?);
    let (to_values, to_indices) = (Device::view_mut(&mut values), Device::view_mut(&mut indices));
    device.reduce_extreme(geometry, extreme, x.read().view(), to_values, to_indices)?;
    let values = Tensor::from_buffer(device, values, shape.clone());
    Ok((values, Tensor::from_buffer(device, indices, shape.clone())))
}

/// The largest over all dimensions but those kept, which stabilises a sum of exponentials.
pub(super) fn largest<T: Float>(
    x: &Tensor<T>,
    geometry: &ReduceGeometry,
    shape: &Shape,
) -> Result<Tensor<T>> {
    Ok(found(x, geometry, shape, LARGEST)?.0)
}

/// Extremes whose gradient all that are equal share.
pub(super) fn tied<T: Float>(
    op: &'static str,
    x: &Tensor<T>,
    dims: &[isize],
    keepdim: bool,
    extreme: Extreme,
) -> Result<Tensor<T>> {
    let Extremes { x, geometry, shape, values, .. } = extremes(op, x, dims, keepdim, extreme)?;
    let (input, saved) = (x.save(op, "input"), values.save(op, "output"));
    let member = Member::Ties { magnitude: extreme.magnitude };
    Ok(values.with_grad_fn([Some(&x)], move |[node], gradient, gradients| {
        let Some(output) = gradients.output(node, geometry.numel())? else { return Ok(()) };
        let (x, c) = (input.tensor()?, saved.tensor()?);
        let shares = sums(&geometry, member, x, Some(c), shape)?;
        x.device().reduce_sum_backward(
            &geometry,
            member,
            Some(x.read().view()),
            Some(c.read().view()),
            Some(shares.read().view()),
            gradient.read().view(),
            output,
        )
    }))
}

/// Extremes whose gradient the first of several has, and their indices.
fn picked<T: Float>(
    op: &'static str,
    x: &Tensor<T>,
    dim: isize,
    keepdim: bool,
    extreme: Extreme,
) -> Result<(Tensor<T>, Tensor<i32>)> {
    let Extremes { x, geometry, values, indices, .. } = extremes(op, x, &[dim], keepdim, extreme)?;
    let (device, saved) = (x.device().clone(), indices.save(op, "indices"));
    let values = values.with_grad_fn([Some(&x)], move |[node], gradient, gradients| {
        let Some(output) = gradients.output(node, geometry.numel())? else { return Ok(()) };
        let (indices, gradient) = (saved.read()?, gradient.read());
        device.reduce_pick_backward(&geometry, indices.view(), gradient.view(), output)
    });
    Ok((values, indices))
}
