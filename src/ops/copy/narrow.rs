//! Parts of a tensor.

use super::{CopyGeometry, Layout, copied};
use crate::dtype::Float;
use crate::ops::dims::{dim_of, place_of};
use crate::ops::numel32;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// `length` indices of dimension `dim` from `start` on, which counts from the end where it is
    /// negative.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
    /// assert_eq!(x.narrow(1, 1, 2)?.to_vec()?, [2.0, 3.0, 5.0, 6.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the dimension has not all of them.
    pub fn narrow(&self, dim: isize, start: isize, length: usize) -> Result<Self> {
        const OP: &str = "narrow";
        let dim = dim_of(OP, dim, self.shape())?;
        let size = self.dims()[dim];
        let first = if start < 0 { start.saturating_add_unsigned(size) } else { start };
        match usize::try_from(first) {
            Ok(first) if first <= size && length <= size - first => {
                self.part(OP, dim, first, length)
            }
            _ => {
                let message = format!(
                    "{length} indices from {start} on of dimension {dim} of {}, which has {size}",
                    self.shape()
                );
                Err(Error::shape(OP, message))
            }
        }
    }

    /// One index of dimension `dim`, without that dimension; it counts from the end where it is
    /// negative.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.select(0, -1)?.to_vec()?, [3.0, 4.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such index.
    pub fn select(&self, dim: isize, index: isize) -> Result<Self> {
        const OP: &str = "select";
        let dim = dim_of(OP, dim, self.shape())?;
        let size = self.dims()[dim];
        let Ok(index) = place_of(OP, index, size, self.shape()) else {
            let message =
                format!("index {index} of dimension {dim} of {}, which has {size}", self.shape());
            return Err(Error::shape(OP, message));
        };
        let mut rest = self.dims().to_vec();
        rest.remove(dim);
        self.part(OP, dim, index, 1)?.reshape(rest)
    }

    /// Parts of `size` indices of dimension `dim` each, the last of which may have fewer.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::<f32>::zeros(&device, [7, 2])?;
    /// let rows: Vec<_> = x.split(3, 0)?.iter().map(|part| part.dims()[0]).collect();
    /// assert_eq!(rows, [3, 3, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such dimension, [`Error::Argument`] for a `size` of 0, unless
    /// the dimension has none.
    pub fn split(&self, size: usize, dim: isize) -> Result<Vec<Self>> {
        const OP: &str = "split";
        let dim = dim_of(OP, dim, self.shape())?;
        let all = self.dims()[dim];
        if size == 0 && all > 0 {
            return Err(Error::argument("size", format!("must be at least 1 to split {all}")));
        }
        let count = all.checked_div(size).map_or(1, |_| all.div_ceil(size).max(1));
        let part = |i: usize| self.part(OP, dim, i * size, size.min(all - i * size));
        (0..count).map(part).collect()
    }

    /// Dimension `dim` in `chunks` parts alike, the last of which may be smaller; fewer where it has not
    /// so many indices.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let x = Tensor::<f32>::zeros(&device, [2, 7])?;
    /// let columns: Vec<_> = x.chunk(3, -1)?.iter().map(|part| part.dims()[1]).collect();
    /// assert_eq!(columns, [3, 3, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such dimension, [`Error::Argument`] for no chunks.
    pub fn chunk(&self, chunks: usize, dim: isize) -> Result<Vec<Self>> {
        const OP: &str = "chunk";
        let place = dim_of(OP, dim, self.shape())?;
        let size = self.dims()[place];
        match chunks {
            0 => Err(Error::argument("chunks", "must be at least 1, got 0")),
            // As PyTorch has it: as many parts of nothing.
            _ if size == 0 => (0..chunks).map(|_| self.part(OP, place, 0, 0)).collect(),
            _ => self.split(size.div_ceil(chunks), dim),
        }
    }

    /// `length` indices of `dim` from `start` on, which are there.
    pub(super) fn part(
        &self,
        op: &'static str,
        dim: usize,
        start: usize,
        length: usize,
    ) -> Result<Self> {
        numel32(op, self.shape())?;
        let mut sizes = self.dims().to_vec();
        sizes[dim] = length;
        let shape = Shape::from(&sizes[..]);
        let from = Layout::of(self.shape()).from(dim, start);
        let geometry = CopyGeometry::new(op, &sizes, &from, &Layout::of(&shape))?;
        copied(self, shape, &geometry)
    }
}
