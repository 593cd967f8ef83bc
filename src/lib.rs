//! A deep-learning engine from scratch.
#![warn(missing_docs)]

mod arena;
pub mod data;
pub mod device;
pub mod dtype;
mod error;
mod gradcheck;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod rng;
mod shape;
mod tape;
mod tensor;

pub use arena::{Arena, Parameter};
pub use device::{Cpu, Cuda, Device};
pub use error::{Error, Result};
pub use gradcheck::{GradcheckOptions, Worst, gradcheck};
pub use shape::Shape;
pub use tape::{Gradients, NodeId, Tape, Watched};
pub use tensor::Tensor;
