use crate::dtype::Float;
use crate::nn::{Forward, Init, Module, State};
use crate::ops::conv2d::{Conv2dGeometry, Conv2dOptions, Padding, conv2d};
use crate::ops::{Size2, of_one_image};
use crate::{Error, Result, Shape, Tensor};

/// `torch.nn.Conv2d`: weight and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in being
/// `in_channels / groups * KH * KW` (kaiming_uniform with a = sqrt 5).
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{Conv2d, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![Conv2d::new(1, 25, 3).padding(1)])?;
/// let x = Tensor::zeros(&device, [8, 1, 28, 28])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 25, 28, 28]);
/// # Ok(()) }
/// ```
///
/// A depthwise convolution that keeps the image's size, and a pointwise one:
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::ops::conv2d::Padding;
/// # use signet::{Device, Tensor, layers};
/// # use signet::nn::{Conv2d, Forward, Sequential};
/// # let device = Device::cpu()?;
/// let depthwise = Conv2d::new(32, 32, 3).padding(Padding::Same).groups(32).bias(false);
/// let layers = layers![depthwise, Conv2d::new(32, 64, 1)];
/// let model = Sequential::<f32>::new(&device, 0, layers)?;
/// assert_eq!(model.forward(&Tensor::zeros(&device, [8, 32, 14, 14])?)?.dims(), [8, 64, 14, 14]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows and columns of a filter.
    pub kernel_size: [usize; 2],
    /// Stride, padding, dilation and groups.
    pub options: Conv2dOptions,
    /// Whether a bias is learned.
    pub bias: bool,
}

impl Conv2d {
    /// A convolution with stride 1, no padding and a bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Size2>) -> Self {
        let kernel_size = kernel_size.into().0;
        Self {
            in_channels,
            out_channels,
            kernel_size,
            options: Conv2dOptions::default(),
            bias: true,
        }
    }

    /// Steps between filter positions.
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        self.options.stride = stride.into().0;
        self
    }

    /// Zero rows and columns around the input: a number, `[rows, columns]`, `[[top, bottom], [left,
    /// right]]`, [`Padding::Same`] or [`Padding::Valid`].
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.options.padding = padding.into();
        self
    }

    /// Distance between filter taps.
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Self {
        self.options.dilation = dilation.into().0;
        self
    }

    /// Equal parts of the channels, of which each part of the output sees its own alone; as many as
    /// `in_channels` is a depthwise convolution.
    pub fn groups(mut self, groups: usize) -> Self {
        self.options.groups = groups;
        self
    }

    /// Whether a bias is learned.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// `[out_channels, in_channels / groups, KH, KW]`.
    fn weight_shape(&self) -> Result<Shape> {
        let (groups, [kh, kw]) = (self.options.groups, self.kernel_size);
        let channels = [self.in_channels, self.out_channels];
        match channels.map(|channels| channels.checked_rem(groups)) {
            [Some(0), Some(0)] => {}
            _ => {
                let message = format!(
                    "must be at least 1 and divide in_channels and out_channels, got {groups} for {channels:?}"
                );
                return Err(Error::argument("groups", message));
            }
        }
        Ok(Shape::from([self.out_channels, self.in_channels / groups, kh, kw]))
    }

    /// Draws the parameters.
    ///
    /// # Errors
    /// [`Error::Shape`] for more of them than kernels index, [`Error::Argument`] for groups that do not
    /// divide the channels, and when the device fails.
    pub fn build<T: Float>(&self, init: &Init<T>) -> Result<Conv2dModule<T>> {
        let shape = self.weight_shape()?;
        let fan_in = Shape::from(&shape.dims()[1..]).numel();
        let weight = init.fan_in(fan_in, shape)?;
        let bias = self.bias.then(|| init.fan_in(fan_in, [self.out_channels])).transpose()?;
        Ok(Conv2dModule { weight, bias, options: self.options })
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        of_one_image(input, |input| {
            let weight = self.weight_shape()?;
            Ok(Conv2dGeometry::new(input, &weight, &self.options)?.output_shape())
        })
    }
}

/// A [`Conv2d`] with its parameters.
#[derive(Debug)]
pub struct Conv2dModule<T: Float = f32> {
    /// `[out_channels, in_channels / groups, KH, KW]`.
    pub weight: Tensor<T>,
    /// `[out_channels]`.
    pub bias: Option<Tensor<T>>,
    /// Stride, padding, dilation and groups.
    pub options: Conv2dOptions,
}

impl<T: Float> Module<T> for Conv2dModule<T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        State::parameters([("weight", Some(&self.weight)), ("bias", self.bias.as_ref())])
    }
}

impl<T: Float> Forward<T> for Conv2dModule<T> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        conv2d(input, &self.weight, self.bias.as_ref(), &self.options)
    }
}
