use crate::device::Device;
use crate::dtype::Float;
use crate::nn::{Init, Module};
use crate::ops::flatten::flattened;
use crate::{Result, Shape, Tensor};

/// `torch.nn.Flatten`: `[N, ..]` becomes `[N, features]`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Cpu, Tensor, layers};
/// use signet::nn::{Flatten, Module, Sequential};
///
/// let device = Cpu::new(None)?;
/// let model = Sequential::<Cpu, f32>::new(&device, 0, layers![Flatten])?;
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
    pub fn build<D: Device<T>, T: Float>(&self, _: &Init<D, T>) -> Result<Self> {
        Ok(*self)
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        flattened(input, 1)
    }
}

impl<D: Device<T>, T: Float> Module<D, T> for Flatten {
    fn forward(&self, input: &Tensor<D, T>) -> Result<Tensor<D, T>> {
        input.flatten(1)
    }
}
