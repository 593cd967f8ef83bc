use crate::dtype::Float;
use crate::nn::{Forward, Init, Module, State};
use crate::ops::linear::linear;
use crate::{Error, Result, Shape, Tensor};

/// `torch.nn.Linear`: `y = x W^T + b`, weight and bias from U(-1/sqrt(in), 1/sqrt(in)).
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{Linear, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![Linear::new(675, 512)])?;
/// let x = Tensor::zeros(&device, [8, 675])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 512]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Size of each input row.
    pub in_features: usize,
    /// Size of each output row.
    pub out_features: usize,
    /// Whether a bias is learned.
    pub bias: bool,
}

impl Linear {
    /// A fully connected layer with a bias.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Self { in_features, out_features, bias: true }
    }

    /// Whether a bias is learned.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Draws the parameters.
    ///
    /// # Errors
    /// [`Error::Shape`] for more of them than kernels index, and when the device fails.
    pub fn build<T: Float>(&self, init: &Init<T>) -> Result<LinearModule<T>> {
        let fan_in = self.in_features;
        let weight = init.fan_in(fan_in, [self.out_features, fan_in])?;
        let bias = self.bias.then(|| init.fan_in(fan_in, [self.out_features])).transpose()?;
        Ok(LinearModule { weight, bias })
    }

    /// `[.., in_features]` becomes `[.., out_features]`.
    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        match input.dims() {
            [leading @ .., features] if *features == self.in_features => {
                Ok(Shape::from([leading, &[self.out_features]].concat()))
            }
            _ => {
                let message = format!("input {input} for in_features = {}", self.in_features);
                Err(Error::shape("linear", message))
            }
        }
    }
}

/// A [`Linear`] with its parameters.
#[derive(Debug)]
pub struct LinearModule<T: Float = f32> {
    /// `[out_features, in_features]`.
    pub weight: Tensor<T>,
    /// `[out_features]`.
    pub bias: Option<Tensor<T>>,
}

impl<T: Float> Module<T> for LinearModule<T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        State::parameters([("weight", Some(&self.weight)), ("bias", self.bias.as_ref())])
    }
}

impl<T: Float> Forward<T> for LinearModule<T> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        linear(input, &self.weight, self.bias.as_ref())
    }
}
