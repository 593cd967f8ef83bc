//! What a device is: memory, and the kernels of every op.
//!
//! [`Device`] has two real implementations, [`Cpu`] and the CUDA one. A program picks one at run
//! time and is generic from there: the one bound `D: Device<T>` gives memory and all ops.

mod choice;
pub(crate) mod cpu;
pub mod cuda;
mod memory;
mod precision;
mod trace;

pub use choice::{AnyDevice, Chosen, DeviceChoice, OnDevice, choose};
pub use cpu::{Cpu, KernelTime, SimdLevel};
pub use cuda::Cuda;
pub use memory::{Memory, Output, Pending};
pub use precision::{Precision, Precisions, TENSOR_CORES_SINCE};
pub use trace::{Cost, KernelRun, LaunchShape};

use crate::dtype::Float;
use crate::ops;

/// A device that can train networks of `T`: memory plus the kernels of every op, one line per op.
pub trait Device<T: Float>:
    Memory
    + ops::add::AddKernels<T>
    + ops::augment::AugmentKernels<T>
    + ops::background::BackgroundKernels<T>
    + ops::batch_norm2d::BatchNorm2dKernels<T>
    + ops::conv2d::Conv2dKernels<T>
    + ops::conv_block::ConvBlockKernels<T>
    + ops::cross_entropy::CrossEntropyKernels<T>
    + ops::cross_entropy_rows::CrossEntropyRowsKernels<T>
    + ops::dropout::DropoutKernels<T>
    + ops::gather::GatherKernels<T>
    + ops::linear_cross_entropy::LinearCrossEntropyKernels<T>
    + ops::linear_relu::LinearReluKernels<T>
    + ops::matmul::MatmulKernels<T>
    + ops::max_pool2d::MaxPool2dKernels<T>
    + ops::mul::MulKernels<T>
    + ops::random_filter::RandomFilterKernels<T>
    + ops::record::RecordKernels<T>
    + ops::relu::ReluKernels<T>
    + ops::sum::SumKernels<T>
    + ops::adam::AdamKernels<T>
    + ops::sgd::SgdKernels<T>
{
}
