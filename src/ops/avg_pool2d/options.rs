use crate::ops::Size2;

/// `torch.nn.AvgPool2d`; the stride is the kernel size unless it is set.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{AvgPool2d, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![AvgPool2d::new(3).stride(2).padding(1)])?;
/// let x = Tensor::zeros(&device, [8, 25, 28, 28])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 25, 14, 14]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Rows and columns of a window.
    pub kernel_size: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Rows and columns of zeros around the input, at most half a window.
    pub padding: [usize; 2],
    /// Whether a last window that sticks out counts.
    pub ceil_mode: bool,
    /// Whether the padding counts among what is averaged.
    pub count_include_pad: bool,
    /// What sums are divided by instead of the elements of their window.
    pub divisor_override: Option<usize>,
}

impl AvgPool2d {
    /// Windows side by side.
    pub fn new(kernel_size: impl Into<Size2>) -> Self {
        let Size2(kernel_size) = kernel_size.into();
        Self {
            kernel_size,
            stride: kernel_size,
            padding: [0, 0],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }

    /// Steps between windows.
    pub fn stride(self, stride: impl Into<Size2>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// Rows and columns of zeros around the input.
    pub fn padding(self, padding: impl Into<Size2>) -> Self {
        Self { padding: padding.into().0, ..self }
    }

    /// Whether a last window that sticks out counts.
    pub fn ceil_mode(self, ceil_mode: bool) -> Self {
        Self { ceil_mode, ..self }
    }

    /// Whether the padding counts among what is averaged.
    pub fn count_include_pad(self, count_include_pad: bool) -> Self {
        Self { count_include_pad, ..self }
    }

    /// What sums are divided by instead of the elements of their window.
    pub fn divisor_override(self, divisor: impl Into<Option<usize>>) -> Self {
        Self { divisor_override: divisor.into(), ..self }
    }
}

/// `torch.nn.AdaptiveAvgPool2d`: averages over windows that make an output of this size.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{AdaptiveAvgPool2d, Flatten, Linear, Forward, Sequential};
///
/// // The end of a network for images of any size: each channel's mean.
/// let device = Device::cpu()?;
/// let layers = layers![AdaptiveAvgPool2d::new(1), Flatten, Linear::new(25, 10)];
/// let model = Sequential::<f32>::new(&device, 0, layers)?;
/// for size in [7, 12] {
///     let x = Tensor::zeros(&device, [8, 25, size, size])?;
///     assert_eq!(model.forward(&x)?.dims(), [8, 10]);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveAvgPool2d {
    /// Rows and columns of the output; `None` as many as the input has.
    pub output_size: [Option<usize>; 2],
}

impl AdaptiveAvgPool2d {
    /// An output of so many rows and columns: a number for both, `[rows, columns]`, or `[Some(rows),
    /// None]`, which keeps the columns.
    pub fn new(output_size: impl Into<OutputSize>) -> Self {
        Self { output_size: output_size.into().0 }
    }
}

/// Rows and columns of an output; `None` as many as the input has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputSize(pub [Option<usize>; 2]);

impl From<usize> for OutputSize {
    fn from(size: usize) -> Self {
        Self([Some(size); 2])
    }
}

impl From<[usize; 2]> for OutputSize {
    fn from(sizes: [usize; 2]) -> Self {
        Self(sizes.map(Some))
    }
}

impl From<[Option<usize>; 2]> for OutputSize {
    fn from(sizes: [Option<usize>; 2]) -> Self {
        Self(sizes)
    }
}
