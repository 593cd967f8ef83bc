//! A deep-learning engine from scratch: tensors, a tape, and devices whose kernels are our own.
//!
//! ```
//! use signet::{Device, Tensor, layers};
//! use signet::nn::{Forward, Linear, ReLU, Sequential};
//! use signet::ops::cross_entropy::cross_entropy;
//! use signet::optim::{Adam, AdamOptions, Optimizer};
//!
//! # fn main() -> signet::Result<()> {
//! let device = Device::cpu()?;
//! let layers = layers![Linear::new(2, 16), ReLU, Linear::new(16, 2)];
//! let model = Sequential::new(&device, 0, layers)?;
//! let mut optimizer = Adam::new(model.arena(), AdamOptions::adam(0.05))?;
//! // Exclusive or.
//! let x = Tensor::from_slice(&device, &[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [4, 2])?;
//! let y = Tensor::from_slice(&device, &[0, 1, 1, 0], [4])?;
//! let mut last = f32::INFINITY;
//! for _ in 0..100 {
//!     let output = model.forward(&x)?;
//!     let (loss, _correct) = cross_entropy(&output, &y, &Default::default())?;
//!     optimizer.zero_grad();
//!     loss.backward()?;
//!     optimizer.step()?;
//!     last = loss.item()?;
//! }
//! assert!(last < 0.05, "{last}");
//! # Ok(()) }
//! ```
//!
//! # In your Cargo.toml
//!
//! The package is `signet-nn`, the library `signet`. Unless it is optimised in debug builds too,
//! `cargo run` trains tens of times slower than `cargo run --release`:
//!
//! ```toml
//! [dependencies]
//! signet = { package = "signet-nn", version = "0.1" }
//!
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```
//!
//! The program `signet` is a package of its own, `signet-cli`: this one brings no argument parser, no
//! web server and no plots.
//!
//! # What is where
//!
//! Each folder of `src` is a floor: it uses what is below it. From the top: `bench`; `train`; `data` and
//! `io`; `nn`; `optim`; `ops`; `autograd`; `tensor`; `device`; `dtype`, `rng`, `error` and what all may use.
//!
//! | module | subject |
//! |---|---|
//! | [`Tensor`], [`Shape`], [`dtype`] | values on a [`Device`] |
//! | [`Tensor::backward`], [`no_grad`], [`Arena`] | what was computed, and its gradients |
//! | [`ops`] | the operations, one folder each |
//! | [`device`] | what a device is, the two there are, and which is chosen |
//! | [`nn`], [`optim`] | layers, models, optimizers, schedules |
//! | [`data`], [`train`], [`checkpoint`] | images, training runs, files, also PyTorch's |
//! | [`onnx`] | models for inference elsewhere |
//! | [`metrics`] | how a classifier errs |
//! | [`rng`] | random numbers |
//! | [`mod@bench`] | kernel throughput |
//! | [`gradcheck()`] | gradients against finite differences |
#![warn(missing_docs)]

// For what `#[derive(Module)]` writes, and for the helpers of `tests/`, which serve the unit tests too.
extern crate self as signet;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

mod autograd;
pub mod bench;
pub mod data;
pub mod device;
pub mod dtype;
mod error;
#[doc(hidden)]
pub mod files;
mod io;
pub mod metrics;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod rng;
#[doc(hidden)]
pub mod support;
mod tensor;
pub mod train;

pub use autograd::{
    Arena, GradcheckOptions, Gradients, NodeId, SavedTensor, Worst, gradcheck, no_grad,
};
pub use device::{Cpu, Cuda, Device};
pub use error::{Error, Result};
pub use io::{checkpoint, onnx};
pub use tensor::{Shape, Sizes, Tensor};
