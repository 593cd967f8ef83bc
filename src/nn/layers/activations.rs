//! The layers that are a function of each element: a line each. They have no parameters to draw, and the
//! shape stays.

use crate::dtype::Float;
use crate::nn::{Forward, Init, Module};
use crate::ops::unary::Approximate;
use crate::{Result, Shape, Tensor};

/// Makes the layers: plain ones, and those with settings, in PyTorch's order and with its defaults.
macro_rules! activations {
    (
        $x:ident $layer:ident:
        plain {
            $($(#[$doc:meta])* $name:ident: $call:expr;)*
        }
        with_settings {
            $(
                $(#[$doc_of_other:meta])*
                $other:ident ($($(#[$of:meta])* $setting:ident: $type:ty = $default:expr),*): $call_of_other:expr;
            )*
        }
    ) => {
        $(
            $(#[$doc])*
            ///
            /// ```
            /// # fn main() -> signet::Result<()> {
            /// use signet::{Device, Tensor, layers};
            #[doc = concat!("use signet::nn::{", stringify!($name), ", Forward, Sequential};")]
            ///
            /// let device = Device::cpu()?;
            #[doc = concat!("let layers = layers![", stringify!($name), "];")]
            /// let model = Sequential::<f32>::new(&device, 0, layers)?;
            /// let x = Tensor::zeros(&device, [8, 512])?;
            /// assert_eq!(model.forward(&x)?.dims(), [8, 512]);
            /// # Ok(()) }
            /// ```
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            pub struct $name;

            activations!(layer $name, $x $layer, $call);
        )*

        $(
            $(#[$doc_of_other])*
            ///
            /// ```
            /// # fn main() -> signet::Result<()> {
            /// use signet::{Device, Tensor, layers};
            #[doc = concat!("use signet::nn::{", stringify!($other), ", Forward, Sequential};")]
            ///
            /// let device = Device::cpu()?;
            #[doc = concat!("let layers = layers![", stringify!($other), "::default()];")]
            /// let model = Sequential::<f32>::new(&device, 0, layers)?;
            /// let x = Tensor::zeros(&device, [8, 512])?;
            /// assert_eq!(model.forward(&x)?.dims(), [8, 512]);
            /// # Ok(()) }
            /// ```
            #[derive(Debug, Clone, Copy, PartialEq)]
            pub struct $other {
                $($(#[$of])* pub $setting: $type,)*
            }

            impl $other {
                #[doc = concat!("[`", stringify!($other), "`] with these settings.")]
                pub fn new($($setting: $type),*) -> Self {
                    Self { $($setting),* }
                }
            }

            impl Default for $other {
                fn default() -> Self {
                    Self { $($setting: $default),* }
                }
            }

            activations!(layer $other, $x $layer, $call_of_other);
        )*
    };
    (layer $name:ident, $x:ident $layer:ident, $call:expr) => {
        impl $name {
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

        impl<T: Float> Module<T> for $name {}

        impl<T: Float> Forward<T> for $name {
            fn forward(&self, $x: &Tensor<T>) -> Result<Tensor<T>> {
                let $layer = self;
                // Plain layers have no settings to ask for.
                let _ = $layer;
                $call
            }
        }
    };
}

activations! { x layer:
    plain {
        /// `torch.nn.ReLU`: `max(x, 0)`.
        ReLU: x.relu();
        /// `torch.nn.ReLU6`: x between 0 and 6.
        ReLU6: x.hardtanh(0.0, 6.0);
        /// `torch.nn.Sigmoid`: `1 / (1 + e^-x)`.
        Sigmoid: x.sigmoid();
        /// `torch.nn.LogSigmoid`: `log(1 / (1 + e^-x))`.
        LogSigmoid: x.logsigmoid();
        /// `torch.nn.Tanh`: the hyperbolic tangent.
        Tanh: x.tanh();
        /// `torch.nn.SiLU`: `x sigmoid(x)`.
        SiLU: x.silu();
        /// `torch.nn.Hardsigmoid`: `x / 6 + 1 / 2` between 0 and 1.
        Hardsigmoid: x.hardsigmoid();
        /// `torch.nn.Hardswish`: `x hardsigmoid(x)`.
        Hardswish: x.hardswish();
    }
    with_settings {
        /// `torch.nn.GELU`: x times the share of a normal distribution that is below x.
        GELU(
            /// How it is computed.
            approximate: Approximate = Approximate::None
        ): x.gelu(layer.approximate);
        /// `torch.nn.LeakyReLU`: x, or a share of it where it is negative.
        LeakyReLU(
            /// The share.
            negative_slope: f64 = 0.01
        ): x.leaky_relu(layer.negative_slope);
        /// `torch.nn.ELU`: x, or `alpha (e^x - 1)` where it is negative.
        ELU(
            /// Minus the lowest value.
            alpha: f64 = 1.0
        ): x.elu(layer.alpha);
        /// `torch.nn.Softplus`: `log(1 + e^(beta x)) / beta`.
        Softplus(
            /// How sharp the bend is.
            beta: f64 = 1.0,
            /// Where `beta x` is more, x itself.
            threshold: f64 = 20.0
        ): x.softplus(layer.beta, layer.threshold);
        /// `torch.nn.Hardtanh`: x between two bounds.
        Hardtanh(
            /// The lower bound.
            min_val: f64 = -1.0,
            /// The upper bound.
            max_val: f64 = 1.0
        ): x.hardtanh(layer.min_val, layer.max_val);
    }
}
