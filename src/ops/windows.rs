//! Windows of a pooling along one axis.

use super::index32;
use crate::{Error, Result, Shape};

/// What a pooling is told of one axis.
pub(crate) struct Windows {
    /// Places of a window.
    pub kernel: usize,
    /// Steps between windows.
    pub stride: usize,
    /// Places before and behind the input.
    pub padding: usize,
    /// Distance between the places of a window.
    pub dilation: usize,
    /// Whether a last window that sticks out counts.
    pub ceil_mode: bool,
}

impl Windows {
    /// How many windows `size` elements have, an axis of `input`.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is none, as in PyTorch, and for more than kernels index.
    pub fn count(&self, op: &'static str, input: &Shape, size: usize) -> Result<usize> {
        let Self { kernel, stride, padding, dilation, ceil_mode } = *self;
        if size == 0 || kernel == 0 || stride == 0 || dilation == 0 || padding > kernel / 2 {
            let message = format!(
                "input {input}, kernel_size {kernel}, stride {stride}, padding {padding}, dilation {dilation}: sizes start at 1 and padding is at most half the kernel"
            );
            return Err(Error::shape(op, message));
        }
        for value in [size, kernel, stride, dilation] {
            index32(op, value)?;
        }
        let (padded, reach) = (size + 2 * padding, (kernel - 1) * dilation + 1);
        index32(op, padded)?;
        if padded < reach {
            let message = format!(
                "input {input}: a window that reaches over {reach} does not fit into {size} + 2 * {padding}"
            );
            return Err(Error::shape(op, message));
        }
        let span = padded - reach;
        let count = 1 + if ceil_mode { span.div_ceil(stride) } else { span / stride };
        // PyTorch drops a last window that would start in the padding on the right.
        let in_padding = ceil_mode && (count - 1) * stride >= size + padding;
        Ok(count - usize::from(in_padding))
    }
}
