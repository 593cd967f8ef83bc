//! Borders made of the tensor's own elements.

use super::{IndexGeometry, picked};
use crate::dtype::Float;
use crate::ops::dims::padded;
use crate::{Error, Result, Shape, Tensor};
use std::ops::Range;

/// What a border of [`Tensor::pad_mode`] is made of, by the names of `torch.nn.functional.pad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    /// What lies behind the edge as in a mirror, without the edge: `c b | a b c | b a`.
    Reflect,
    /// The edge again and again: `a a | a b c | c c`.
    Replicate,
    /// The other side, of what is not cut off: `b c | a b c | a b`.
    Circular,
}

impl PadMode {
    /// The element of `size`, at least one, that lies at `at`, which may be outside; `kept` are not cut off.
    fn element(self, at: isize, size: isize, kept: &Range<isize>) -> isize {
        match self {
            Self::Replicate => at.clamp(0, size - 1),
            Self::Circular => kept.start + (at - kept.start).rem_euclid(kept.end - kept.start),
            Self::Reflect => {
                let around = at.rem_euclid((2 * (size - 1)).max(1));
                around.min(2 * (size - 1) - around)
            }
        }
    }

    /// How wide a border may be along a dimension of `size` elements.
    fn widest(self, size: isize, kept: &Range<isize>) -> isize {
        match self {
            Self::Reflect => size - 1,
            Self::Replicate if size > 0 => isize::MAX,
            Self::Replicate => 0,
            Self::Circular => kept.end - kept.start,
        }
    }
}

impl<T: Float> Tensor<T> {
    /// With a border of its own elements, as `torch.nn.functional.pad(x, padding, mode)`: `padding` is that of
    /// [`Tensor::pad`], two numbers a dimension, the LAST dimension first. A gradient flows back to where an
    /// element of the border came from.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Tensor};
    /// use signet::ops::index::PadMode;
    /// let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0], [1, 3])?;
    /// assert_eq!(x.pad_mode(&[2, 1], PadMode::Reflect)?.to_vec()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// assert_eq!(x.pad_mode(&[1, 1], PadMode::Circular)?.to_vec()?, [3.0, 1.0, 2.0, 3.0, 1.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for an odd number of them, more than two a dimension, one that cuts off more than there
    /// is, and a border wider than there are elements to make it of.
    pub fn pad_mode(&self, padding: &[isize], mode: PadMode) -> Result<Self> {
        const OP: &str = "pad_mode";
        let mut output = self.clone();
        for (dim, [before, behind]) in padded(OP, padding, self.shape())? {
            let size = self.dims()[dim] as isize;
            let kept = before.min(0).saturating_neg()..size.saturating_add(behind.min(0));
            let fits = |side: isize| side <= 0 || side <= mode.widest(size, &kept);
            let count = size.checked_add(before).and_then(|n| n.checked_add(behind));
            let count = count.and_then(|n| usize::try_from(n).ok());
            let (true, true, Some(count)) = (fits(before), fits(behind), count) else {
                let message = format!(
                    "{padding:?} for {}: dimension {dim} has {size} elements, too few for {mode:?}",
                    self.shape()
                );
                return Err(Error::shape(OP, message));
            };
            if (before, behind) == (0, 0) {
                continue;
            }
            let mut sizes = output.dims().to_vec();
            sizes[dim] = count;
            let shape = Shape::from(sizes);
            let geometry = IndexGeometry::new(OP, output.shape(), &shape, dim, true)?;
            // Within the size, which kernels can index.
            let element = |at| mode.element(at as isize - before, size, &kept) as i32;
            let index: Vec<_> = (0..count).map(element).collect();
            let index = Tensor::from_slice(self.device(), &index, [count])?;
            output = picked(OP, geometry, &output, &index, None, shape)?;
        }
        Ok(output)
    }
}
