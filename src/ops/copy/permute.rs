//! Dimensions in another order, or backwards.

use super::{CopyGeometry, Layout, copied};
use crate::dtype::Float;
use crate::ops::dims::{chosen, dim_of};
use crate::ops::numel32;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// The dimensions in another order: dimension `i` of the result is dimension `dims[i]` of this.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let images = Tensor::<f32>::zeros(&device, [8, 3, 28, 20])?;
    /// assert_eq!(images.permute(&[0, 2, 3, 1])?.dims(), [8, 28, 20, 3]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when `dims` has not every dimension once.
    pub fn permute(&self, dims: &[isize]) -> Result<Self> {
        const OP: &str = "permute";
        if chosen(OP, dims, self.shape())?.contains(&false) {
            let message = format!("{dims:?} of {}: every dimension must be there", self.shape());
            return Err(Error::shape(OP, message));
        }
        let order: Result<Vec<_>> = dims.iter().map(|&d| dim_of(OP, d, self.shape())).collect();
        self.in_order(OP, &order?)
    }

    /// Two dimensions exchanged.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::<f32>::zeros(&device, [2, 3, 5])?;
    /// assert_eq!(x.transpose(-2, -1)?.dims(), [2, 5, 3]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when one of them is not there.
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Result<Self> {
        const OP: &str = "transpose";
        let (dim0, dim1) = (dim_of(OP, dim0, self.shape())?, dim_of(OP, dim1, self.shape())?);
        let mut order: Vec<_> = (0..self.dims().len()).collect();
        order.swap(dim0, dim1);
        self.in_order(OP, &order)
    }

    /// A matrix `[m, n]` as `[n, m]`; a vector or a scalar as it is.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.t()?.to_vec()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for more than two dimensions.
    pub fn t(&self) -> Result<Self> {
        match self.dims().len() {
            0 | 1 => Ok(self.clone()),
            2 => self.transpose(0, 1),
            _ => {
                let message = format!("{} is no matrix: use `transpose`", self.shape());
                Err(Error::shape("t", message))
            }
        }
    }

    /// The elements backwards along each of `dims`.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.flip(&[1])?.to_vec()?, [2.0, 1.0, 4.0, 3.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when one of them is not there, or there twice.
    pub fn flip(&self, dims: &[isize]) -> Result<Self> {
        const OP: &str = "flip";
        numel32(OP, self.shape())?;
        let to = Layout::of(self.shape());
        let mut from = to.clone();
        for (d, flipped) in chosen(OP, dims, self.shape())?.into_iter().enumerate() {
            if flipped {
                from = from.from(d, self.dims()[d].saturating_sub(1));
                from.strides[d] = -from.strides[d];
            }
        }
        let geometry = CopyGeometry::new(OP, self.dims(), &from, &to)?;
        copied(self, self.shape().clone(), &geometry)
    }

    /// Dimension `i` of the result is dimension `order[i]`. Where only dimensions of size 1 move, the
    /// memory stays.
    fn in_order(&self, op: &'static str, order: &[usize]) -> Result<Self> {
        numel32(op, self.shape())?;
        let sizes: Vec<_> = order.iter().map(|&d| self.dims()[d]).collect();
        let shape = Shape::from(&sizes[..]);
        let larger = order.iter().copied().filter(|&d| self.dims()[d] != 1);
        if larger.is_sorted() {
            return self.reshape(shape);
        }
        let all = Layout::of(self.shape());
        let strides = order.iter().map(|&d| all.strides[d]).collect();
        let from = Layout { offset: 0, strides };
        let geometry = CopyGeometry::new(op, &sizes, &from, &Layout::of(&shape))?;
        copied(self, shape, &geometry)
    }
}
