//! Picking along one dimension.

use super::{IndexGeometry, picked};
use crate::dtype::Float;
use crate::ops::dims::dim_of;
use crate::ops::numel32;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// Of each line along `dim` the elements that `index` names, as `torch.gather`: for `dim` 1 of two,
    /// `y[i, j] = x[i, index[i, j]]`. The result has the shape of `index`, which may be smaller than the
    /// tensor in the other dimensions.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let index = Tensor::from_slice(&device, &[1, 0], [2, 1])?;
    /// assert_eq!(x.gather(1, &index)?.to_vec()?, [2.0, 3.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when shapes do not fit; on the CPU [`Error::Argument`] for an index that is not
    /// there, which is NaN on a GPU.
    pub fn gather(&self, dim: isize, index: &Tensor<i32>) -> Result<Self> {
        const OP: &str = "gather";
        if self.dims().is_empty() && index.dims().is_empty() {
            let index = index.detach_as(Shape::from([1]));
            return self.reshape([1_usize])?.gather(dim, &index)?.reshape(Shape::default());
        }
        let dim = dim_of(OP, dim, self.shape())?;
        let pairs = || index.dims().iter().zip(self.dims()).enumerate();
        if index.dims().len() != self.dims().len()
            || (index.numel() > 0 && pairs().any(|(d, (index, size))| d != dim && index > size))
        {
            let message = format!(
                "index {} for {} along dimension {dim}: it must have as many dimensions, and be no larger \
                 in the others",
                index.shape(),
                self.shape()
            );
            return Err(Error::shape(OP, message));
        }
        if index.numel() == 0 {
            // Nothing is picked of one long line.
            let size = numel32(OP, self.shape())?;
            let geometry = IndexGeometry { outer: 1, size, count: 0, inner: 1, by_row: 0 };
            return picked(OP, geometry, self, index, None, index.shape().clone());
        }
        let smaller = pairs().filter(|&(d, (index, size))| d != dim && index < size);
        let x = smaller
            .map(|(d, (&length, _))| (d as isize, length))
            .try_fold(self.clone(), |x, (d, length)| x.narrow(d, 0, length))?;
        let geometry = IndexGeometry::new(OP, x.shape(), index.shape(), dim, false)?;
        picked(OP, geometry, &x, index, None, index.shape().clone())
    }

    /// The indices `index [L]` of dimension `dim`, in their order: `x[:, index]` for `dim` 1.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let index = Tensor::from_slice(&device, &[1, 0, 1], [3])?;
    /// assert_eq!(x.index_select(0, &index)?.to_vec()?, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such dimension or the index is not `[L]`; on the CPU
    /// [`Error::Argument`] for an index that is not there, which is NaN on a GPU.
    pub fn index_select(&self, dim: isize, index: &Tensor<i32>) -> Result<Self> {
        const OP: &str = "index_select";
        let dim = dim_of(OP, dim, self.shape())?;
        let [count] = index.shape().expect(OP, "[L] as index")?;
        let mut sizes = self.dims().to_vec();
        sizes[dim] = count;
        let shape = Shape::from(sizes);
        let geometry = IndexGeometry::new(OP, self.shape(), &shape, dim, true)?;
        picked(OP, geometry, self, index, None, shape)
    }
}
