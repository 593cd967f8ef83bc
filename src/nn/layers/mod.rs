//! The layers, one file each: a description, and the module with its parameters.

mod avg_pool2d;
mod batch_norm2d;
mod conv2d;
mod dropout;
mod flatten;
mod linear;
mod max_pool2d;
mod relu;

pub use batch_norm2d::{BatchNorm2d, BatchNorm2dModule};
pub use conv2d::{Conv2d, Conv2dModule};
pub use dropout::{Dropout, DropoutModule};
pub use flatten::Flatten;
pub use linear::{Linear, LinearModule};
pub use relu::ReLU;
