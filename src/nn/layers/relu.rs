use crate::dtype::Float;
use crate::nn::{Forward, Init, Module};
use crate::{Result, Shape, Tensor};

/// `torch.nn.ReLU`: `max(x, 0)`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{ReLU, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![ReLU])?;
/// let x = Tensor::zeros(&device, [8, 512])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 512]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReLU;

impl ReLU {
    /// Has no parameters to draw.
    ///
    /// # Errors
    /// Never.
    pub fn build<T: Float>(&self, _: &Init<T>) -> Result<Self> {
        Ok(*self)
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        Ok(input.clone())
    }
}

impl<T: Float> Module<T> for ReLU {}

impl<T: Float> Forward<T> for ReLU {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        input.relu()
    }
}
