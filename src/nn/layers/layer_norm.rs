use crate::dtype::Float;
use crate::nn::{Forward, Init, Module, State};
use crate::ops::layer_norm::{check_eps, layer_norm, rows_before};
use crate::ops::numel32;
use crate::{Result, Shape, Tensor};

/// `torch.nn.LayerNorm`: normalises the last dimensions.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{LayerNorm, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![LayerNorm::new([64])])?;
/// let x = Tensor::zeros(&device, [8, 10, 64])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 10, 64]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// The dimensions that are normalised, the input's last.
    pub normalized_shape: Shape,
    /// Added to the variance.
    pub eps: f64,
    /// Whether a scale and a shift are learned.
    pub elementwise_affine: bool,
    /// Whether a shift is learned beside the scale; without `elementwise_affine`, neither is.
    pub bias: bool,
}

impl LayerNorm {
    /// Layer normalisation with eps 1e-5, a scale and a shift.
    pub fn new(normalized_shape: impl Into<Shape>) -> Self {
        let normalized_shape = normalized_shape.into();
        Self { normalized_shape, eps: 1e-5, elementwise_affine: true, bias: true }
    }

    /// Added to the variance.
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Whether a scale and a shift are learned.
    pub fn elementwise_affine(self, elementwise_affine: bool) -> Self {
        Self { elementwise_affine, ..self }
    }

    /// Whether a shift is learned beside the scale; without [`LayerNorm::elementwise_affine`],
    /// neither is.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// The scale starts at 1, the shift at 0.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for an eps that is negative or no number,
    /// [`Error::Shape`](crate::Error::Shape) for more elements than kernels index, and when the
    /// device fails.
    pub fn build<T: Float>(&self, init: &Init<T>) -> Result<LayerNormModule<T>> {
        check_eps(self.eps)?;
        let shape = &self.normalized_shape;
        numel32("layer_norm", shape)?;
        let learned = |is: bool, value| is.then(|| init.constant(value, shape.clone())).transpose();
        Ok(LayerNormModule {
            weight: learned(self.elementwise_affine, 1.0)?,
            bias: learned(self.elementwise_affine && self.bias, 0.0)?,
            normalized_shape: shape.clone(),
            eps: self.eps,
        })
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        rows_before(input, &self.normalized_shape)?;
        Ok(input.clone())
    }
}

/// A [`LayerNorm`] with its parameters, of its `normalized_shape` each.
#[derive(Debug)]
pub struct LayerNormModule<T: Float = f32> {
    /// The learned scale.
    pub weight: Option<Tensor<T>>,
    /// The learned shift.
    pub bias: Option<Tensor<T>>,
    normalized_shape: Shape,
    eps: f64,
}

impl<T: Float> Module<T> for LayerNormModule<T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        State::parameters([("weight", self.weight.as_ref()), ("bias", self.bias.as_ref())])
    }
}

impl<T: Float> Forward<T> for LayerNormModule<T> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        let (weight, bias) = (self.weight.as_ref(), self.bias.as_ref());
        layer_norm(input, self.normalized_shape.clone(), weight, bias, self.eps)
    }
}
