use crate::ops::Size2;

/// `torch.nn.MaxPool2d`; the stride is the kernel size unless it is set.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{Forward, MaxPool2d, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![MaxPool2d::new(2).stride(2)])?;
/// let x = Tensor::zeros(&device, [8, 25, 28, 28])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 25, 14, 14]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Rows and columns of a window.
    pub kernel_size: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Rows and columns of minus infinity around the input, at most half a window.
    pub padding: [usize; 2],
    /// Distance between the places of a window.
    pub dilation: [usize; 2],
    /// Whether a last window that sticks out counts.
    pub ceil_mode: bool,
}

impl MaxPool2d {
    /// Windows side by side.
    pub fn new(kernel_size: impl Into<Size2>) -> Self {
        let Size2(kernel_size) = kernel_size.into();
        Self {
            kernel_size,
            stride: kernel_size,
            padding: [0, 0],
            dilation: [1, 1],
            ceil_mode: false,
        }
    }

    /// Steps between windows.
    pub fn stride(self, stride: impl Into<Size2>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// Rows and columns of minus infinity around the input.
    pub fn padding(self, padding: impl Into<Size2>) -> Self {
        Self { padding: padding.into().0, ..self }
    }

    /// Distance between the places of a window.
    pub fn dilation(self, dilation: impl Into<Size2>) -> Self {
        Self { dilation: dilation.into().0, ..self }
    }

    /// Whether a last window that sticks out counts.
    pub fn ceil_mode(self, ceil_mode: bool) -> Self {
        Self { ceil_mode, ..self }
    }
}
