use crate::dtype::Float;
use crate::nn::{Forward, Init, Module, State};
use crate::ops::index32;
use crate::ops::layer_norm::{check_eps, check_groups, group_norm};
use crate::{Error, Result, Shape, Tensor};

/// `torch.nn.GroupNorm`: normalises groups of channels of each image.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{GroupNorm, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![GroupNorm::new(3, 6)])?;
/// let x = Tensor::zeros(&device, [8, 6, 14, 14])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 6, 14, 14]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GroupNorm {
    /// Groups into which the channels are dealt.
    pub num_groups: usize,
    /// Channels of the input.
    pub num_channels: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether a scale and a shift are learned.
    pub affine: bool,
}

impl GroupNorm {
    /// Group normalisation with eps 1e-5, a scale and a shift.
    pub fn new(num_groups: usize, num_channels: usize) -> Self {
        Self { num_groups, num_channels, eps: 1e-5, affine: true }
    }

    /// Added to the variance.
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Whether a scale and a shift are learned.
    pub fn affine(self, affine: bool) -> Self {
        Self { affine, ..self }
    }

    /// The scale starts at 1, the shift at 0.
    ///
    /// # Errors
    /// [`Error::Argument`] for no groups and an eps that is negative or no number, [`Error::Shape`]
    /// for channels that are no multiple of the groups or more than kernels index, and when the
    /// device fails.
    pub fn build<T: Float>(&self, init: &Init<T>) -> Result<GroupNormModule<T>> {
        check_eps(self.eps)?;
        check_groups(self.num_groups, self.num_channels)?;
        index32("group_norm", self.num_channels)?;
        let constant = |value| init.constant(value, [self.num_channels]);
        Ok(GroupNormModule {
            weight: self.affine.then(|| constant(1.0)).transpose()?,
            bias: self.affine.then(|| constant(0.0)).transpose()?,
            num_groups: self.num_groups,
            eps: self.eps,
        })
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        match input.dims() {
            [_, channels, ..] if *channels == self.num_channels => Ok(input.clone()),
            _ => {
                let message = format!("input {input} for num_channels = {}", self.num_channels);
                Err(Error::shape("group_norm", message))
            }
        }
    }
}

/// A [`GroupNorm`] with its parameters, `[num_channels]` each.
#[derive(Debug)]
pub struct GroupNormModule<T: Float = f32> {
    /// The learned scale.
    pub weight: Option<Tensor<T>>,
    /// The learned shift.
    pub bias: Option<Tensor<T>>,
    num_groups: usize,
    eps: f64,
}

impl<T: Float> Module<T> for GroupNormModule<T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        State::parameters([("weight", self.weight.as_ref()), ("bias", self.bias.as_ref())])
    }
}

impl<T: Float> Forward<T> for GroupNormModule<T> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        group_norm(input, self.num_groups, self.weight.as_ref(), self.bias.as_ref(), self.eps)
    }
}
