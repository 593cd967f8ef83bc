//! Layers with PyTorch's names, and what models are made of.
//!
//! A layer such as [`Conv2d`] is a plain description; `build` draws its parameters into an
//! [`Init`]'s arena and gives the [`Module`] that runs.
//!
//! | file | subject |
//! |---|---|
//! | `module.rs` | [`Module`], and the parameters and buffers it is made of |
//! | `forward.rs` | [`Forward`]: modules that map one tensor to one |
//! | `context.rs` | what layers share: the seed, the step, and whether they train |
//! | `init.rs` | where parameters are drawn |
//! | `layers/` | one file a layer, and one for all activations |
//! | `model.rs` | [`Model`]: a network of one's own with its parameters, mode, seed and step |
//! | `sequential.rs` | [`Sequential`] |
//! | `mask.rs` | what attention must not see |
//! | `fuse.rs` | runs of layers that one op computes |
//! | `anomaly.rs` | where numbers cease to be finite |
//! | `state_dict.rs` | values by PyTorch's keys |
//! | `places.rs` | which layers are at work, for a plan of a step |
//! | `summary.rs` | the printed table |
//! | `asl.rs` | the network of the course notebook |
#![forbid(unsafe_code)]

mod anomaly;
mod asl;
mod context;
mod forward;
mod fuse;
mod init;
mod layers;
mod mask;
mod model;
mod module;
mod places;
mod sequential;
mod state_dict;
mod summary;

pub use crate::ops::avg_pool2d::{AdaptiveAvgPool2d, AvgPool2d};
pub use crate::ops::max_pool2d::MaxPool2d;
pub use crate::ops::unary::Approximate;
pub(crate) use anomaly::first_not_finite;
pub use asl::asl;
pub use context::Context;
pub use forward::{AnyModule, Forward};
pub use init::Init;
pub use layers::*;
pub use mask::generate_square_subsequent_mask;
pub use model::Model;
pub use module::{Module, State};
pub(crate) use places::Place;
pub use sequential::Sequential;
/// `#[derive(Module)]`: see the trait [`Module`].
pub use signet_nn_derive::Module;
pub use state_dict::{StateDict, Value, Values};
pub use summary::{Summary, SummaryRow};

use crate::dtype::Float;
use crate::{Result, Shape};

/// Makes [`Layer`] from the names of the layers.
macro_rules! table_of_layers {
    ($($layer:ident),* $(,)?) => {
        /// A layer of a [`Sequential`], as a description.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Layer {
            $($layer($layer),)*
            /// Layers in a [`Sequential`] of their own.
            Sequential(Vec<Layer>),
        }

        impl Layer {
            /// PyTorch's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$layer(_) => stringify!($layer),)*
                    Self::Sequential(_) => "Sequential",
                }
            }

            /// The shape of its output for an input of shape `input`.
            ///
            /// # Errors
            /// [`Error::Shape`](crate::Error::Shape) when the input does not fit.
            pub fn output_shape(&self, input: &Shape) -> Result<Shape> {
                match self {
                    $(Self::$layer(layer) => layer.output_shape(input),)*
                    Self::Sequential(layers) => layers
                        .iter()
                        .try_fold(input.clone(), |shape, layer| layer.output_shape(&shape)),
                }
            }

            /// Draws its parameters.
            ///
            /// # Errors
            /// When a hyper-parameter is outside its range or the device fails.
            pub fn build<T: Float>(&self, init: &Init<T>) -> Result<AnyModule<T>> {
                Ok(match self {
                    $(Self::$layer(layer) => Box::new(layer.build(init)?),)*
                    Self::Sequential(layers) => Box::new(Sequential::build(init, layers)?),
                })
            }
        }

        $(impl From<$layer> for Layer {
            fn from(layer: $layer) -> Self {
                Self::$layer(layer)
            }
        })*

        impl From<Vec<Layer>> for Layer {
            fn from(layers: Vec<Layer>) -> Self {
                Self::Sequential(layers)
            }
        }
    };
}

table_of_layers! {
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    LogSoftmax,
    MaxPool2d,
    ReLU,
    ReLU6,
    Sigmoid,
    LogSigmoid,
    Tanh,
    SiLU,
    Hardsigmoid,
    Hardswish,
    GELU,
    LeakyReLU,
    ELU,
    Softmax,
    Softplus,
    Hardtanh,
}

/// A list of layers: `layers![Conv2d::new(1, 25, 3).padding(1), ReLU]`. Such a list may be one of them: it
/// is a [`Sequential`] of its own then.
#[macro_export]
macro_rules! layers {
    ($($layer:expr),* $(,)?) => {
        vec![$($crate::nn::Layer::from($layer)),*]
    };
}

/// A list of modules of any kind, for [`Sequential::of`].
#[macro_export]
macro_rules! modules {
    ($($module:expr),* $(,)?) => {
        vec![$(Box::new($module) as $crate::nn::AnyModule<_>),*]
    };
}
