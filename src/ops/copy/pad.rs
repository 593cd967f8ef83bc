//! A border around a tensor, or less of its edge.

use super::{CopyGeometry, CopyKernels, Layout};
use crate::device::{Backend, Device, Output};
use crate::dtype::Float;
use crate::ops::dims::padded;
use crate::ops::numel32;
use crate::{Error, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// With a border of `value`, as `torch.nn.functional.pad`: `padding` has two numbers a dimension,
    /// before and behind it, the LAST dimension first; where they are negative, that much is cut off.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// let device = Device::cpu()?;
    /// let images = Tensor::<f32>::zeros(&device, [8, 3, 28, 20])?;
    /// // One column on each side, and two rows below.
    /// assert_eq!(images.pad(&[1, 1, 0, 2], 0.0)?.dims(), [8, 3, 30, 22]);
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0], [3])?;
    /// assert_eq!(x.pad(&[2, -1], 9.0)?.to_vec()?, [9.0, 9.0, 1.0, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for an odd number of them, more than two a dimension, or one that cuts off more
    /// than there is.
    pub fn pad(&self, padding: &[isize], value: T) -> Result<Self> {
        const OP: &str = "pad";
        let sides = padded(OP, padding, self.shape())?;
        numel32(OP, self.shape())?;
        let (mut sizes, mut copied) = (self.dims().to_vec(), self.dims().to_vec());
        let mut starts = vec![(0, 0); sizes.len()];
        for (d, [before, behind]) in sides {
            let cut = |side: isize| side.min(0).unsigned_abs();
            let size = i128::try_from(self.dims()[d]).unwrap_or(i128::MAX);
            let new = size.saturating_add(before as i128).saturating_add(behind as i128);
            sizes[d] = usize::try_from(new).map_err(|_| {
                let message =
                    format!("{padding:?} for {}: dimension {d} would have {new}", self.shape());
                Error::shape(OP, message)
            })?;
            starts[d] = (cut(before), before.max(0) as usize);
            copied[d] = copied[d].saturating_sub(cut(before)).saturating_sub(cut(behind));
        }
        let shape = Shape::from(sizes);
        numel32(OP, &shape)?;
        let (mut from, mut to) = (Layout::of(self.shape()), Layout::of(&shape));
        for (d, (start, border)) in starts.into_iter().enumerate() {
            (from, to) = (from.from(d, start), to.from(d, border));
        }
        let geometry = CopyGeometry::new(OP, &copied, &from, &to)?;
        let device = self.device().clone();
        let mut y = device.alloc(shape.numel())?;
        if geometry.numel() < shape.numel() {
            device.fill(value, Device::view_mut(&mut y))?;
        }
        let output = Output { view: Device::view_mut(&mut y), accumulate: false };
        device.copy_strided(&geometry, self.read().view(), output)?;
        Ok(Self::from_buffer(&device, y, shape).with_copied_from(self, &geometry))
    }
}
