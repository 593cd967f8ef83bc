//! A tensor repeated along dimensions of size 1 and new ones, and the sum back.

use super::sums::sum_to;
use crate::device::{Backend, Device, Output};
use crate::dtype::Float;
use crate::ops::copy::{CopyGeometry, CopyKernels, Layout};
use crate::ops::numel32;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// Repeated along dimensions of size 1, and along new ones in front; -1 keeps a size.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0], [2, 1])?;
    /// assert_eq!(x.expand(&[-1, 3])?.to_vec()?, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when a size is neither -1, nor that of its dimension, nor in place of a 1.
    pub fn expand(&self, sizes: &[isize]) -> Result<Self> {
        const OP: &str = "expand";
        let new = sizes.len().checked_sub(self.dims().len());
        let known = |(i, &size): (usize, &isize)| match usize::try_from(size) {
            Ok(size) => Some(size),
            Err(_) => new
                .filter(|_| size == -1)
                .and_then(|new| i.checked_sub(new).and_then(|d| self.dims().get(d)).copied()),
        };
        let shape: Option<Vec<_>> = sizes.iter().enumerate().map(known).collect();
        match shape {
            Some(shape) => self.expanded(OP, Shape::from(shape)),
            None => {
                let message = format!(
                    "{} to {sizes:?}: a size is at least 0, or -1 for a dimension that is there",
                    self.shape()
                );
                Err(Error::shape(OP, message))
            }
        }
    }

    /// Repeated to `shape` by the rules of broadcasting: dimensions are aligned at the end, and those of
    /// size 1, or that are not there, are repeated.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let bias = Tensor::<f32>::zeros(&device, [5])?;
    /// assert_eq!(bias.broadcast_to([8, 5])?.dims(), [8, 5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when a size is neither that of its dimension nor in place of a 1.
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        self.expanded("broadcast_to", shape.into())
    }

    fn expanded(&self, op: &'static str, shape: Shape) -> Result<Self> {
        let new = shape.rank().checked_sub(self.dims().len());
        let aligned = new.map(|new| [&vec![1; new], self.dims()].concat());
        let fits = |dims: &Vec<usize>| {
            dims.iter().zip(shape.dims()).all(|(&size, &to)| size == to || size == 1)
        };
        let Some(aligned) = aligned.filter(fits) else {
            let message = format!(
                "{} to {shape}: aligned at the end, a size must stay or be 1 before",
                self.shape()
            );
            return Err(Error::shape(op, message));
        };
        numel32(op, &shape)?;
        numel32(op, self.shape())?;
        if shape.numel() == self.numel() && self.numel() > 0 {
            return self.reshape(shape);
        }
        let mut from = Layout::of(&Shape::from(&aligned[..]));
        for ((stride, &size), &to) in from.strides.iter_mut().zip(&aligned).zip(shape.dims()) {
            if size != to {
                *stride = 0;
            }
        }
        let geometry = CopyGeometry::new(op, shape.dims(), &from, &Layout::of(&shape))?;
        let device = self.device();
        let mut y = device.alloc(shape.numel())?;
        let output = Output { view: Device::view_mut(&mut y), accumulate: false };
        device.copy_strided(&geometry, self.read().view(), output)?;
        let (output, own) = (Self::from_buffer(device, y, shape), self.shape().clone());
        Ok(output.with_grad_fn([Some(self)], move |[x], gradient, gradients| {
            if x.is_none() {
                return Ok(());
            }
            gradients.pass(x, super::reduce_to(&gradient, &own)?)
        }))
    }
}

/// The sum of `x` over the dimensions along which `shape` was repeated to that of `x`: the gradient of
/// broadcasting. A constant.
pub(crate) fn reduce_to<T: Float>(x: &Tensor<T>, shape: &Shape) -> Result<Tensor<T>> {
    let new = x.dims().len() - shape.rank();
    let is_repeated = |&d: &usize| d < new || (shape.dims()[d - new] == 1 && x.dims()[d] != 1);
    let dims: Vec<_> = (0..x.dims().len()).filter(is_repeated).map(|d| d as isize).collect();
    if dims.is_empty() {
        return Ok(x.detach_as(shape.clone()));
    }
    sum_to(x, &dims, shape)
}
