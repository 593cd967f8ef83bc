//! The ops: one folder each, with its whole story.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the geometry, checked once and passed by value; the kernels it asks of a device, in `kernels!`; the op itself and its place on the tape |
//! | `cpu.rs` | those kernels on the CPU |
//! | `cuda.rs` | and on a GPU: launches of `kernels/<op>.cu` |
//!
//! Functions of one number and of two are families: [`unary`] and [`binary`], a folder each, whose members
//! are lines of tables.
//!
//! Adding another op adds a folder here, a file in `kernels/` and one gradient-check case: `kernels!` gives
//! what it declares to [`Device`](crate::Device). The layer of PyTorch's name, where there is one, is a
//! file in `nn/layers`. `cuda_tests.rs` holds every kernel against the CPU's.
#![forbid(unsafe_code)]

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod cuda_tests;
mod dims;
mod size2;
mod some_images;
mod update;
mod windows;

pub mod adagrad;
pub mod adam;
pub mod augment;
pub mod avg_pool2d;
pub mod background;
pub mod batch_norm2d;
pub mod binary;
pub mod clip_grad;
pub mod conv2d;
pub mod conv_block;
pub mod copy;
pub mod cross_entropy;
pub mod cross_entropy_rows;
pub mod dropout;
pub mod elementwise_loss;
pub mod embedding;
pub mod end_step;
pub mod flatten;
pub mod gather;
pub mod index;
pub mod layer_norm;
pub mod lerp;
pub mod linear;
pub mod linear_cross_entropy;
pub mod linear_relu;
pub mod matmul;
pub mod max_pool2d;
pub mod nll_loss;
pub mod random_filter;
pub mod reduce;
pub mod rmsprop;
pub mod sgd;
pub mod softmax;
pub mod sum;
pub mod unary;

use crate::{Error, Result, Shape};

pub use size2::Size2;
pub(crate) use some_images::SomeImages;
pub(crate) use update::{Update, UpdateTile};

/// `value` as the 32-bit number that kernels index with.
pub(crate) fn index32(op: &'static str, value: usize) -> Result<u32> {
    i32::try_from(value).map(|value| value as u32).map_err(|_| {
        Error::shape(op, format!("{value} is more than the 2^31 - 1 that kernels index"))
    })
}

/// The number of elements of `shape`, which kernels must be able to index.
pub(crate) fn numel32(op: &'static str, shape: &Shape) -> Result<u32> {
    index32(op, shape.numel())
}

/// The output's shape where the input is `[C, H, W]`, one image: as `shape` of a batch of it, without
/// the batch; of another input `shape` of that.
pub(crate) fn of_one_image(
    input: &Shape,
    shape: impl Fn(&Shape) -> Result<Shape>,
) -> Result<Shape> {
    let [c, h, w] = *input.dims() else { return shape(input) };
    Ok(Shape::from(&shape(&Shape::from([1, c, h, w]))?.dims()[1..]))
}
