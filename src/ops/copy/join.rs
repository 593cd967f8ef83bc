//! Tensors behind one another.

use super::{CopyGeometry, CopyKernels, Layout, copy_back};
use crate::device::{Backend, Device, Output};
use crate::dtype::Float;
use crate::ops::dims::{dim_of, place_of};
use crate::ops::numel32;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// The tensors behind one another along `dim`; all other sizes must agree. A tensor `[0]` goes with
    /// any shape, as in PyTorch.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&device, &[1.0_f32, 2.0], [2, 1])?;
    /// let b = Tensor::from_slice(&device, &[3.0, 4.0, 5.0, 6.0], [2, 2])?;
    /// assert_eq!(Tensor::cat(&[&a, &b], 1)?.to_vec()?, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for no tensors, scalars, or sizes that do not agree.
    pub fn cat(tensors: &[&Self], dim: isize) -> Result<Self> {
        const OP: &str = "cat";
        let is_joined = |tensor: &&Self| tensor.dims() != [0];
        let Some(first) = tensors.iter().copied().find(is_joined).or(tensors.first().copied())
        else {
            return Err(Error::shape(OP, "no tensors: expected at least one"));
        };
        let dim = dim_of(OP, dim, first.shape())?;
        let mut sizes = first.dims().to_vec();
        sizes[dim] = 0;
        for tensor in tensors.iter().copied().filter(is_joined) {
            let others = |dims: &[usize]| [&dims[..dim], &dims[dim + 1..]].concat();
            if tensor.dims().len() != sizes.len() || others(tensor.dims()) != others(&sizes) {
                let message = format!(
                    "{} and {}: all sizes but that of dimension {dim} must agree",
                    first.shape(),
                    tensor.shape()
                );
                return Err(Error::shape(OP, message));
            }
            sizes[dim] = sizes[dim].saturating_add(tensor.dims()[dim]);
        }
        let shape = Shape::from(&sizes[..]);
        numel32(OP, &shape)?;

        let device = first.device().clone();
        let mut y = device.alloc(shape.numel())?;
        let (all, mut start) = (Layout::of(&shape), 0);
        let mut backs = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let from = Layout::of(tensor.shape());
            let geometry = if is_joined(tensor) {
                let to = all.clone().from(dim, start);
                start += tensor.dims()[dim];
                CopyGeometry::new(OP, tensor.dims(), &from, &to)?
            } else {
                CopyGeometry::new(OP, tensor.dims(), &from, &from)?
            };
            let output = Output { view: Device::view_mut(&mut y), accumulate: false };
            device.copy_strided(&geometry, tensor.read().view(), output)?;
            backs.push((geometry.reversed(), tensor.numel()));
        }
        let inputs: Vec<_> = tensors.iter().copied().map(Some).collect();
        let output = Self::from_buffer(&device, y, shape);
        Ok(output.with_grad_fn_of(&inputs, move |nodes, gradient, gradients| {
            for (&node, (back, numel)) in nodes.iter().zip(&backs) {
                if let Some(output) = gradients.output(node, *numel)? {
                    copy_back(&device, back, *numel, gradient.read().view(), output)?;
                }
            }
            Ok(())
        }))
    }

    /// Tensors of one shape along a new dimension `dim`.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let image = Tensor::<f32>::zeros(&device, [1, 28, 28])?;
    /// assert_eq!(Tensor::stack(&[&image, &image], 0)?.dims(), [2, 1, 28, 28]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for no tensors, or of several shapes.
    pub fn stack(tensors: &[&Self], dim: isize) -> Result<Self> {
        const OP: &str = "stack";
        let Some(first) = tensors.first() else {
            return Err(Error::shape(OP, "no tensors: expected at least one"));
        };
        if let Some(other) = tensors.iter().find(|tensor| tensor.shape() != first.shape()) {
            let message = format!("{} and {}: must be alike", first.shape(), other.shape());
            return Err(Error::shape(OP, message));
        }
        let dim = place_of(OP, dim, first.dims().len() + 1, first.shape())? as isize;
        let tensors: Result<Vec<_>> = tensors.iter().map(|tensor| tensor.unsqueeze(dim)).collect();
        Self::cat(&tensors?.iter().collect::<Vec<_>>(), dim)
    }
}
