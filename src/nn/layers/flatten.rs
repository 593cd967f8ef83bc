use crate::dtype::Float;
use crate::nn::{Forward, Init, Module};
use crate::ops::flatten::flattened;
use crate::{Result, Shape, Tensor};

/// `torch.nn.Flatten`: `[N, ..]` becomes `[N, features]`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{Flatten, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![Flatten])?;
/// let x = Tensor::zeros(&device, [8, 75, 3, 3])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 675]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flatten;

impl Flatten {
    /// Has no parameters to draw.
    ///
    /// # Errors
    /// Never.
    pub fn build<T: Float>(&self, _: &Init<T>) -> Result<Self> {
        Ok(*self)
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        flattened(input, 1)
    }
}

impl<T: Float> Module<T> for Flatten {}

impl<T: Float> Forward<T> for Flatten {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        input.flatten(1)
    }
}
