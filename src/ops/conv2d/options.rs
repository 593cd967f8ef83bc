//! What a convolution is told beside its tensors.

use crate::ops::index32;
use crate::{Error, Result};

/// Zero rows and columns around an image.
///
/// A number, or `[rows, columns]`, is the same on both sides of an axis; `[[top, bottom], [left,
/// right]]` is each side's own.
///
/// ```
/// use signet::ops::conv2d::Padding;
///
/// assert_eq!(Padding::from(1), Padding::from([[1, 1], [1, 1]]));
/// assert_eq!(Padding::from([1, 2]), Padding::Sides([[1, 1], [2, 2]]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// PyTorch's `'valid'`: none.
    Valid,
    /// PyTorch's `'same'`: as many as keep an image's size at stride 1; of an odd number the one more
    /// is below and on the right.
    Same,
    /// `[[top, bottom], [left, right]]`.
    Sides([[usize; 2]; 2]),
}

impl From<usize> for Padding {
    fn from(size: usize) -> Self {
        Self::Sides([[size; 2]; 2])
    }
}

impl From<[usize; 2]> for Padding {
    fn from(sizes: [usize; 2]) -> Self {
        Self::Sides(sizes.map(|size| [size; 2]))
    }
}

impl From<[[usize; 2]; 2]> for Padding {
    fn from(sides: [[usize; 2]; 2]) -> Self {
        Self::Sides(sides)
    }
}

/// Attributes of a convolution, `[rows, columns]` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Steps between filter positions.
    pub stride: [usize; 2],
    /// Zero rows and columns around the input.
    pub padding: Padding,
    /// Distance between filter taps.
    pub dilation: [usize; 2],
    /// Equal parts of the channels: each part of the output sees its part of the input alone. As many
    /// as channels of the input is a depthwise convolution.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: [1, 1], padding: Padding::Valid, dilation: [1, 1], groups: 1 }
    }
}

impl Conv2dOptions {
    /// The padding for a filter of `kernel_size`, `[[top, bottom], [left, right]]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for [`Padding::Same`] with a stride, as in PyTorch, and [`Error::Shape`] for
    /// sizes beyond what kernels index.
    pub fn sides(&self, kernel_size: [usize; 2]) -> Result<[[usize; 2]; 2]> {
        const OP: &str = "conv2d";
        match self.padding {
            Padding::Valid => Ok([[0; 2]; 2]),
            Padding::Sides(sides) => Ok(sides),
            Padding::Same if self.stride != [1, 1] => {
                let message = format!(
                    "'same' is for a stride of 1, got {:?}: give the padding as numbers",
                    self.stride
                );
                Err(Error::argument("padding", message))
            }
            Padding::Same => {
                let mut sides = [[0; 2]; 2];
                for axis in 0..2 {
                    let (kernel, dilation) = (kernel_size[axis], self.dilation[axis]);
                    let [taps, dilation] = [index32(OP, kernel)?, index32(OP, dilation)?];
                    let total = taps.saturating_sub(1) as usize * dilation as usize;
                    sides[axis] = [total / 2, total - total / 2];
                }
                Ok(sides)
            }
        }
    }
}
