//! Layers with PyTorch's names, and what models are made of.
//!
//! A layer such as [`Conv2d`] is a plain description; `build` draws its parameters into an
//! [`Init`]'s arena and gives the [`Module`] that runs.
//!
//! | file | subject |
//! |---|---|
//! | `module.rs` | [`Module`], and the parameters and buffers it is made of |
//! | `context.rs` | what layers share: the seed, the step, and whether they train |
//! | `init.rs` | where parameters are drawn |
//! | `layers/` | one file a layer |
//! | `sequential.rs` | [`Sequential`] |
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
mod fuse;
mod init;
mod layers;
mod module;
mod places;
mod sequential;
mod state_dict;
mod summary;

pub use crate::ops::avg_pool2d::{AdaptiveAvgPool2d, AvgPool2d};
pub use crate::ops::max_pool2d::MaxPool2d;
pub(crate) use anomaly::first_not_finite;
pub use asl::asl;
pub use context::Context;
pub use init::Init;
pub use layers::*;
pub use module::{Module, State};
pub(crate) use places::Place;
pub use sequential::Sequential;
pub use state_dict::{StateDict, Value, Values};
pub use summary::{Summary, SummaryRow};

use crate::dtype::Float;
use crate::{Result, Shape, Tensor};

/// Makes [`Layer`] and [`LayerModule`] from the names of the layers and of their modules.
macro_rules! table_of_layers {
    ($($layer:ident => $module:ty),* $(,)?) => {
        /// A layer of a [`Sequential`], as a description.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Layer {
            $($layer($layer),)*
        }

        impl Layer {
            /// PyTorch's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$layer(_) => stringify!($layer),)*
                }
            }

            /// The shape of its output for an input of shape `input`.
            ///
            /// # Errors
            /// [`Error::Shape`](crate::Error::Shape) when the input does not fit.
            pub fn output_shape(&self, input: &Shape) -> Result<Shape> {
                match self {
                    $(Self::$layer(layer) => layer.output_shape(input),)*
                }
            }

            /// Draws its parameters.
            ///
            /// # Errors
            /// When a hyper-parameter is outside its range or the device fails.
            pub fn build<T: Float>(
                &self,
                init: &Init<T>,
            ) -> Result<LayerModule<T>> {
                match self {
                    $(Self::$layer(layer) => Ok(LayerModule::$layer(layer.build(init)?)),)*
                }
            }
        }

        /// A layer of a [`Sequential`] with its parameters.
        #[derive(Debug)]
        #[allow(missing_docs)]
        pub enum LayerModule<T: Float = f32> {
            $($layer($module),)*
        }

        impl<T: Float> Module<T> for LayerModule<T> {
            fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
                match self {
                    $(Self::$layer(module) => Module::<T>::forward(module, input),)*
                }
            }

            fn state(&self) -> Vec<(String, State<T>)> {
                match self {
                    $(Self::$layer(module) => module.state(),)*
                }
            }
        }

        $(impl From<$layer> for Layer {
            fn from(layer: $layer) -> Self {
                Self::$layer(layer)
            }
        })*
    };
}

table_of_layers! {
    AdaptiveAvgPool2d => AdaptiveAvgPool2d,
    AvgPool2d => AvgPool2d,
    BatchNorm2d => BatchNorm2dModule<T>,
    Conv2d => Conv2dModule<T>,
    Dropout => DropoutModule,
    Flatten => Flatten,
    Linear => LinearModule<T>,
    MaxPool2d => MaxPool2d,
    ReLU => ReLU,
}

/// A list of layers: `layers![Conv2d::new(1, 25, 3).padding(1), ReLU]`.
#[macro_export]
macro_rules! layers {
    ($($layer:expr),* $(,)?) => {
        vec![$($crate::nn::Layer::from($layer)),*]
    };
}
