//! The layers, one file each: a description, and the module with its parameters. Those that are a
//! function of each element are lines of `activations.rs`.

mod activations;
mod avg_pool2d;
mod batch_norm2d;
mod conv2d;
mod dropout;
mod embedding;
mod flatten;
mod group_norm;
mod layer_norm;
mod linear;
mod max_pool2d;
mod softmax;

pub use activations::*;
pub use batch_norm2d::{BatchNorm2d, BatchNorm2dModule};
pub use conv2d::{Conv2d, Conv2dModule};
pub use dropout::{Dropout, DropoutModule};
pub use embedding::{Embedding, EmbeddingModule};
pub use flatten::Flatten;
pub use group_norm::{GroupNorm, GroupNormModule};
pub use layer_norm::{LayerNorm, LayerNormModule};
pub use linear::{Linear, LinearModule};
pub use softmax::{LogSoftmax, Softmax};
