//! Run the CUDA kernels of an unmodified cudarc program on the CPU, in tests.
//!
//! [`Sim::load`], called before cudarc's first call, puts cusim's stand-ins for libcuda and
//! libnvrtc where cudarc will find them; the returned [`Sim`] counts calls, injects faults, sets
//! the order in which threads run, and hands out what was found wrong. [`in_child`] runs a test
//! in a process of its own, with settings of its own. [`LinkDir`] is for whole programs: a
//! directory for the `LD_LIBRARY_PATH` of a child process.
//!
//! Only on Linux on x86-64; elsewhere this crate is empty. The README says what is checked.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod child;
mod library;
mod report;
mod sim;
mod temp;

pub use child::{ChildOutput, in_child};
pub use library::{Error, LinkDir};
pub use report::Report;
pub use sim::{Order, Sim};
